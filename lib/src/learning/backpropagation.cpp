#include <ATen/ATen.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/nn/feedforward.h>
#include <pcxx/nn/fused.h>
#include <pcxx/nn/products.h>

#include <algorithm>

#include "learning/own_directions.h"
#include "learning/parts.h"

namespace pcxx::learning {

Step Backpropagation::factors(const nn::NetworkImpl& network, const data::Batch& batch) {
  const at::NoGradGuard no_grad;
  const auto pass = nn::feedforward(network, batch.input);
  auto signal = network.enter(batch.target, network.out_features()) - pass.prediction();

  Step step{.layers = {}, .own = {}, .prediction = pass.prediction(), .report = std::nullopt};
  for (std::size_t l = network.size(); l >= 1; --l) {
    if (const auto* own = network.own_layer(l)) {
      auto pulled = nn::pull_back(*own, pass.activities[l - 1], signal, l > 1);
      step.own.push_back(own_directions(l, *own, std::move(pulled.parameters), batch.samples));
      signal = std::move(pulled.input);
      continue;
    }
    const auto& layer = network.layer(l);
    const auto error = nn::fused::times_slope(signal, pass.outputs[l], layer.options.activation());
    step.layers.push_back({.weight = layer.weight,
                           .bias = layer.bias,
                           .error = error,
                           .presynaptic = pass.activities[l - 1],
                           .feedforward = pass.activities[l - 1],
                           .samples = batch.samples});
    if (l > 1) {
      auto below = nn::backward_product(error, layer.weight);
      signal = layer.options.residual() ? below.add_(signal) : below;
    }
  }
  std::reverse(step.layers.begin(), step.layers.end());
  std::reverse(step.own.begin(), step.own.end());
  return step;
}

RulePart backpropagation_part() {
  RulePart part;
  part.name = "bp";
  part.make = [](const config::Config&, const auto&) {
    return std::make_unique<Backpropagation>();
  };
  part.lanes = ensemble::Rule::kBackpropagation;
  return part;
}

}  // namespace pcxx::learning
