#pragma once

#include <pcxx/nn/network.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <ostream>
#include <string>
#include <string_view>

namespace pcxx::io {

/// What a file of weights says of them beside the network's `widths`, `activations` and `layers`,
/// such as the program and the model.
using Metadata = std::map<std::string, std::string>;

/// Writes the weights as safetensors, whole or not at all. Throws UserError when the file cannot be
/// written.
///
/// Any library for safetensors reads them. Layer l has `layer<l>.weight`, [n_l, n_{l-1}], and
/// where there are biases `layer<l>.bias`, [n_l]; the members of an ensemble come first. The text
/// `layers` of the metadata describes the layers in JSON: [{"in_features": 784, "out_features": 10,
/// "activation": "relu", "bias": false, "residual": false}, ...], and in an ensemble "members".
/// `loss` names the loss.
void save_network(const nn::Network& network, const std::filesystem::path& path,
                  const Metadata& metadata = {});

/// The same safetensors to a stream.
void write_network(std::ostream& stream, const nn::Network& network, const Metadata& metadata = {});

/// Reads safetensors, of this library or another, into a network of the same shape, on whatever
/// device it is. A file is data: nothing in it is run. Throws UserError with the file and the first
/// mismatch when it is no such file, was cut short or damaged, when names, shapes or dtypes differ,
/// when the `layers` that it describes are others (a file without such a text needs none), or when
/// a weight is not finite; the network is then unchanged. An archive of PyTorch is refused:
/// python/pcxx_weights.py makes safetensors of it.
void load_network(nn::Network& network, const std::filesystem::path& path);

/// The same from the bytes of a file, which messages call `path`.
void load_network(nn::Network& network, std::string_view bytes, const std::filesystem::path& path);

/// The network that a file of weights describes.
struct DescribedNetwork {
  std::int64_t inputs;
  std::int64_t outputs;
  std::string layers;  ///< as the key `layers` writes them
  std::string dtype;   ///< "float32" or "float64"
  std::string loss;    ///< its name; empty where the file does not say
};

/// Reads the description from the bytes of a file. Throws UserError with `path` where there is none:
/// in files of other programs, of ensembles, and of layers that are the program's own.
DescribedNetwork described_network(std::string_view bytes, const std::filesystem::path& path);

}  // namespace pcxx::io
