#pragma once

#include <ATen/ATen.h>
#include <pcxx/nn/network.h>

#include <vector>

#include "support/activations.h"

namespace pcxx::test {

/// out = f(W x + b) (+ x when residual) of member r for one sample, number by number.
inline std::vector<double> by_hand(const nn::DenseImpl& layer, const std::vector<double>& x,
                                   std::int64_t r) {
  const auto& options = layer.options;
  const auto weight = options.members() ? layer.weight[r] : layer.weight;
  std::vector<double> out;
  for (std::int64_t i = 0; i < options.out_features(); ++i) {
    double z = 0;
    for (std::int64_t j = 0; j < options.in_features(); ++j) {
      z += weight[i][j].item<double>() * x[static_cast<std::size_t>(j)];
    }
    if (options.bias()) {
      z += (options.members() ? layer.bias[r] : layer.bias)[i].item<double>();
    }
    const double a = activation_of(options.activation(), z);
    out.push_back(options.residual() ? a + x[static_cast<std::size_t>(i)] : a);
  }
  return out;
}

inline std::vector<double> numbers_of(const at::Tensor& t) {
  const auto flat = t.detach().to(at::kDouble).contiguous();
  return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

/// The network's activity after each layer, [B, n_l] or [R, B, n_l] in float64, number by number.
inline std::vector<at::Tensor> by_hand(const nn::NetworkImpl& network, const at::Tensor& input) {
  const auto members = network.members().value_or(1);
  const auto samples = input.size(-2);
  std::vector<at::Tensor> activities;
  for (std::size_t l = 1; l <= network.size(); ++l) {
    activities.push_back(
        at::zeros({members, samples, network.dense(l).options.out_features()}, at::kDouble));
  }
  for (std::int64_t r = 0; r < members; ++r) {
    for (std::int64_t b = 0; b < samples; ++b) {
      auto x = numbers_of(input.dim() == 3 ? input[r][b] : input[b]);
      for (std::size_t l = 1; l <= network.size(); ++l) {
        x = by_hand(network.dense(l), x, r);
        activities[l - 1][r][b] = at::tensor(x, at::kDouble);
      }
    }
  }
  if (!network.members()) {
    for (auto& activity : activities) activity = activity[0];
  }
  return activities;
}

/// Networks with every option somewhere: widths, activations, bias, residual, ensembles.
inline std::vector<nn::NetworkOptions> networks_of_every_kind() {
  using nn::Activation;
  auto mixed = nn::mlp({5, 6, 6, 7, 4}, Activation::kTanh, Activation::kSigmoid).with_bias();
  mixed.layers()[1].residual(true).activation(Activation::kLeakyReLU);
  auto half_biased = nn::mlp({4, 3, 5}, Activation::kSigmoid);
  half_biased.layers()[1].bias(true);
  return {nn::mlp({5, 4, 6}),
          nn::mlp({4, 3}),
          nn::linear_residual(5, 3),
          nn::linear_residual(5, 3).with_bias().ensemble(2),
          nn::mlp({5, 9, 4, 6}, Activation::kReLU, Activation::kSigmoid),
          nn::mlp({5, 9, 4, 6}, Activation::kReLU).with_bias().ensemble(3),
          half_biased,
          nn::mlp({3, 4, 2}, Activation::kTanh).ensemble(1),
          mixed,
          mixed.ensemble(2)};
}

}  // namespace pcxx::test
