#include <fmt/ranges.h>
#include <pcxx/core/error.h>
#include <pcxx/core/files.h>
#include <pcxx/train/checkpoint.h>
#include <torch/serialize/archive.h>

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "train/archive.h"
#include "train/layers_text.h"
#include "train/safetensors.h"

namespace pcxx::train {

namespace fs = std::filesystem;

namespace {

// By name, in the order of the network.
using Weights = NamedTensors;

constexpr const char* kChecksum = "crc32";
constexpr const char* kLayers = "layers";
constexpr const char* kSafetensors = ".safetensors";

Weights weights_of(const nn::NetworkImpl& network) {
  Weights weights;
  for (const auto& parameter : network.named_parameters()) {
    weights.emplace_back(parameter.key(), parameter.value().detach());
  }
  return weights;
}

std::int64_t checksum(const Weights& weights) {
  std::vector<at::Tensor> tensors;
  for (const auto& [name, weight] : weights) tensors.push_back(weight);
  return train::checksum(tensors);
}

std::string_view type_name(const at::Tensor& weight) {
  return c10::getDtypeNames(weight.scalar_type()).first;
}

std::string size_text(const at::Tensor& weight) {
  return fmt::format("[{}]", fmt::join(weight.sizes(), ", "));
}

// All tensors below `archive`, whose names start with `prefix`.
void collect(torch::serialize::InputArchive& archive, const std::string& prefix, Weights& found) {
  for (const auto& key : archive.keys()) {
    at::Tensor weight;
    torch::serialize::InputArchive child;
    if (archive.try_read(key, weight)) {
      found.emplace_back(prefix + key, weight);
    } else if (archive.try_read(key, child)) {
      collect(child, prefix + key + ".", found);
    }
  }
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

struct Stored {
  Weights weights;
  std::optional<std::int64_t> checksum;  // files of other programs have neither this
  std::optional<std::string> layers;     // nor this
};

Stored read_archive(const std::string& bytes, const std::string& path) {
  Stored stored;
  c10::IValue sum;
  try {
    torch::serialize::InputArchive archive;
    archive.load_from(bytes.data(), bytes.size(), at::Device(at::kCPU));
    collect(archive, "", stored.weights);
    archive.try_read(kChecksum, sum);
  } catch (const std::exception&) {
    user_error("'{}' holds no saved network, or is damaged", path);
  }
  if (!sum.isNone()) stored.checksum = sum.isInt() ? sum.toInt() : -1;
  return stored;
}

Stored read_safetensors_file(const std::string& bytes, const std::string& path) {
  auto file = read_safetensors(bytes, path);
  Stored stored{std::move(file.tensors), {}, {}};
  if (const auto sum = file.metadata.find(kChecksum); sum != file.metadata.end()) {
    stored.checksum = std::strtoll(sum->second.c_str(), nullptr, 10);
  }
  if (const auto layers = file.metadata.find(kLayers); layers != file.metadata.end()) {
    stored.layers = layers->second;
  }
  return stored;
}

// A torch archive is a zip file; the header of safetensors opens with a brace after its length.
bool is_safetensors(std::string_view bytes, const fs::path& path) {
  if (bytes.starts_with("PK\x03\x04")) return false;
  return path.extension() == kSafetensors || (bytes.size() > 8 && bytes[8] == '{');
}

Weights read(const nn::NetworkImpl& network, const fs::path& path) {
  const auto bytes = read_file(path);
  const auto stored = is_safetensors(bytes, path) ? read_safetensors_file(bytes, path.string())
                                                  : read_archive(bytes, path.string());
  auto weights = match(weights_of(network), stored.weights, path.string());
  if (stored.checksum && *stored.checksum != checksum(weights)) {
    user_error("'{}' is damaged: its weights do not have the checksum they were saved with",
               path.string());
  }
  if (stored.layers) check_layers(*stored.layers, network.options, path.string());
  return weights;
}

void write_archive(std::ostream& stream, const nn::Network& network) {
  torch::serialize::OutputArchive archive;
  network->save(archive);
  archive.write(kChecksum, c10::IValue(checksum(weights_of(*network))));
  archive.save_to(stream);
}

Metadata description(const nn::NetworkImpl& network) {
  std::vector<std::int64_t> widths{network.in_features()};
  std::vector<std::string_view> activations;
  std::vector<bool> residual;
  for (const auto& layer : network.options.layers()) {
    widths.push_back(layer.out_features());
    const bool own = network.own_layer(widths.size() - 1) != nullptr;
    activations.push_back(own ? "own" : nn::name(layer.activation()));
    residual.push_back(layer.residual());
  }
  Metadata metadata{{"widths", fmt::format("{}", fmt::join(widths, ","))},
                    {"activations", fmt::format("{}", fmt::join(activations, ","))},
                    {kLayers, layers_text(network.options)}};
  if (std::find(residual.begin(), residual.end(), true) != residual.end()) {
    metadata["residual"] = fmt::format("{}", fmt::join(residual, ","));
  }
  return metadata;
}

}  // namespace

void write_network(std::ostream& stream, const nn::Network& network, const Metadata& metadata) {
  const auto weights = weights_of(*network);
  auto all = description(*network);
  all[kChecksum] = fmt::format("{}", checksum(weights));
  all.insert(metadata.begin(), metadata.end());
  write_safetensors(stream, weights, all);
}

void save_network(const nn::Network& network, const fs::path& path, const Metadata& metadata) {
  AtomicFile file(path);
  if (path.extension() == kSafetensors) {
    write_network(file.stream(), network, metadata);
  } else {
    write_archive(file.stream(), network);
  }
  file.commit();
}

void load_network(nn::Network& network, const fs::path& path) {
  const at::NoGradGuard no_grad;
  const auto stored = read(*network, path);
  auto weights = weights_of(*network);
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i].second.copy_(stored[i].second);
}

}  // namespace pcxx::train
