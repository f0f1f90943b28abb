#include <pcxx/core/error.h>
#include <pcxx/nn/block.h>

#include "catalog/layer_kinds.h"

namespace pcxx::catalog {
namespace {

std::shared_ptr<nn::Layer> made(const StackedLayer& layer) {
  auto dense = layer.dense;
  if (!layer.maker) return std::make_shared<nn::DenseImpl>(dense.draw(false));
  return layer.maker(dense.in_features(), dense.out_features());
}

StackedLayer make_block(const LayerPlace& at, bool residual) {
  if (at.inner.empty()) user_error("{} has no layers inside it", at.place);
  auto within = at;
  within.place += ",";
  if (residual) within.outputs = at.below;
  const auto inner = make_stack(at.inner, within);
  const auto given = inner.back().dense.out_features();
  if (residual && given != at.below) {
    user_error("{}: x + f(x) cannot be made of {} units and the {} that its last layer gives",
               at.place, at.below, given);
  }
  double weights = 0;
  bool bias = false;
  for (const auto& layer : inner) {
    weights += layer.weights;
    bias = bias || layer.dense.bias();
  }
  return {.dense = nn::DenseOptions(at.below, given).bias(bias),
          .maker =
              [inner, residual](std::int64_t, std::int64_t) {
                std::vector<std::shared_ptr<nn::Layer>> layers;
                for (const auto& layer : inner) layers.push_back(made(layer));
                return std::make_shared<nn::Block>(std::move(layers), residual);
              },
          .image = inner.back().image,
          .weights = weights};
}

}  // namespace

LayerKind block_kind() {
  LayerKind kind;
  kind.name = "block";
  kind.doc = "x + f(x) of the layers written inside it";
  kind.takes_layers = true;
  kind.make = [](const config::Config&, const LayerPlace& at) { return make_block(at, true); };
  return kind;
}

LayerKind group_kind() {
  LayerKind kind;
  kind.name = "group";
  kind.doc = "the layers written inside it as one layer";
  kind.takes_layers = true;
  kind.make = [](const config::Config&, const LayerPlace& at) { return make_block(at, false); };
  return kind;
}

}  // namespace pcxx::catalog
