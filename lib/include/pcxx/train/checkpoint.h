#pragma once

#include <pcxx/nn/network.h>

#include <filesystem>
#include <map>
#include <ostream>
#include <string>

namespace pcxx::train {

/// What a file of weights says of them beside the network's `widths`, `activations` and `layers`,
/// such as the program and the model.
using Metadata = std::map<std::string, std::string>;

/// Writes the weights, whole or not at all: as safetensors when the path ends in .safetensors, as a
/// torch archive, without metadata, otherwise. Throws UserError when the file cannot be written.
///
/// Any library for safetensors reads the former. Layer l has `layer<l>.weight`, [n_l, n_{l-1}], and
/// where there are biases `layer<l>.bias`, [n_l]; the members of an ensemble come first. The text
/// `layers` of the metadata describes the layers in JSON: [{"in_features": 784, "out_features": 10,
/// "activation": "relu", "bias": false, "residual": false}, ...], and in an ensemble "members".
void save_network(const nn::Network& network, const std::filesystem::path& path,
                  const Metadata& metadata = {});

/// The same safetensors to a stream.
void write_network(std::ostream& stream, const nn::Network& network, const Metadata& metadata = {});

/// Reads either, told apart by their content, into a network of the same shape, on whatever device
/// it is. Throws UserError with the file and the first mismatch when it is no such file, was cut
/// short or damaged, when names, shapes or dtypes differ (`torch::load` takes them silently), when
/// the `layers` that it describes are others (a file without such a text needs none), or when a
/// weight is not finite; the network is then unchanged.
void load_network(nn::Network& network, const std::filesystem::path& path);

}  // namespace pcxx::train
