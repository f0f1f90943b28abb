#pragma once

#include <pcxx/config/config.h>
#include <pcxx/config/part.h>
#include <pcxx/nn/network.h>

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "config/calls.h"

/// The kinds of layers that the key `layers` writes. Each is described in its own file; the list is
/// here.
namespace pcxx::nn {

/// Channels, height and width of activities that are images; zeros where they are none.
using ImageShape = std::array<std::int64_t, 3>;

constexpr double kMostInALayer = 1'000'000;  // units, channels, rows of an image

struct LayerPlace;
struct StackedLayer;
using MakeStack = std::function<std::vector<StackedLayer>(const std::vector<config::Call>& calls,
                                                          const LayerPlace& from)>;

/// What a layer of a stack is made of, beside its own keys.
///   model    the config of the model, for layers of the program's own
///   inner    the layers written inside it, and `stack` makes them, each on those before it
///   place    "layers: layer 2", for messages
///   below    units that it takes, `image` their shape
///   outputs  in the last layer, the units that the targets have; 0 elsewhere
struct LayerPlace {
  const config::Config& model;
  const std::vector<config::Call>& inner;
  MakeStack stack;
  std::string place;
  std::int64_t below = 0;
  ImageShape image = {};
  std::int64_t outputs = 0;
};

/// A layer as it is to be made: Dense, or by `maker` with the same widths. `is_nothing` says that
/// it only tells how the units below are seen.
struct StackedLayer {
  DenseOptions dense;
  LayerMaker maker = {};
  ImageShape image = {};
  double weights = 0;
  bool is_nothing = false;
};

/// A kind of layer: its own keys, and how it is made of them. Where they are keys of the model too,
/// `of_model`, that says what the layer does not. Only some kinds take layers inside them. Behind
/// those that keep their width a layer may leave its own to the targets.
struct LayerKind : config::Part<StackedLayer(const config::Config& own, const LayerPlace&)> {
  bool of_model = false;
  bool takes_layers = false;
  bool keeps_width = false;
};

/// Every activation with its name.
using NamedActivations = std::vector<std::pair<std::string, Activation>>;

LayerKind dense_kind(const NamedActivations& activations);
LayerKind conv2d_kind(const NamedActivations& activations);
LayerKind max_pool_kind();
LayerKind avg_pool_kind();
LayerKind upsample_kind();
LayerKind activation_kind(const NamedActivations& activations);
LayerKind scale_kind();
LayerKind flatten_kind();
LayerKind block_kind();
LayerKind group_kind();

inline std::vector<LayerKind> built_in_layer_kinds(const NamedActivations& activations) {
  return {dense_kind(activations),
          conv2d_kind(activations),
          max_pool_kind(),
          avg_pool_kind(),
          upsample_kind(),
          activation_kind(activations),
          scale_kind(),
          flatten_kind(),
          block_kind(),
          group_kind()};
}

/// The image below, of which it needs one, as the layer's own `input` ("3x32x32", or empty) or the
/// layer below says. Throws UserError where neither does, or it is not of the units below.
ImageShape image_below(const std::string& input, const LayerPlace& at);

/// The key `width` of a kind that lets the last layer leave it to the targets.
config::Key width_key();

/// That width. Throws UserError where neither says it.
std::int64_t width_of(std::int64_t width, const LayerPlace& at);

}  // namespace pcxx::nn
