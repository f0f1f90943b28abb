#pragma once

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <pcxx/core/random.h>
#include <pcxx/metrics/prediction_change.h>

#include <memory>

/// Updates of a network at random, and networks that made one.
namespace pcxx::test {

/// N(0, 1) for every weight and bias.
inline metrics::Update random_update(const nn::NetworkImpl& network, std::uint64_t seed = 1) {
  auto generator = make_generator(seed, Purpose::kNoise);
  const auto draw = [&](const at::Tensor& like) {
    return at::empty(like.sizes(), at::kDouble).normal_(0, 1, generator);
  };
  metrics::Update update;
  for (std::size_t l = 1; l <= network.size(); ++l) {
    const auto& layer = network.dense(l);
    update.weights.push_back(draw(layer.weight));
    update.biases.push_back(layer.bias.defined() ? draw(layer.bias) : at::Tensor());
  }
  return update;
}

/// A copy of the network at W_l + rate D_l, b_l + rate db_l.
inline nn::Network moved(const nn::NetworkImpl& network, const metrics::Update& update,
                         double rate) {
  const at::NoGradGuard no_grad;
  nn::Network copy(std::dynamic_pointer_cast<nn::NetworkImpl>(network.clone()));
  for (std::size_t l = 1; l <= network.size(); ++l) {
    auto& layer = copy->dense(l);
    layer.weight.add_(update.weights[l - 1], rate);
    if (!update.biases.empty() && update.biases[l - 1].defined()) {
      layer.bias.add_(update.biases[l - 1], rate);
    }
  }
  return copy;
}

/// Member r of an ensemble's update.
inline metrics::Update member(const metrics::Update& update, std::int64_t r) {
  metrics::Update single;
  for (const auto& weight : update.weights) single.weights.push_back(weight[r]);
  for (const auto& bias : update.biases) {
    single.biases.push_back(bias.defined() ? bias[r] : at::Tensor());
  }
  return single;
}

}  // namespace pcxx::test
