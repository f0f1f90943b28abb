#pragma once

#include <pcxx/nn/network.h>

#include <filesystem>
#include <map>
#include <ostream>
#include <string>

namespace pcxx::train {

/// What a file of weights says of them beside the network's `widths` and `activations`, such as the
/// program and the model.
using Metadata = std::map<std::string, std::string>;

/// Writes the weights, whole or not at all: as safetensors when the path ends in .safetensors, as a
/// torch archive, without metadata, otherwise. Throws UserError when the file cannot be written.
///
/// Any library for safetensors reads the former. Layer l has `layer<l>.weight`, [n_l, n_{l-1}], and
/// where there are biases `layer<l>.bias`, [n_l]; the members of an ensemble come first.
void save_network(const nn::Network& network, const std::filesystem::path& path,
                  const Metadata& metadata = {});

/// The same safetensors to a stream.
void write_network(std::ostream& stream, const nn::Network& network, const Metadata& metadata = {});

/// Reads either, told apart by their content, into a network of the same shape, on whatever device
/// it is. Throws UserError with the file and the first mismatch when it is no such file, was cut
/// short or damaged, when names, shapes or dtypes differ (`torch::load` takes them silently), or
/// when a weight is not finite; the network is then unchanged.
void load_network(nn::Network& network, const std::filesystem::path& path);

}  // namespace pcxx::train
