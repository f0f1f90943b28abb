#include "train/best_weights.h"

#include <ATen/ATen.h>
#include <pcxx/train/training_state.h>

#include <cmath>

namespace pcxx::train {
namespace {

constexpr const char* kWorth = "worth";
constexpr const char* kOfStep = "of_step";
constexpr const char* kTestsSince = "tests_since";
constexpr const char* kWeights = "weights.";

}  // namespace

void BestWeights::offer(double worth, std::int64_t step, const nn::Network& network) {
  ++tests_since_;
  if (std::isnan(worth) || (step_ >= 0 && worth <= worth_)) return;
  weights_ = weights_of(network);
  for (auto& [name, tensor] : weights_) tensor = tensor.clone();
  worth_ = worth;
  step_ = step;
  tests_since_ = 0;
}

void BestWeights::restore(nn::Network& network) const {
  if (step_ >= 0) restore_weights(weights_, network);
}

State BestWeights::state() const {
  State state{{kWorth, at::scalar_tensor(worth_, at::kDouble)},
              {kOfStep, as_count(step_)},
              {kTestsSince, as_count(tests_since_)}};
  add_below(state, kWeights, weights_);
  return state;
}

void BestWeights::set_state(const State& state) {
  const auto worth = entry_like(state, kWorth, at::empty({}, at::kDouble)).item<double>();
  const auto step = count_of(state, kOfStep);
  tests_since_ = count_of(state, kTestsSince);
  weights_ = entries_below(state, kWeights);
  worth_ = worth;
  step_ = step;
}

}  // namespace pcxx::train
