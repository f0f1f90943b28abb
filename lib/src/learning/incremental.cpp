#include <ATen/ATen.h>
#include <pcxx/inference/descent_options.h>
#include <pcxx/learning/incremental.h>

#include <cmath>
#include <limits>

#include "learning/layer_update.h"
#include "learning/parts.h"

namespace pcxx::learning {
namespace {

using Tensors = std::vector<at::Tensor>;

// What the weights make of the activities: outputs and errors of layers 1..L, and the energy of
// each sample, [.., B].
struct Present {
  std::vector<nn::Kept> outputs;
  Tensors errors;
  at::Tensor energy;
};

Present present(const nn::NetworkImpl& network, const Tensors& activities) {
  Present found{.outputs = {nn::Kept()}, .errors = {at::Tensor()}, .energy = {}};
  const auto& target = activities.back();
  for (std::size_t l = 1; l <= network.size(); ++l) {
    auto made = network.layer(l).run(activities[l - 1]);
    const bool last = l == network.size();
    found.errors.push_back(last ? network.residual(made.prediction, target)
                                : activities[l] - made.prediction);
    auto energy = last ? network.loss().value(made.prediction, target)
                       : found.errors.back().square().sum(-1).div_(2);
    found.energy = found.energy.defined() ? found.energy + energy : std::move(energy);
    found.outputs.push_back(std::move(made.kept));
  }
  return found;
}

// The norm of each sample over all layers, [.., B].
at::Tensor norms(const Tensors& gradients, const at::Tensor& like) {
  auto squares = at::zeros_like(like);
  for (const auto& gradient : gradients) squares.add_(gradient.square().sum(-1));
  return squares.sqrt_();
}

inference::Report report_of(const at::Tensor& energy, const at::Tensor& gradient,
                            const at::Tensor& first, std::int64_t passes, double step_size) {
  inference::Report report;
  report.method = "ipc";
  report.energy = energy.to(at::kDouble);
  report.residual = at::where(gradient.eq(0), 0, gradient / first).to(at::kDouble);
  report.gap_bound = at::full_like(report.energy, std::numeric_limits<double>::quiet_NaN());
  report.steps = at::full_like(report.energy, passes, at::kLong);
  report.converged = report.residual.le(inference::DescentOptions().tolerance);
  report.unstable = at::zeros_like(report.energy, at::kBool);
  report.step_size = at::full_like(report.energy, step_size);
  report.curvature = at::zeros_like(report.energy);
  report.bounds_gap = false;
  return report;
}

}  // namespace

IncrementalPredictiveCoding::IncrementalPredictiveCoding(IncrementalOptions options)
    : options_(options) {
  TORCH_CHECK(options.passes >= 1, "ipc needs a pass or more, not ", options.passes);
  TORCH_CHECK(options.step_size > 0 && std::isfinite(options.step_size),
              "ipc needs a positive step of the activities, not ", options.step_size);
}

void IncrementalPredictiveCoding::begin(const nn::NetworkImpl& network, const data::Batch& batch) {
  Current begun;
  begun.target = batch.target;
  begun.pass = nn::feedforward(network, batch.input);
  begun.activities = begun.pass.activities;
  begun.activities.back() = network.enter(batch.target, network.out_features());
  current_ = std::move(begun);
}

void IncrementalPredictiveCoding::check_same(const data::Batch& batch) const {
  const auto& known = current_->target;
  TORCH_CHECK(batch.target.sizes() == known.sizes() &&
                  batch.target.const_data_ptr() == known.const_data_ptr() &&
                  batch.input.size(-2) == known.size(-2),
              "ipc has made ", current_->passes, " of ", options_.passes,
              " passes over its batch, with a target ", known.sizes(),
              ", and needs the same batch again, not another with ", batch.target.sizes());
}

Step IncrementalPredictiveCoding::factors(const nn::NetworkImpl& network,
                                          const data::Batch& batch) {
  const at::NoGradGuard no_grad;
  if (current_) {
    check_same(batch);
  } else {
    begin(network, batch);
  }
  auto& now = *current_;
  auto& x = now.activities;
  x.front() = now.pass.activities.front() = network.enter(batch.input, network.in_features());
  const auto found = present(network, x);

  Step step{.layers = {}, .own = {}, .prediction = now.pass.prediction(), .report = std::nullopt};
  Tensors gradients;  // of hidden layers 1..L-1
  for (std::size_t l = 1; l <= network.size(); ++l) {
    auto pulled =
        network.layer(l).pull_back(x[l - 1], found.outputs[l], found.errors[l], {.input = l > 1});
    if (l > 1) gradients.push_back(found.errors[l - 1] - pulled.input);
    add_update(step, l, network.layer(l), std::move(pulled), x[l - 1], now.pass.activities[l - 1],
               batch.samples);
  }
  const auto gradient = norms(gradients, found.energy);
  if (now.passes++ == 0) now.first_gradient = gradient;
  step.report =
      report_of(found.energy, gradient, now.first_gradient, now.passes, options_.step_size);
  for (std::size_t l = 1; l < network.size(); ++l) {
    x[l] = x[l] - options_.step_size * gradients[l - 1];
  }
  if (now.passes == options_.passes) current_.reset();
  return step;
}

RulePart incremental_part() {
  const auto keys =
      config::OptionKeys<IncrementalOptions>()
          .add(&IncrementalOptions::passes,
               {.name = "ipc_passes",
                .doc = "ipc: passes over each batch, in each of which activities and weights move",
                .minimum = 1,
                .maximum = 1e9})
          .add(&IncrementalOptions::step_size, {.name = "ipc_step_size",
                                                .doc = "ipc: gamma, the step of the activities",
                                                .minimum = 0,
                                                .open_minimum = true});
  RulePart part;
  part.name = "ipc";
  part.options = keys.keys();
  part.make = [keys](const config::Config& model, const auto&) {
    return std::make_unique<IncrementalPredictiveCoding>(keys.read(model));
  };
  part.no_lanes = "ipc moves activities and weights together";
  return part;
}

}  // namespace pcxx::learning
