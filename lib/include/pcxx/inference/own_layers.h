#pragma once

#include <ATen/core/Tensor.h>
#include <pcxx/inference/descent_options.h>
#include <pcxx/inference/report.h>

#include <functional>
#include <vector>

/// Predictive coding in networks of any layers, such as convolutions: their derivatives come from
/// autograd. Networks of Dense layers (nn/network.h) have theirs written out and are much faster.
///
///   std::vector<Layer> layers{conv, [&](const at::Tensor& x) { return head(x.flatten(1)); }};
///   auto state = infer(layers, images, targets);
///   optimizer.zero_grad();
///   energy(layers, state.activities).backward();
///   optimizer.step();
namespace pcxx::inference {

/// From the activities of the layer below, [B, ...], to the prediction of its own, [B, ...]. Made
/// of LibTorch's operations; samples do not interact (no batch normalisation), and the same input
/// gives the same output (no dropout).
using Layer = std::function<at::Tensor(const at::Tensor&)>;

/// The end of an inference.
///
///   activities  x_l, l = 0..L, [B, ...]; x_0 is the input and x_L the target
///   prediction  of the target-free pass, [B, ...]
struct Settled {
  std::vector<at::Tensor> activities;
  at::Tensor prediction;
  Report report;
};

/// Minimises E = sum_b sum_l 1/2 ||x_l - f_l(x_{l-1})||^2 over the hidden activities (eq. 2), by
/// L-BFGS as Lbfgs does it. Of the options, those count that count there. Throws c10::Error where
/// there is no layer, or the last one's output has not the target's shape.
Settled infer(const std::vector<Layer>& layers, const at::Tensor& input, const at::Tensor& target,
              const DescentOptions& options = {});

/// E / B at these activities, a scalar that is differentiable in the layers' parameters: at the
/// equilibrium its gradient is predictive coding's update.
at::Tensor energy(const std::vector<Layer>& layers, const std::vector<at::Tensor>& activities);

}  // namespace pcxx::inference
