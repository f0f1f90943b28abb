#include <ATen/ATen.h>
#include <pcxx/inference/curvature.h>

#include "inference/power_iteration.h"

namespace pcxx::inference {
namespace {

at::Tensor times(const at::Tensor& t, const at::Tensor& slope) {
  return slope.defined() ? t * slope : t;
}

// Tangents t_l = f_l' (W_l t_{l-1}) (+ t_{l-1}) + v_l, up to the output's change J v.
at::Tensor push_forward(const nn::NetworkImpl& network, const std::vector<at::Tensor>& slopes,
                        const std::vector<at::Tensor>& v) {
  at::Tensor tangent = v[1];
  for (std::size_t l = 2; l <= network.size(); ++l) {
    const auto& layer = network.layer(l);
    auto next = times(at::matmul(tangent, layer.weight.mT()), slopes[l]);
    if (layer.options.residual()) next = next + tangent;
    tangent = l < network.size() ? next + v[l] : next;
  }
  return tangent;
}

// J^T u for every hidden layer.
std::vector<at::Tensor> pull_back(const nn::NetworkImpl& network,
                                  const std::vector<at::Tensor>& slopes, const at::Tensor& u) {
  std::vector<at::Tensor> result(network.size());
  auto signal = u;
  for (std::size_t l = network.size(); l >= 2; --l) {
    const auto& layer = network.layer(l);
    auto below = at::matmul(times(signal, slopes[l]), layer.weight);
    if (layer.options.residual()) below = below + signal;
    signal = below;
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

at::Tensor power_iteration(const nn::NetworkImpl& network, const std::vector<at::Tensor>& outputs,
                           const at::Tensor& residual, int iterations) {
  if (network.size() == 1) return at::ones_like(residual.select(-1, 0));
  std::vector<at::Tensor> slopes(network.size() + 1);
  for (std::size_t l = 1; l <= network.size(); ++l) {
    slopes[l] = nn::slope(outputs[l], network.layer(l).options.activation());
  }
  auto v = pull_back(network, slopes, residual);
  auto lambda = at::ones_like(squared_norm(v));
  for (int k = 0; k < iterations; ++k) {
    const auto norm = squared_norm(v).sqrt();
    // A sample without a gradient has nothing to infer: any direction will do, its curvature is 1.
    const auto scale = at::where(norm.gt(0), norm.reciprocal(), at::zeros_like(norm)).unsqueeze(-1);
    for (std::size_t l = 1; l < v.size(); ++l) v[l] = v[l] * scale;
    const auto change = push_forward(network, slopes, v);
    lambda = 1 + change.square().sum(-1);  // Rayleigh quotient of I + J^T J at the unit vector v
    if (k + 1 == iterations) break;
    const auto pulled = pull_back(network, slopes, change);
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
  return power_iteration(network, pass.outputs, target - pass.prediction(), iterations);
}

at::Tensor curvature(const nn::NetworkImpl& network, const Equilibrium& state, int iterations) {
  const at::NoGradGuard no_grad;
  TORCH_CHECK(iterations >= 1, "the curvature takes at least one power iteration, not ",
              iterations);
  return power_iteration(network, state.outputs, state.errors.back(), iterations);
}

}  // namespace pcxx::inference
