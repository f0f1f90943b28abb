#include <ATen/ATen.h>
#include <pcxx/inference/curvature.h>

#include "inference/power_iteration.h"

namespace pcxx::inference {
namespace {

// Tangents t_l = f_l' (W_l t_{l-1}) (+ t_{l-1}) + v_l, up to the output's change J v.
at::Tensor push_forward(const CurvaturePoint& at, const std::vector<at::Tensor>& v) {
  at::Tensor tangent = v[1];
  for (std::size_t l = 2; l <= at.network.size(); ++l) {
    const auto next =
        at.network.layer(l).push_forward(at.activities[l - 1], at.outputs[l], tangent, {});
    tangent = l < at.network.size() ? next + v[l] : next;
  }
  return tangent;
}

// J^T u for every hidden layer.
std::vector<at::Tensor> pull_back(const CurvaturePoint& at, const at::Tensor& u) {
  std::vector<at::Tensor> result(at.network.size());
  auto signal = u;
  for (std::size_t l = at.network.size(); l >= 2; --l) {
    signal = at.network.layer(l)
                 .pull_back(at.activities[l - 1], at.outputs[l], signal, {.parameters = false})
                 .input;
    result[l - 1] = signal;
  }
  return result;
}

at::Tensor squared_norm(const std::vector<at::Tensor>& v) {
  auto sum = v[1].square().sum(-1);
  for (std::size_t l = 2; l < v.size(); ++l) sum = sum + v[l].square().sum(-1);
  return sum;
}

}  // namespace

at::Tensor power_iteration(const CurvaturePoint& point, int iterations) {
  const auto& [network, activities, outputs, target, residual] = point;
  if (network.size() == 1) return at::ones_like(residual.select(-1, 0));
  auto v = pull_back(point, residual);
  auto lambda = at::ones_like(squared_norm(v));
  for (int k = 0; k < iterations; ++k) {
    const auto norm = squared_norm(v).sqrt();
    // A sample without a gradient has nothing to infer: any direction will do, its curvature is 1.
    const auto scale = at::where(norm.gt(0), norm.reciprocal(), at::zeros_like(norm)).unsqueeze(-1);
    for (std::size_t l = 1; l < v.size(); ++l) v[l] = v[l] * scale;
    const auto change = push_forward(point, v);
    const auto curved = network.loss().curve(residual, target, change);
    lambda = 1 + (change * curved).sum(-1);  // Rayleigh quotient at the unit vector v
    if (k + 1 == iterations) break;
    const auto pulled = pull_back(point, curved);
    for (std::size_t l = 1; l < v.size(); ++l) v[l] = v[l] + pulled[l];
  }
  return lambda;
}

at::Tensor curvature(const nn::NetworkImpl& network, const data::Batch& batch, int iterations) {
  const at::NoGradGuard no_grad;
  const auto pass = nn::feedforward(network, batch.input);
  const auto target = network.enter(batch.target, network.out_features());
  TORCH_CHECK(iterations >= 1, "the curvature takes at least one power iteration, not ",
              iterations);
  const auto residual = network.residual(pass.prediction(), target);
  return power_iteration({network, pass.activities, pass.outputs, target, residual}, iterations);
}

at::Tensor curvature(const nn::NetworkImpl& network, const Equilibrium& state, int iterations) {
  const at::NoGradGuard no_grad;
  TORCH_CHECK(iterations >= 1, "the curvature takes at least one power iteration, not ",
              iterations);
  return power_iteration(
      {network, state.activities, state.outputs, state.activities.back(), state.errors.back()},
      iterations);
}

}  // namespace pcxx::inference
