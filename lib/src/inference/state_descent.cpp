#include <ATen/ATen.h>
#include <pcxx/inference/state_descent.h>

#include "inference/sample_control.h"

namespace pcxx::inference {
namespace {

// eps_l and a_l of every layer at the given states.
void prediction_errors(const nn::NetworkImpl& network, Equilibrium& state) {
  for (std::size_t l = 1; l <= network.size(); ++l) {
    const auto& layer = network.layer(l);
    const auto& below = state.activities[l - 1];
    if (l > 1 || !state.outputs[1].defined()) {
      state.outputs[l] = nn::preactivation(layer, below);
      nn::activate_(state.outputs[l], layer.options.activation());
    }
    state.errors[l] = state.activities[l] - state.outputs[l];
    if (layer.options.residual()) state.errors[l].sub_(below);
  }
}

// dE/dx_l for the hidden layers.
std::vector<at::Tensor> state_gradients(const nn::NetworkImpl& network, const Equilibrium& state) {
  std::vector<at::Tensor> gradients(network.size());
  for (std::size_t l = 1; l < network.size(); ++l) {
    const auto& above = network.layer(l + 1);
    auto h = state.errors[l + 1].clone();
    nn::multiply_slope_(h, state.outputs[l + 1], above.options.activation());
    gradients[l] = state.errors[l] - at::matmul(h, above.weight);
    if (above.options.residual()) gradients[l].sub_(state.errors[l + 1]);
  }
  return gradients;
}

at::Tensor total_energy(const Equilibrium& state) {
  auto sum = state.errors[1].square().sum(-1);
  for (std::size_t l = 2; l < state.errors.size(); ++l) sum.add_(state.errors[l].square().sum(-1));
  return sum.mul_(0.5);
}

void descend(Equilibrium& state, const nn::NetworkImpl& network, SampleControl& control,
             std::int64_t max_steps) {
  for (std::int64_t t = 0; t < max_steps; ++t) {
    const auto gradients = state_gradients(network, state);
    auto squares = at::zeros_like(control.step());
    for (std::size_t l = 1; l < network.size(); ++l) {
      squares.add_(gradients[l].square().sum(-1));
      state.activities[l].addcmul_(gradients[l], control.step().unsqueeze(-1), -1);
    }
    const bool active = control.advance(squares, total_energy(state));
    prediction_errors(network, state);
    if (!active) break;
  }
}

}  // namespace

StateDescent::StateDescent(DescentOptions options) : options_(options) {
  TORCH_CHECK(options.max_steps >= 0, "steps cannot be negative: ", options.max_steps);
  TORCH_CHECK(options.step_size > 0, "state descent needs a positive step size, not ",
              options.step_size);
}

Equilibrium StateDescent::infer(const nn::NetworkImpl& network, const data::Batch& batch) const {
  const at::NoGradGuard no_grad;
  const auto depth = network.size();
  Equilibrium state{.feedforward = nn::feedforward(network, batch.input),
                    .activities = {},
                    .outputs = std::vector<at::Tensor>(depth + 1),
                    .errors = std::vector<at::Tensor>(depth + 1),
                    .report = {}};
  for (const auto& xhat : state.feedforward.activities) {
    state.activities.push_back(xhat.clone(at::MemoryFormat::Contiguous));
  }
  state.activities[depth] = network.enter(batch.target, network.out_features());
  prediction_errors(network, state);

  const auto& target = state.activities[depth];
  SampleControl control(options_, at::full(target.sizes().slice(0, target.dim() - 1),
                                           options_.step_size, target.options()));
  descend(state, network, control, options_.max_steps);
  state.report = control.report(name(), total_energy(state));
  return state;
}

}  // namespace pcxx::inference
