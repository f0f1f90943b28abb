#include <ATen/ATen.h>
#include <pcxx/core/error.h>
#include <pcxx/inference/equilibrium.h>
#include <pcxx/inference/lbfgs.h>
#include <pcxx/learning/predictive_coding.h>

#include <cmath>

#include "learning/layer_update.h"
#include "learning/nudging.h"
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

// What the errors of an equilibrium teach once they are divided by beta.
Step step_of(const nn::NetworkImpl& network, inference::Equilibrium equilibrium,
             std::int64_t samples, double beta) {
  const auto& pass = equilibrium.feedforward;
  Step step{.layers = {}, .own = {}, .prediction = pass.prediction(), .report = equilibrium.report};
  for (std::size_t l = 1; l <= network.size(); ++l) {
    const auto& below = equilibrium.activities[l - 1];
    auto& error = equilibrium.errors[l];
    if (beta != 1) error = error / beta;
    auto pulled =
        network.layer(l).pull_back(below, equilibrium.outputs[l], error, {.input = false});
    add_update(step, l, network.layer(l), std::move(pulled), below, pass.activities[l - 1],
               samples);
  }
  return step;
}

}  // namespace

PredictiveCoding::PredictiveCoding(std::shared_ptr<const inference::Inference> inference,
                                   PredictiveCodingOptions options)
    : inference_(std::move(inference)), options_(options) {
  TORCH_CHECK(options.nudging != 0 && std::isfinite(options.nudging),
              "nudging must be a number other than 0, not ", options.nudging);
}

Step PredictiveCoding::factors(const nn::NetworkImpl& network, const data::Batch& batch) {
  const at::NoGradGuard no_grad;
  const double beta = options_.nudging;
  if (options_.centred) return mean_of(nudged(network, batch, beta), nudged(network, batch, -beta));
  return nudged(network, batch, beta);
}

Step PredictiveCoding::nudged(const nn::NetworkImpl& network, const data::Batch& batch,
                              double beta) const {
  const auto clamped = beta == 1 ? batch : nudged_batch(network, batch, beta);
  return step_of(network, settle(inference_.get(), network, clamped), batch.samples, beta);
}

RulePart predictive_coding_part() {
  const auto keys =
      config::OptionKeys<PredictiveCodingOptions>()
          .add(&PredictiveCodingOptions::nudging,
               {.name = "nudging",
                .doc = "pc: beta, how far outputs are moved from prediction to target while "
                       "activities settle; updates are divided by it; 1 clamps outputs to their "
                       "targets, negative ones move them away; not 0"})
          .add(&PredictiveCodingOptions::centred,
               {.name = "centred",
                .doc = "pc: whether the update is half the sum of those of nudging and -nudging"});
  RulePart part;
  part.name = "pc";
  part.options = keys.keys();
  part.make = [keys](const config::Config& model, const auto& inference) {
    const auto options = keys.read(model);
    if (options.nudging == 0) {
      user_error("nudging = 0 leaves the outputs at their predictions, which teaches nothing");
    }
    return std::make_unique<PredictiveCoding>(inference, options);
  };
  part.infers = true;
  part.lanes = ensemble::Rule::kPredictiveCoding;
  part.tensors_for = [keys](const config::Config& model) -> std::string {
    const auto options = keys.read(model);
    if (options.centred) return "nudging is centred";
    return options.nudging == 1 ? "" : "outputs are nudged";
  };
  return part;
}

}  // namespace pcxx::learning
