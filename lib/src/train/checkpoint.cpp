#include <fmt/ranges.h>
#include <pcxx/core/error.h>
#include <pcxx/core/files.h>
#include <pcxx/train/checkpoint.h>
#include <torch/serialize/archive.h>

#include <algorithm>

#include "train/archive.h"

namespace pcxx::train {

namespace fs = std::filesystem;

namespace {

// By name, in the order of the network.
using Weights = std::vector<std::pair<std::string, at::Tensor>>;

constexpr const char* kChecksum = "crc32";

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

Weights read(const nn::NetworkImpl& network, const fs::path& path) {
  const auto bytes = read_file(path);
  Weights file;
  c10::IValue sum;
  try {
    torch::serialize::InputArchive archive;
    archive.load_from(bytes.data(), bytes.size(), at::Device(at::kCPU));
    collect(archive, "", file);
    archive.try_read(kChecksum, sum);
  } catch (const std::exception&) {
    user_error("'{}' holds no saved network, or is damaged", path.string());
  }
  auto weights = match(weights_of(network), file, path.string());
  if (!sum.isNone() && !(sum.isInt() && sum.toInt() == checksum(weights))) {
    user_error("'{}' is damaged: its weights do not have the checksum they were saved with",
               path.string());
  }
  return weights;
}

}  // namespace

void save_network(const nn::Network& network, const fs::path& path) {
  torch::serialize::OutputArchive archive;
  network->save(archive);
  archive.write(kChecksum, c10::IValue(checksum(weights_of(*network))));
  AtomicFile file(path);
  auto& stream = file.stream();
  archive.save_to(stream);
  file.commit();
}

void load_network(nn::Network& network, const fs::path& path) {
  const at::NoGradGuard no_grad;
  const auto stored = read(*network, path);
  auto weights = weights_of(*network);
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i].second.copy_(stored[i].second);
}

}  // namespace pcxx::train
