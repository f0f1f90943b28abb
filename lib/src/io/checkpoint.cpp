#include <fmt/ranges.h>
#include <pcxx/core/error.h>
#include <pcxx/core/files.h>
#include <pcxx/io/checkpoint.h>
#include <pcxx/io/safetensors.h>

#include <algorithm>

#include "io/archive.h"
#include "io/layers_text.h"

namespace pcxx::io {

namespace fs = std::filesystem;

namespace {

// By name, in the order of the network.
using Weights = NamedTensors;

constexpr const char* kWeightsChecksum = "crc32";
constexpr const char* kLayers = "layers";
constexpr const char* kLoss = "loss";

Weights weights_of(const nn::NetworkImpl& network) {
  Weights weights;
  for (const auto& parameter : network.named_parameters()) {
    weights.emplace_back(parameter.key(), parameter.value().detach());
  }
  return weights;
}

// As a decimal number.
std::string checksum_of(const Weights& weights) {
  std::vector<at::Tensor> tensors;
  for (const auto& [name, weight] : weights) tensors.push_back(weight);
  return fmt::format("{}", checksum(tensors));
}

std::string_view type_name(const at::Tensor& weight) {
  return c10::getDtypeNames(weight.scalar_type()).first;
}

std::string size_text(const at::Tensor& weight) {
  return fmt::format("[{}]", fmt::join(weight.sizes(), ", "));
}

const at::Tensor* find(const Weights& weights, const std::string& name) {
  const auto found = std::find_if(weights.begin(), weights.end(),
                                  [&](const auto& entry) { return entry.first == name; });
  return found == weights.end() ? nullptr : &found->second;
}

// The tensors of `file` in the order of `network`, once they are known to fit.
Weights match(const Weights& network, const Weights& file, const std::string& path) {
  Weights matched;
  for (const auto& [name, weight] : network) {
    const auto* stored = find(file, name);
    if (stored == nullptr) user_error("'{}' has no weight '{}'", path, name);
    if (stored->sizes() != weight.sizes()) {
      user_error("'{}' is of another network: its {} is {}, not {}", path, name, size_text(*stored),
                 size_text(weight));
    }
    if (stored->scalar_type() != weight.scalar_type()) {
      user_error("'{}' holds {}, and the network is {}", path, type_name(*stored),
                 type_name(weight));
    }
    if (!at::isfinite(*stored).all().item<bool>()) {
      user_error("'{}' has a {} that is not finite", path, name);
    }
    matched.emplace_back(name, *stored);
  }
  for (const auto& [name, stored] : file) {
    if (find(network, name) == nullptr) {
      user_error("'{}' is of another network: it has a weight '{}' more", path, name);
    }
  }
  return matched;
}

// Those of `bytes`. Files of other programs have neither a checksum nor a description of layers.
Weights read(const nn::NetworkImpl& network, std::string_view bytes, const fs::path& path) {
  refuse_torch_archive(bytes, path);
  const auto file = read_safetensors(bytes, path.string());
  auto weights = match(weights_of(network), file.tensors, path.string());
  const auto sum = file.metadata.find(kWeightsChecksum);
  if (sum != file.metadata.end() && sum->second != checksum_of(weights)) {
    user_error("'{}' is damaged: its weights do not have the checksum they were saved with",
               path.string());
  }
  if (const auto layers = file.metadata.find(kLayers); layers != file.metadata.end()) {
    check_layers(layers->second, network, path.string());
  }
  return weights;
}

Metadata description(const nn::NetworkImpl& network) {
  std::vector<std::int64_t> widths{network.in_features()};
  std::vector<std::string_view> activations;
  std::vector<bool> residual;
  for (const auto& layer : network.options.layers()) {
    widths.push_back(layer.out_features());
    const bool own = network.options.custom_layers().contains(widths.size() - 1);
    activations.push_back(own ? "own" : nn::name(layer.activation()));
    residual.push_back(layer.residual());
  }
  Metadata metadata{{"widths", fmt::format("{}", fmt::join(widths, ","))},
                    {"activations", fmt::format("{}", fmt::join(activations, ","))},
                    {kLayers, layers_text(network)},
                    {kLoss, std::string(network.loss().name())}};
  if (std::find(residual.begin(), residual.end(), true) != residual.end()) {
    metadata["residual"] = fmt::format("{}", fmt::join(residual, ","));
  }
  return metadata;
}

}  // namespace

void write_network(std::ostream& stream, const nn::Network& network, const Metadata& metadata) {
  const auto weights = weights_of(*network);
  auto all = description(*network);
  all[kWeightsChecksum] = checksum_of(weights);
  all.insert(metadata.begin(), metadata.end());
  write_safetensors(stream, weights, all);
}

void save_network(const nn::Network& network, const fs::path& path, const Metadata& metadata) {
  AtomicFile file(path);
  write_network(file.stream(), network, metadata);
  file.commit();
}

DescribedNetwork described_network(std::string_view bytes, const fs::path& path) {
  refuse_torch_archive(bytes, path);
  const auto file = read_safetensors(bytes, path.string());
  const auto layers = file.metadata.find(kLayers);
  if (layers == file.metadata.end() || file.tensors.empty()) {
    user_error("'{}' does not describe its network: it is of another program", path.string());
  }
  auto described = network_of_text(layers->second, path.string());
  described.dtype = type_name(file.tensors.front().second);
  const auto loss = file.metadata.find(kLoss);
  if (loss != file.metadata.end()) described.loss = loss->second;
  return described;
}

void load_network(nn::Network& network, const fs::path& path) {
  load_network(network, read_file(path), path);
}

void load_network(nn::Network& network, std::string_view bytes, const fs::path& path) {
  const at::NoGradGuard no_grad;
  const auto stored = read(*network, bytes, path);
  auto weights = weights_of(*network);
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i].second.copy_(stored[i].second);
}

}  // namespace pcxx::io
