#include <ATen/ATen.h>
#include <pcxx/inference/settle.h>

#include "inference/error_energy.h"
#include "inference/mixed_layers.h"

namespace pcxx::inference {

Equilibrium settle(const nn::NetworkImpl& network, const data::Batch& batch,
                   const DescentOptions& options, std::string_view method,
                   const MakeSolver& make_solver) {
  if (!network.is_dense()) return settle_mixed(network, batch, options, method, make_solver);
  const at::NoGradGuard no_grad;
  auto pass = nn::feedforward(network, batch.input);
  const auto target = network.enter(batch.target, network.out_features());
  const auto like = at::empty(target.sizes().slice(0, target.dim() - 1), target.options());
  ErrorEnergy energy(network, pass, target);
  SampleControl control(options, like);
  const auto solver = make_solver(like);
  minimise(energy, *solver, control, options.max_steps);
  auto report = control.report(method, solver->step_sizes(), energy.energy());
  if (!network.is_piecewise_linear()) report.drop_gap_bound();
  return energy.finish(std::move(pass), std::move(report));
}

}  // namespace pcxx::inference
