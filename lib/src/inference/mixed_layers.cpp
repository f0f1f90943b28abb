#include "inference/mixed_layers.h"

#include <ATen/ATen.h>
#include <pcxx/inference/own_layers.h>

#include "inference/settle_layers.h"

namespace pcxx::inference {
namespace {

// [B, n] of a batch that may be that of an ensemble of one.
at::Tensor single(const at::Tensor& x) {
  return x.dim() == 3 ? x.squeeze(0) : x;
}

std::vector<Layer> functions_of(const nn::NetworkImpl& network) {
  std::vector<Layer> functions;
  for (std::size_t l = 1; l <= network.size(); ++l) {
    functions.push_back([&network, l](const at::Tensor& x) {
      const auto* own = network.own_layer(l);
      return own ? nn::output(*own, x) : single(network.layer(l).forward(x));
    });
  }
  return functions;
}

}  // namespace

Equilibrium settle_mixed(const nn::NetworkImpl& network, const data::Batch& batch,
                         const DescentOptions& options, std::string_view method,
                         const MakeSolver& make_solver) {
  const at::NoGradGuard no_grad;
  const bool ensemble = network.members().has_value();
  Equilibrium state{.feedforward = nn::feedforward(network, batch.input),
                    .activities = {},
                    .outputs = {at::Tensor()},
                    .errors = {at::Tensor()},
                    .report = {}};
  const auto target = network.enter(batch.target, network.out_features());
  auto settled = settle_layers(functions_of(network), single(state.feedforward.activities.front()),
                               single(target), options, method, make_solver);
  state.report = std::move(settled.report);
  state.report.drop_gap_bound();
  if (ensemble) {
    for (auto* values : state.report.fields()) *values = values->unsqueeze(0);
  }
  for (const auto& x : settled.activities) {
    state.activities.push_back(ensemble ? x.unsqueeze(0) : x);
  }
  for (std::size_t l = 1; l <= network.size(); ++l) {
    const auto& below = state.activities[l - 1];
    const auto made = nn::layer_output(network, l, below);
    state.outputs.push_back(made.output);
    state.errors.push_back(state.activities[l] - made.prediction);
  }
  return state;
}

}  // namespace pcxx::inference
