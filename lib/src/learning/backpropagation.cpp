#include <ATen/ATen.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/nn/feedforward.h>

#include <algorithm>

#include "learning/layer_update.h"
#include "learning/parts.h"

namespace pcxx::learning {

Step Backpropagation::factors(const nn::NetworkImpl& network, const data::Batch& batch) {
  const at::NoGradGuard no_grad;
  const auto pass = nn::feedforward(network, batch.input);
  auto signal =
      network.residual(pass.prediction(), network.enter(batch.target, network.out_features()));

  Step step{.layers = {}, .own = {}, .prediction = pass.prediction(), .report = std::nullopt};
  for (std::size_t l = network.size(); l >= 1; --l) {
    const auto& below = pass.activities[l - 1];
    auto pulled = network.layer(l).pull_back(below, pass.outputs[l], signal, {.input = l > 1});
    signal = std::move(pulled.input);
    add_update(step, l, network.layer(l), std::move(pulled), below, below, batch.samples);
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
