#include <ATen/ATen.h>
#include <pcxx/inference/own_layers.h>

#include "inference/autograd_energy.h"
#include "inference/quasi_newton.h"

namespace pcxx::inference {

Settled infer(const std::vector<Layer>& layers, const at::Tensor& input, const at::Tensor& target,
              const DescentOptions& options) {
  TORCH_CHECK(!layers.empty(), "a network needs at least one layer");
  TORCH_CHECK(options.step_size == 0, "L-BFGS takes no step size, but was given ",
              options.step_size);
  const at::NoGradGuard no_grad;
  AutogradEnergy energy(layers, input, target);
  Settled settled{.activities = {input}, .prediction = energy.prediction().detach(), .report = {}};
  const auto like = at::empty({input.size(0)}, energy.prediction().options());
  SampleControl control(options, like);
  QuasiNewton solver(like, static_cast<int>(options.memory));
  minimise(energy, solver, control, options.max_steps);
  for (const auto& activity : energy.hidden()) settled.activities.push_back(activity.detach());
  settled.activities.push_back(target);
  settled.report = control.report("lbfgs", solver.step_sizes(), energy.energy());
  return settled;
}

at::Tensor energy(const std::vector<Layer>& layers, const std::vector<at::Tensor>& activities) {
  TORCH_CHECK(activities.size() == layers.size() + 1, layers.size(), " layers have activities 0..",
              layers.size(), ", but ", activities.size(), " were given");
  at::Tensor sum;
  for (std::size_t l = 1; l <= layers.size(); ++l) {
    const auto square = (activities[l] - layers[l - 1](activities[l - 1])).square().sum();
    sum = sum.defined() ? sum + square : square;
  }
  return sum / (2 * activities.front().size(0));
}

}  // namespace pcxx::inference
