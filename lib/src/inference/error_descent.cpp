#include <ATen/ATen.h>
#include <pcxx/inference/error_descent.h>

#include "inference/errors_energy.h"
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
  const auto energy = errors_energy(network, pass, target);
  const auto like = energy->like();
  const bool fixed = options_.step_size > 0;

  SampleControl control(options_, like);
  at::Tensor step;
  if (fixed) {
    step = at::full_like(like, options_.step_size);
  } else {
    const auto residual = network.residual(pass.prediction(), target);
    const auto lambda = power_iteration({network, pass.activities, pass.outputs, target, residual},
                                        options_.power_iterations)
                            .view_as(like);
    control.see_curvatures(lambda);
    // Close to 2 / (1 + lambda), the best step when curvatures lie between 1 and lambda.
    step = 1.8 / (1 + lambda);
  }
  GradientSteps solver(step, fixed);
  auto state =
      minimise_errors(network, std::move(pass), *energy, solver, control, options_, name());
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
  return part;
}

}  // namespace pcxx::inference
