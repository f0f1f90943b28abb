#include "inference/layer_energy.h"

#include <ATen/ATen.h>
#include <pcxx/nn/fused.h>

#include "inference/power_iteration.h"

namespace pcxx::inference {

LayerEnergy::LayerEnergy(const nn::NetworkImpl& network, const nn::Feedforward& pass,
                         const at::Tensor& target)
    : network_(network),
      ensemble_(network.members().has_value()),
      first_output_(pass.outputs[1]),
      first_prediction_(pass.activities[1]),
      target_(target),
      activities_(pass.activities),
      outputs_(pass.outputs),
      residual_(network.residual(pass.prediction(), target)),
      output_squares_(squares_of_output(pass.prediction())),
      energy_squares_(output_squares_.clone()) {
  for (std::size_t l = 1; l < network.size(); ++l) {
    errors_.push_back(at::zeros_like(of_samples(pass.activities[l]), at::MemoryFormat::Contiguous));
  }
  gradient_squares_ = at::zeros_like(energy_squares_);
}

LayerEnergy::LayerEnergy(const LayerEnergy& whole, const at::Tensor& rows)
    : network_(whole.network_),
      ensemble_(whole.ensemble_),
      first_output_(whole.first_output_.select(rows)),
      first_prediction_(whole.first_prediction_.index_select(-2, rows)),
      target_(whole.target_.index_select(-2, rows)),
      activities_(whole.activities_.size()),
      outputs_(whole.outputs_.size()) {
  activities_[0] = whole.activities_[0].index_select(-2, rows);
  for (const auto& eps : whole.errors_) errors_.push_back(eps.index_select(0, rows));
}

at::Tensor LayerEnergy::squares_of_output(const at::Tensor& prediction) const {
  return of_samples(network_.loss().value(prediction, target_)).mul_(2);
}

std::vector<at::Tensor> LayerEnergy::variables() {
  return errors_;
}

void LayerEnergy::forward(bool) {
  nn::LayerOutput made{first_output_, first_prediction_};
  for (std::size_t l = 1; l <= network_.size(); ++l) {
    if (l > 1) made = network_.layer(l).run(activities_[l - 1]);
    outputs_[l] = std::move(made.kept);
    if (l < network_.size()) activities_[l] = made.prediction + of_layers(errors_[l - 1]);
  }
  residual_ = network_.residual(made.prediction, target_);
  output_squares_ = squares_of_output(made.prediction);
  energy_squares_ = output_squares_.clone();
}

std::vector<at::Tensor> LayerEnergy::gradients() {
  std::vector<at::Tensor> gradients(errors_.size());
  gradient_squares_ = at::zeros_like(energy_squares_);
  auto signal = residual_;
  for (std::size_t l = network_.size(); l >= 2; --l) {
    signal = network_.layer(l)
                 .pull_back(activities_[l - 1], outputs_[l], signal, {.parameters = false})
                 .input;
    const auto& eps = errors_[l - 2];
    gradients[l - 2] = at::empty_like(eps);
    at::Tensor none;
    nn::fused::gradient(eps, of_samples(signal).contiguous(), eps, nn::Activation::kIdentity,
                        gradients[l - 2], gradient_squares_, energy_squares_, none);
  }
  return gradients;
}

at::Tensor LayerEnergy::curvature(const at::Tensor& rows, int iterations) const {
  const auto of_rows = [&](const std::vector<at::Tensor>& whole) {
    std::vector<at::Tensor> part;
    for (const auto& t : whole) part.push_back(t.defined() ? t.index_select(-2, rows) : t);
    return part;
  };
  std::vector<nn::Kept> kept;
  for (const auto& output : outputs_) kept.push_back(output.select(rows));
  const auto found =
      power_iteration({network_, of_rows(activities_), std::move(kept),
                       target_.index_select(-2, rows), residual_.index_select(-2, rows)},
                      iterations);
  return ensemble_ ? found.squeeze(0) : found;
}

std::unique_ptr<Energy> LayerEnergy::select(const at::Tensor& rows) const {
  return std::unique_ptr<Energy>(new LayerEnergy(*this, rows));
}

at::Tensor LayerEnergy::energy() const {
  auto sum = output_squares_.clone();
  for (const auto& eps : errors_) sum.add_(eps.square().sum(-1));
  return sum.mul_(0.5);
}

Equilibrium LayerEnergy::finish(nn::Feedforward pass, Report report) {
  if (ensemble_) {
    for (auto* values : report.fields()) *values = values->unsqueeze(0);
  }
  std::vector<at::Tensor> errors{at::Tensor()};
  for (const auto& eps : errors_) errors.push_back(of_layers(eps));
  errors.push_back(residual_);
  activities_.back() = target_;
  return {.feedforward = std::move(pass),
          .activities = std::move(activities_),
          .outputs = std::move(outputs_),
          .errors = std::move(errors),
          .report = std::move(report)};
}

}  // namespace pcxx::inference
