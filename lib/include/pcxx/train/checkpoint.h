#pragma once

#include <pcxx/nn/network.h>

#include <filesystem>

namespace pcxx::train {

/// Writes the weights as a torch archive, whole or not at all. Throws UserError when the file
/// cannot be written.
void save_network(const nn::Network& network, const std::filesystem::path& path);

/// Reads what `save_network` wrote into a network of the same shape, on whatever device it is.
/// Throws UserError with the file and the first mismatch when it is no archive or was cut short,
/// when names, shapes or dtypes differ (`torch::load` takes them silently), or when a weight is not
/// finite; the network is then unchanged.
void load_network(nn::Network& network, const std::filesystem::path& path);

}  // namespace pcxx::train
