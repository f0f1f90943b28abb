#include <ATen/ATen.h>
#include <pcxx/inference/equilibrium.h>
#include <pcxx/inference/lbfgs.h>
#include <pcxx/learning/predictive_coding.h>
#include <pcxx/nn/fused.h>

namespace pcxx::learning {
namespace {

inference::Equilibrium settle(const inference::Inference* chosen, const nn::NetworkImpl& network,
                              const data::Batch& batch) {
  if (chosen) return chosen->infer(network, batch);
  if (network.is_linear()) return inference::ClosedForm().infer(network, batch);
  return inference::Lbfgs().infer(network, batch);
}

}  // namespace

Step PredictiveCoding::factors(const nn::NetworkImpl& network, const data::Batch& batch) const {
  const at::NoGradGuard no_grad;
  auto equilibrium = settle(inference_.get(), network, batch);
  const auto& pass = equilibrium.feedforward;

  Step step{.layers = {}, .prediction = pass.prediction(), .report = equilibrium.report};
  for (std::size_t l = 1; l <= network.size(); ++l) {
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

}  // namespace pcxx::learning
