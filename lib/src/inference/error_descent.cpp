#include <ATen/ATen.h>
#include <pcxx/inference/error_descent.h>

#include "inference/error_energy.h"
#include "inference/gradient_steps.h"
#include "inference/parts.h"
#include "inference/power_iteration.h"

namespace pcxx::inference {

ErrorDescent::ErrorDescent(DescentOptions options) : options_(options) {
  TORCH_CHECK(options.max_steps >= 0, "steps cannot be negative: ", options.max_steps);
  TORCH_CHECK(options.step_size >= 0, "a step size cannot be negative: ", options.step_size);
}

Equilibrium ErrorDescent::infer(const nn::NetworkImpl& network, const data::Batch& batch) const {
  const at::NoGradGuard no_grad;
  auto pass = nn::feedforward(network, batch.input);
  const auto target = network.enter(batch.target, network.out_features());
  const auto rows = target.sizes().slice(0, target.dim() - 1);
  const bool fixed = options_.step_size > 0;

  SampleControl control(options_, at::empty(rows, target.options()));
  at::Tensor step;
  if (fixed) {
    step = at::full(rows, options_.step_size, target.options());
  } else {
    const auto lambda = power_iteration(network, pass.outputs, target - pass.prediction(),
                                        options_.power_iterations);
    control.see_curvatures(lambda);
    // Close to 2 / (1 + lambda), the best step when curvatures lie between 1 and lambda.
    step = 1.8 / (1 + lambda);
  }
  ErrorEnergy energy(network, pass, target);
  GradientSteps solver(step, fixed);
  minimise(energy, solver, control, options_.max_steps);
  auto report = control.report(name(), solver.step_sizes(), energy.energy());
  if (!network.is_piecewise_linear()) report.drop_gap_bound();
  auto state = energy.finish(std::move(pass), std::move(report));
  if (!options_.keep_unstable) discard_unstable(state);
  return state;
}

InferencePart error_descent_part() {
  const auto keys = descent_keys();
  InferencePart part;
  part.name = "error_descent";
  part.options = keys.keys();
  part.make = [keys](const config::Config& model) {
    return std::make_shared<ErrorDescent>(keys.read(model));
  };
  part.dense_only = true;
  return part;
}

}  // namespace pcxx::inference
