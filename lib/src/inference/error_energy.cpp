#include "inference/error_energy.h"

#include <ATen/ATen.h>
#include <pcxx/linalg/products.h>
#include <pcxx/nn/fused.h>

#include "inference/power_iteration.h"

namespace pcxx::inference {

using nn::Activation;

LayerView::LayerView(const nn::DenseImpl& layer)
    : weight(layer.weight),
      bias(layer.bias.defined() ? layer.bias.detach().unsqueeze(-2) : at::Tensor()),
      activation(layer.options.activation()),
      residual(layer.options.residual()) {}

void LayerView::preactivation_out(at::Tensor& z, const at::Tensor& x) const {
  linalg::forward_product_out(z, x, weight);
  if (bias.defined()) z.add_(bias);
}

namespace {

std::vector<LayerView> views_of(const nn::NetworkImpl& network) {
  std::vector<LayerView> views;
  views.reserve(network.size());
  for (std::size_t l = 1; l <= network.size(); ++l) views.emplace_back(network.dense(l));
  return views;
}

}  // namespace

ErrorEnergy::ErrorEnergy(const nn::NetworkImpl& network, const nn::Feedforward& pass,
                         const at::Tensor& target)
    : ErrorEnergy(network, views_of(network), pass.activities[0], pass.outputs[1], target) {
  at_zero(pass);
}

ErrorEnergy::ErrorEnergy(const nn::NetworkImpl& network, std::vector<LayerView> views,
                         at::Tensor input, at::Tensor first_output, const at::Tensor& target)
    : network_(network),
      depth_(views.size()),
      views_(std::move(views)),
      target_(target.contiguous()),
      activities_(depth_ + 1),
      outputs_(depth_ + 1),
      errors_(depth_ + 1),
      deltas_(depth_ + 1),
      slopes_applied_(depth_ + 1) {
  activities_[0] = std::move(input);
  outputs_[1] = std::move(first_output);
  allocate();
}

// Index l = 1..L as the paper counts; hidden layers 1..L-1.
void ErrorEnergy::allocate() {
  const auto rows = target_.sizes().slice(0, target_.dim() - 1);
  const auto layer_shape = [&](std::size_t l) {
    auto shape = rows.vec();
    shape.push_back(view(l).weight.size(-2));
    return shape;
  };
  for (std::size_t l = 1; l < depth_; ++l) {
    errors_[l] = at::zeros(layer_shape(l), target_.options());
    activities_[l] = at::empty_like(errors_[l]);
    deltas_[l] = at::empty_like(errors_[l]);
    if (l == 1) continue;
    outputs_[l] = at::empty_like(errors_[l]);
    // h_l may overwrite delta_l unless the layer below still needs delta_l.
    if (view(l).activation != Activation::kIdentity) {
      slopes_applied_[l] = view(l).residual ? at::empty_like(errors_[l]) : deltas_[l];
    }
  }
  if (depth_ > 1) outputs_[depth_] = at::empty_like(target_);
  r_ = at::empty_like(target_);
  if (view(depth_).activation != Activation::kIdentity) {
    slopes_applied_[depth_] = at::empty_like(target_);
  }
  energy_squares_ = at::empty(rows, target_.options());
  gradient_squares_ = at::zeros_like(energy_squares_);
}

// Where errors are zero the way forward has been done: copy nothing, only take its residual.
void ErrorEnergy::at_zero(const nn::Feedforward& pass) {
  zero_outputs_ = pass.outputs;
  take_output(pass.outputs[depth_], pass.prediction());
}

// The residual of a prediction, by any loss.
void ErrorEnergy::take_output(const at::Tensor& output, const at::Tensor& prediction) {
  const auto& loss = network_.loss();
  if (loss.is_squared_error()) {  // in half the operations
    at::sub_out(r_, target_, prediction);
    energy_squares_.copy_(r_.square().sum(-1));
  } else {
    r_.copy_(loss.residual(prediction, target_));
    energy_squares_.copy_(loss.value(prediction, target_).mul_(2));
  }
  if (slopes_applied_[depth_].defined()) {
    slopes_applied_[depth_].copy_(nn::fused::times_slope(r_, output, view(depth_).activation));
  }
}

std::vector<at::Tensor> ErrorEnergy::variables() {
  return {errors_.begin() + 1, errors_.end() - 1};
}

const at::Tensor& ErrorEnergy::output(std::size_t l) const {
  return zero_outputs_.empty() ? outputs_[l] : zero_outputs_[l].output;
}

void ErrorEnergy::forward(bool last) {
  if (depth_ == 1) return;  // no hidden errors: the first pass said it all
  zero_outputs_.clear();
  for (std::size_t l = 1; l < depth_; ++l) {
    const auto& layer = view(l);
    const auto& below = activities_[l - 1];
    if (l > 1) layer.preactivation_out(outputs_[l], below);
    // a_1 never changes: it is the feed-forward pass's.
    nn::fused::activate_and_add(outputs_[l], errors_[l], layer.residual ? below : at::Tensor(),
                                l > 1 ? layer.activation : Activation::kIdentity, activities_[l]);
  }
  forward_output(last);
}

// Unless it is the last time, the way back through the output layer is taken at once.
void ErrorEnergy::forward_output(bool last) {
  const auto& top = view(depth_);
  const auto& below = activities_[depth_ - 1];
  auto& a = outputs_[depth_];
  auto& h = slopes_applied_[depth_];
  const bool is_squared_error = network_.loss().is_squared_error();
  top_delta_known_ = !last && !top.bias.defined() && !top.residual && is_squared_error;
  if (!is_squared_error) {
    top.preactivation_out(a, below);
    nn::activate_(a, top.activation);
    take_output(a, top.residual ? a + below : a);
  } else if (top_delta_known_) {
    nn::fused::output_round_trip(below, top.weight, target_, top.activation, a, r_, h,
                                 energy_squares_, deltas_[depth_ - 1]);
  } else {
    top.preactivation_out(a, below);
    nn::fused::output_error(a, target_, top.residual ? below : at::Tensor(), top.activation, r_, h,
                            energy_squares_);
  }
}

void ErrorEnergy::descend(const at::Tensor& step) {
  gradient_squares_.zero_();
  for (std::size_t l = depth_ - 1; l >= 1; --l) {
    if (l + 1 < depth_ || !top_delta_known_) pull_back(l);
    nn::fused::descend(errors_[l], deltas_[l], output(l), view(l).activation, step,
                       gradient_squares_, energy_squares_, slopes_applied_[l]);
  }
}

std::vector<at::Tensor> ErrorEnergy::gradients() {
  if (gradients_.empty()) {
    for (const auto& eps : variables()) gradients_.push_back(at::empty_like(eps));
  }
  gradient_squares_.zero_();
  for (std::size_t l = depth_ - 1; l >= 1; --l) {
    if (l + 1 < depth_ || !top_delta_known_) pull_back(l);
    nn::fused::gradient(errors_[l], deltas_[l], output(l), view(l).activation, gradients_[l - 1],
                        gradient_squares_, energy_squares_, slopes_applied_[l]);
  }
  return gradients_;
}

// delta_l from the layer above.
void ErrorEnergy::pull_back(std::size_t l) {
  const auto& above = view(l + 1);
  const auto& delta = l + 1 == depth_ ? r_ : deltas_[l + 1];
  const auto& h = slopes_applied_[l + 1].defined() ? slopes_applied_[l + 1] : delta;
  linalg::backward_product_out(deltas_[l], h, above.weight);
  if (above.residual) deltas_[l].add_(delta);
}

at::Tensor ErrorEnergy::curvature(const at::Tensor& rows, int iterations) const {
  const auto outputs = zero_outputs_.empty()
                           ? std::vector<nn::Kept>(outputs_.begin(), outputs_.end())
                           : zero_outputs_;
  if (r_.dim() > 2) {  // weights differ from member to member
    return power_iteration({network_, activities_, outputs, target_, r_}, iterations)
        .flatten()
        .index_select(0, rows);
  }
  CurvaturePoint point{network_, activities_, outputs, target_.index_select(0, rows),
                       r_.index_select(0, rows)};
  for (std::size_t l = 1; l <= depth_; ++l) {
    point.outputs[l] = point.outputs[l].select(rows);
  }
  return power_iteration(point, iterations);
}

std::unique_ptr<Energy> ErrorEnergy::select(const at::Tensor& rows) const {
  const auto of_rows = [&](const at::Tensor& t) { return t.index_select(0, rows); };
  std::unique_ptr<ErrorEnergy> part(new ErrorEnergy(network_, views_, of_rows(activities_[0]),
                                                    of_rows(outputs_[1]), of_rows(target_)));
  for (std::size_t l = 1; l < depth_; ++l) part->errors_[l] = of_rows(errors_[l]);
  return part;
}

at::Tensor ErrorEnergy::energy() const {
  auto sum = energy_squares_.clone();
  for (std::size_t l = 1; l < depth_; ++l) sum.add_(errors_[l].square().sum(-1));
  return sum.mul_(0.5);
}

Equilibrium ErrorEnergy::finish(nn::Feedforward pass, Report report) {
  errors_[depth_] = r_;
  activities_[depth_] = target_;
  if (depth_ == 1) outputs_[1] = pass.outputs[1].output.clone();
  return {.feedforward = std::move(pass),
          .activities = std::move(activities_),
          .outputs = {outputs_.begin(), outputs_.end()},
          .errors = std::move(errors_),
          .report = std::move(report)};
}

}  // namespace pcxx::inference
