#include <ATen/ATen.h>
#include <pcxx/inference/equilibrium.h>
#include <pcxx/inference/lbfgs.h>
#include <pcxx/learning/predictive_coding.h>

#include "learning/layer_update.h"
#include "learning/parts.h"

namespace pcxx::learning {
namespace {

inference::Equilibrium settle(const inference::Inference* chosen, const nn::NetworkImpl& network,
                              const data::Batch& batch) {
  if (chosen) return chosen->infer(network, batch);
  const bool is_quadratic = network.is_linear() && network.loss().is_squared_error();
  if (is_quadratic) return inference::ClosedForm().infer(network, batch);
  return inference::Lbfgs().infer(network, batch);
}

}  // namespace

Step PredictiveCoding::factors(const nn::NetworkImpl& network, const data::Batch& batch) {
  const at::NoGradGuard no_grad;
  auto equilibrium = settle(inference_.get(), network, batch);
  const auto& pass = equilibrium.feedforward;

  Step step{.layers = {}, .own = {}, .prediction = pass.prediction(), .report = equilibrium.report};
  for (std::size_t l = 1; l <= network.size(); ++l) {
    const auto& below = equilibrium.activities[l - 1];
    auto pulled = network.layer(l).pull_back(below, equilibrium.outputs[l], equilibrium.errors[l],
                                             {.input = false});
    add_update(step, l, network.layer(l), std::move(pulled), below, pass.activities[l - 1],
               batch.samples);
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
