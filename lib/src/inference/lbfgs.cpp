#include <ATen/ATen.h>
#include <pcxx/inference/lbfgs.h>

#include "inference/error_energy.h"
#include "inference/mixed_layers.h"
#include "inference/quasi_newton.h"

namespace pcxx::inference {

Lbfgs::Lbfgs(DescentOptions options) : options_(options) {
  TORCH_CHECK(options.max_steps >= 0, "steps cannot be negative: ", options.max_steps);
  TORCH_CHECK(options.step_size == 0, "L-BFGS takes no step size, but was given ",
              options.step_size);
}

Equilibrium Lbfgs::infer(const nn::NetworkImpl& network, const data::Batch& batch) const {
  if (!network.is_dense()) return infer_mixed(network, batch, options_);
  const at::NoGradGuard no_grad;
  auto pass = nn::feedforward(network, batch.input);
  const auto target = network.enter(batch.target, network.out_features());
  const auto like = at::empty(target.sizes().slice(0, target.dim() - 1), target.options());
  ErrorEnergy energy(network, pass, target);
  SampleControl control(options_, like);
  QuasiNewton solver(like);
  minimise(energy, solver, control, options_.max_steps);
  auto report = control.report(name(), solver.step_sizes(), energy.energy());
  if (!network.is_piecewise_linear()) report.drop_gap_bound();
  return energy.finish(std::move(pass), std::move(report));
}

}  // namespace pcxx::inference
