#pragma once

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <pcxx/core/random.h>
#include <pcxx/data/batch.h>
#include <pcxx/nn/network.h>
#include <torch/types.h>

/// Small random networks and batches in float64, and the distance that tests measure.
namespace pcxx::test {

/// Weights N(0, 1/n_in), biases N(0, 0.1); reproducible.
inline nn::Network random_network(const nn::NetworkOptions& options, std::uint64_t seed = 1) {
  const at::NoGradGuard no_grad;
  auto generator = make_generator(seed, Purpose::kWeights);
  nn::Network network(options);
  network->to(torch::kDouble);
  for (auto& parameter : network->parameters()) {
    const bool bias = parameter.dim() == (network->members() ? 2 : 1);
    const double deviation = bias ? 0.3 : 1 / std::sqrt(static_cast<double>(parameter.size(-1)));
    parameter.normal_(0, deviation, generator);
  }
  return network;
}

/// Inputs N(0, I); targets uniform in (0, 1), which every output layer can approach.
inline data::Batch random_batch(const nn::NetworkImpl& network, std::int64_t batch_size,
                                std::uint64_t seed = 1) {
  auto generator = make_generator(seed, Purpose::kInputs);
  std::vector<std::int64_t> shape{batch_size};
  if (network.members()) shape.insert(shape.begin(), *network.members());
  auto in = shape;
  auto out = shape;
  in.push_back(network.in_features());
  out.push_back(network.out_features());
  const auto options = torch::dtype(torch::kDouble);
  auto input = torch::empty(in, options).normal_(0, 1, generator);
  auto target = torch::empty(out, options).uniform_(0, 1, generator);
  return {input, target};
}

/// Member r of an ensemble as a network of its own.
inline nn::Network member(const nn::NetworkImpl& ensemble, std::int64_t r) {
  const at::NoGradGuard no_grad;
  auto layers = ensemble.options.layers();
  for (auto& layer : layers) layer.members(std::nullopt);
  nn::Network single{nn::NetworkOptions(layers)};
  single->to(torch::kDouble);
  for (std::size_t l = 1; l <= ensemble.size(); ++l) {
    single->dense(l).weight.copy_(ensemble.dense(l).weight[r]);
    if (single->dense(l).bias.defined()) single->dense(l).bias.copy_(ensemble.dense(l).bias[r]);
  }
  return single;
}

/// ||a - b|| / ||b|| (or ||a - b|| where b is zero).
inline double relative_difference(const torch::Tensor& a, const torch::Tensor& b) {
  const auto scale = b.norm().item<double>();
  const auto distance = (a - b).norm().item<double>();
  return scale > 0 ? distance / scale : distance;
}

}  // namespace pcxx::test
