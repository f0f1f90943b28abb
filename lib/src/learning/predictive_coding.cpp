#include <ATen/ATen.h>
#include <pcxx/inference/equilibrium.h>
#include <pcxx/inference/lbfgs.h>
#include <pcxx/learning/predictive_coding.h>
#include <pcxx/nn/fused.h>

#include "learning/own_directions.h"
#include "learning/parts.h"

namespace pcxx::learning {
namespace {

inference::Equilibrium settle(const inference::Inference* chosen, const nn::NetworkImpl& network,
                              const data::Batch& batch) {
  if (chosen) return chosen->infer(network, batch);
  if (network.is_linear()) return inference::ClosedForm().infer(network, batch);
  return inference::Lbfgs().infer(network, batch);
}

}  // namespace

Step PredictiveCoding::factors(const nn::NetworkImpl& network, const data::Batch& batch) {
  const at::NoGradGuard no_grad;
  auto equilibrium = settle(inference_.get(), network, batch);
  const auto& pass = equilibrium.feedforward;

  Step step{.layers = {}, .own = {}, .prediction = pass.prediction(), .report = equilibrium.report};
  for (std::size_t l = 1; l <= network.size(); ++l) {
    if (const auto* own = network.own_layer(l)) {
      auto pulled = nn::pull_back(*own, equilibrium.activities[l - 1], equilibrium.errors[l],
                                  /*with_input=*/false);
      step.own.push_back(own_directions(l, *own, std::move(pulled.parameters), batch.samples));
      continue;
    }
    const auto& layer = network.layer(l);
    step.layers.push_back(
        {.weight = layer.weight,
         .bias = layer.bias,
         .error = nn::fused::times_slope(equilibrium.errors[l], equilibrium.outputs[l],
                                         layer.options.activation()),
         .presynaptic = equilibrium.activities[l - 1],
         .feedforward = pass.activities[l - 1],
         .samples = batch.samples});
  }
  return step;
}

RulePart predictive_coding_part() {
  RulePart part;
  part.name = "pc";
  part.make = [](const config::Config&, const auto& inference) {
    return std::make_unique<PredictiveCoding>(inference);
  };
  part.infers = true;
  part.lanes = ensemble::Rule::kPredictiveCoding;
  return part;
}

}  // namespace pcxx::learning
