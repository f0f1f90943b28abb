#include <ATen/ATen.h>
#include <pcxx/train/training_state.h>

namespace pcxx::train {

namespace {

constexpr const char* kRule = "rule.";
constexpr const char* kRuleName = "rule_name";
constexpr const char* kOptimizer = "optimizer.";
constexpr const char* kPosition = "position";
constexpr const char* kWeight = "weight.";

State on_cpu(State state) {
  for (auto& [name, tensor] : state) tensor = tensor.cpu();
  return state;
}

}  // namespace

run::Part weights_of(const nn::Network& network) {
  run::Part part;
  for (const auto& weight : network->named_parameters()) {
    part[kWeight + weight.key()] = weight.value().detach().cpu();
  }
  return part;
}

void restore_weights(const run::Part& part, nn::Network& network) {
  const at::NoGradGuard no_grad;
  for (auto& weight : network->named_parameters()) {
    weight.value().copy_(entry_like(part, kWeight + weight.key(), weight.value()));
  }
}

run::Part training_state(const nn::Network& network, const learning::LearningRule& rule,
                         const optim::Rescaled& optimizer) {
  auto state = weights_of(network);
  state[kRuleName] = as_bytes(rule.name());
  add_below(state, kRule, on_cpu(rule.state()));
  add_below(state, kOptimizer, on_cpu(optimizer.state()));
  return state;
}

run::Part training_state(const nn::Network& network, const learning::LearningRule& rule,
                         const optim::Rescaled& optimizer, const data::Minibatches& minibatches) {
  auto state = training_state(network, rule, optimizer);
  state[kPosition] = at::tensor({minibatches.position().epoch, minibatches.position().sample});
  return state;
}

void restore(const run::Part& state, nn::Network& network, learning::LearningRule& rule,
             optim::Rescaled& optimizer) {
  const auto name = text_of_bytes(entry(state, kRuleName));
  TORCH_CHECK(name == rule.name(), "the state is of the rule ", name, ", not ", rule.name());
  restore_weights(state, network);
  const auto here = [&](State found) {
    for (auto& [key, tensor] : found) tensor = tensor.to(network->device());
    return found;
  };
  rule.set_state(here(entries_below(state, kRule)));
  optimizer.set_state(here(entries_below(state, kOptimizer)));
}

void restore(const run::Part& state, nn::Network& network, learning::LearningRule& rule,
             optim::Rescaled& optimizer, data::Minibatches& minibatches) {
  restore(state, network, rule, optimizer);
  const auto position = entry_like(state, kPosition, at::empty({2}, at::kLong));
  minibatches.resume(
      {.epoch = position[0].item<std::int64_t>(), .sample = position[1].item<std::int64_t>()});
}

}  // namespace pcxx::train
