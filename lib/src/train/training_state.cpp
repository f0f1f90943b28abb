#include <ATen/ATen.h>
#include <pcxx/train/training_state.h>
#include <torch/serialize/archive.h>

#include "train/archive.h"

namespace pcxx::train {

namespace {

constexpr const char* kRule = "rule";
constexpr const char* kRuleName = "rule_name";
constexpr const char* kOptimizer = "optimizer";
constexpr const char* kPosition = "position";

std::string weight_name(const std::string& name) {
  return "weight." + name;
}

const at::Tensor& entry(const Part& part, const std::string& name) {
  const auto found = part.find(name);
  TORCH_CHECK(found != part.end(), "the state of a training run has no '", name, "'");
  return found->second;
}

template <typename Saved>
at::Tensor archived(const Saved& saved) {
  torch::serialize::OutputArchive archive;
  saved.save(archive);
  std::string bytes;
  archive.save_to([&](const void* data, std::size_t size) {
    bytes.append(static_cast<const char*>(data), size);
    return size;
  });
  return as_bytes(bytes);
}

template <typename Loaded>
void unarchive(const Part& state, const char* name, Loaded& loaded, at::Device device) {
  const auto bytes = text_of_bytes(entry(state, name));
  torch::serialize::InputArchive archive;
  archive.load_from(bytes.data(), bytes.size(), device);
  loaded.load(archive);
}

}  // namespace

Part weights_of(const nn::Network& network) {
  Part part;
  for (const auto& weight : network->named_parameters()) {
    part[weight_name(weight.key())] = weight.value().detach().cpu();
  }
  return part;
}

void restore_weights(const Part& part, nn::Network& network) {
  const at::NoGradGuard no_grad;
  for (auto& weight : network->named_parameters()) {
    const auto& stored = entry(part, weight_name(weight.key()));
    TORCH_CHECK(stored.sizes() == weight.value().sizes() &&
                    stored.scalar_type() == weight.value().scalar_type(),
                weight.key(), " is ", stored.sizes(), " ", stored.dtype(), ", not ",
                weight.value().sizes(), " ", weight.value().dtype());
    weight.value().copy_(stored);
  }
}

Part training_state(const nn::Network& network, const learning::LearningRule& rule,
                    const optim::Rescaled& optimizer) {
  auto state = weights_of(network);
  state[kRuleName] = as_bytes(std::string(rule.name()));
  state[kRule] = archived(rule);
  state[kOptimizer] = archived(optimizer);
  return state;
}

Part training_state(const nn::Network& network, const learning::LearningRule& rule,
                    const optim::Rescaled& optimizer, const data::Minibatches& minibatches) {
  auto state = training_state(network, rule, optimizer);
  state[kPosition] = at::tensor({minibatches.position().epoch, minibatches.position().sample});
  return state;
}

void restore(const Part& state, nn::Network& network, learning::LearningRule& rule,
             optim::Rescaled& optimizer) {
  const auto name = text_of_bytes(entry(state, kRuleName));
  TORCH_CHECK(name == rule.name(), "the state is of the rule ", name, ", not ", rule.name());
  restore_weights(state, network);
  unarchive(state, kRule, rule, network->device());
  unarchive(state, kOptimizer, optimizer, network->device());
}

void restore(const Part& state, nn::Network& network, learning::LearningRule& rule,
             optim::Rescaled& optimizer, data::Minibatches& minibatches) {
  restore(state, network, rule, optimizer);
  const auto& position = entry(state, kPosition);
  minibatches.resume(
      {.epoch = position[0].item<std::int64_t>(), .sample = position[1].item<std::int64_t>()});
}

}  // namespace pcxx::train
