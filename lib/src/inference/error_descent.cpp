#include <ATen/ATen.h>
#include <pcxx/inference/error_descent.h>
#include <pcxx/nn/fused.h>
#include <pcxx/nn/products.h>

#include "inference/sample_control.h"

namespace pcxx::inference {
namespace {

using nn::Activation;

// One layer as the loop needs it.
struct LayerView {
  explicit LayerView(const nn::DenseImpl& layer)
      : weight(layer.weight),
        bias(layer.bias.defined() ? layer.bias.detach().unsqueeze(-2) : at::Tensor()),
        activation(layer.options.activation()),
        residual(layer.options.residual()) {}

  // z = W x + b
  void preactivation_out(at::Tensor& z, const at::Tensor& x) const {
    nn::forward_product_out(z, x, weight);
    if (bias.defined()) z.add_(bias);
  }

  at::Tensor weight;
  at::Tensor bias;
  Activation activation;
  bool residual;
};

// The variables and buffers of one call. Index l = 1..L as the paper counts; hidden layers 1..L-1.
class ErrorDescentLoop {
 public:
  ErrorDescentLoop(const nn::NetworkImpl& network, const data::Batch& batch,
                   nn::Feedforward feedforward)
      : depth_(network.size()),
        feedforward_(std::move(feedforward)),
        target_(network.enter(batch.target, network.out_features()).contiguous()) {
    views_.reserve(depth_);
    for (std::size_t l = 1; l <= depth_; ++l) views_.emplace_back(network.layer(l));
    allocate();
  }

  void run(SampleControl& control, std::int64_t max_steps) {
    forward_from_zero();
    for (std::int64_t t = 0; t < max_steps; ++t) {
      descend(control.step());
      const bool active = control.advance(gradient_squares_, energy_squares_);
      forward(/*last=*/!active || t + 1 == max_steps);
      if (!active) break;
    }
    if (max_steps == 0) forward(/*last=*/true);
  }

  // E_b at the current errors.
  at::Tensor energy() const {
    auto sum = energy_squares_.clone();
    for (std::size_t l = 1; l < depth_; ++l) sum.add_(errors_[l].square().sum(-1));
    return sum.mul_(0.5);
  }

  Equilibrium finish(Report report) {
    errors_[depth_] = r_;
    activities_[0] = feedforward_.activities[0];
    activities_[depth_] = target_;
    return {.feedforward = std::move(feedforward_),
            .activities = std::move(activities_),
            .outputs = std::move(outputs_),
            .errors = std::move(errors_),
            .report = std::move(report)};
  }

 private:
  void allocate() {
    const auto& xhat = feedforward_.activities;
    activities_.resize(depth_ + 1);
    outputs_.resize(depth_ + 1);
    errors_.resize(depth_ + 1);
    deltas_.resize(depth_ + 1);
    slopes_applied_.resize(depth_ + 1);
    outputs_[1] = feedforward_.outputs[1];
    for (std::size_t l = 1; l < depth_; ++l) {
      errors_[l] = at::zeros_like(xhat[l], at::MemoryFormat::Contiguous);
      activities_[l] = at::empty_like(errors_[l]);
      deltas_[l] = at::empty_like(errors_[l]);
      // h_l may overwrite delta_l unless the layer below still needs delta_l.
      if (l > 1 && view(l).activation != Activation::kIdentity) {
        slopes_applied_[l] = view(l).residual ? at::empty_like(errors_[l]) : deltas_[l];
      }
      if (l > 1) outputs_[l] = at::empty_like(errors_[l]);
    }
    outputs_[depth_] = feedforward_.outputs[depth_].clone();
    r_ = at::empty_like(target_);
    if (view(depth_).activation != Activation::kIdentity) {
      slopes_applied_[depth_] = at::empty_like(target_);
    }
    energy_squares_ = at::empty(target_.sizes().slice(0, target_.dim() - 1), target_.options());
    gradient_squares_ = at::empty_like(energy_squares_);
  }

  // Where errors are zero the forward pass has been done: copy nothing, only take its residual.
  void forward_from_zero() {
    current_outputs_ = &feedforward_.outputs;
    at::sub_out(r_, target_, feedforward_.prediction());
    energy_squares_.copy_(r_.square().sum(-1));
    if (slopes_applied_[depth_].defined()) {
      slopes_applied_[depth_].copy_(
          nn::fused::times_slope(r_, feedforward_.outputs[depth_], view(depth_).activation));
    }
  }

  void forward(bool last) {
    if (depth_ == 1) return;  // no hidden errors: the first pass said it all
    current_outputs_ = &outputs_;
    for (std::size_t l = 1; l < depth_; ++l) {
      const auto& layer = view(l);
      const auto& below = l == 1 ? feedforward_.activities[0] : activities_[l - 1];
      if (l > 1) layer.preactivation_out(outputs_[l], below);
      // a_1 never changes: it is the feed-forward pass's.
      nn::fused::activate_and_add(outputs_[l], errors_[l], layer.residual ? below : at::Tensor(),
                                  l > 1 ? layer.activation : Activation::kIdentity, activities_[l]);
    }
    forward_output(last);
  }

  // Unless it is the last time, the way back through the output layer is taken at once.
  void forward_output(bool last) {
    const auto& top = view(depth_);
    const auto& below = activities_[depth_ - 1];
    auto& a = outputs_[depth_];
    auto& h = slopes_applied_[depth_];
    top_delta_known_ = !last && !top.bias.defined() && !top.residual;
    if (top_delta_known_) {
      nn::fused::output_round_trip(below, top.weight, target_, top.activation, a, r_, h,
                                   energy_squares_, deltas_[depth_ - 1]);
    } else {
      top.preactivation_out(a, below);
      nn::fused::output_error(a, target_, top.residual ? below : at::Tensor(), top.activation, r_,
                              h, energy_squares_);
    }
  }

  // Backward pass and one step on every layer's errors, top down.
  void descend(const at::Tensor& step) {
    gradient_squares_.zero_();
    for (std::size_t l = depth_ - 1; l >= 1; --l) {
      if (l + 1 < depth_ || !top_delta_known_) pull_back(l);
      nn::fused::descend(errors_[l], deltas_[l], (*current_outputs_)[l], view(l).activation, step,
                         gradient_squares_, energy_squares_, slopes_applied_[l]);
    }
  }

  // delta_l from the layer above.
  void pull_back(std::size_t l) {
    const auto& above = view(l + 1);
    const auto& delta = l + 1 == depth_ ? r_ : deltas_[l + 1];
    const auto& h = slopes_applied_[l + 1].defined() ? slopes_applied_[l + 1] : delta;
    nn::backward_product_out(deltas_[l], h, above.weight);
    if (above.residual) deltas_[l].add_(delta);
  }

  const LayerView& view(std::size_t l) const { return views_[l - 1]; }

  std::size_t depth_;
  std::vector<LayerView> views_;
  nn::Feedforward feedforward_;
  at::Tensor target_;
  std::vector<at::Tensor> activities_;      // x_l
  std::vector<at::Tensor> outputs_;         // a_l = f_l(W_l x_{l-1} + b_l)
  std::vector<at::Tensor> errors_;          // eps_l
  std::vector<at::Tensor> deltas_;          // -dE/dx_l through the layers above
  std::vector<at::Tensor> slopes_applied_;  // h_l = delta_l * f_l'
  const std::vector<at::Tensor>* current_outputs_ = nullptr;
  at::Tensor r_;
  at::Tensor energy_squares_;  // ||r||^2 after a forward pass, 2 E_b after the step that follows
  at::Tensor gradient_squares_;
  bool top_delta_known_ = false;  // delta_{L-1} came with the last forward pass
};

at::Tensor times(const at::Tensor& t, const at::Tensor& slope) {
  return slope.defined() ? t * slope : t;
}

// Tangents t_l = f_l' (W_l t_{l-1}) (+ t_{l-1}) + v_l, up to the output's change J v.
at::Tensor push_forward(const nn::NetworkImpl& network, const std::vector<at::Tensor>& slopes,
                        const std::vector<at::Tensor>& v) {
  at::Tensor tangent = v[1];
  for (std::size_t l = 2; l <= network.size(); ++l) {
    const auto& layer = network.layer(l);
    auto next = times(at::matmul(tangent, layer.weight.mT()), slopes[l]);
    if (layer.options.residual()) next = next + tangent;
    tangent = l < network.size() ? next + v[l] : next;
  }
  return tangent;
}

// J^T u for every hidden layer.
std::vector<at::Tensor> pull_back(const nn::NetworkImpl& network,
                                  const std::vector<at::Tensor>& slopes, const at::Tensor& u) {
  std::vector<at::Tensor> result(network.size());
  auto signal = u;
  for (std::size_t l = network.size(); l >= 2; --l) {
    const auto& layer = network.layer(l);
    auto below = at::matmul(times(signal, slopes[l]), layer.weight);
    if (layer.options.residual()) below = below + signal;
    signal = below;
    result[l - 1] = signal;
  }
  return result;
}

at::Tensor squared_norm(const std::vector<at::Tensor>& v) {
  auto sum = v[1].square().sum(-1);
  for (std::size_t l = 2; l < v.size(); ++l) sum = sum + v[l].square().sum(-1);
  return sum;
}

at::Tensor curvature_at(const nn::NetworkImpl& network, const nn::Feedforward& pass,
                        const at::Tensor& target, int iterations) {
  std::vector<at::Tensor> slopes(network.size() + 1);
  for (std::size_t l = 1; l <= network.size(); ++l) {
    slopes[l] = nn::slope(pass.outputs[l], network.layer(l).options.activation());
  }
  auto v = pull_back(network, slopes, target - pass.prediction());
  auto lambda = at::ones_like(squared_norm(v));
  for (int k = 0; k < iterations; ++k) {
    const auto norm = squared_norm(v).sqrt();
    // A sample without a gradient has nothing to infer: any direction will do, its curvature is 1.
    const auto scale = at::where(norm.gt(0), norm.reciprocal(), at::zeros_like(norm)).unsqueeze(-1);
    for (std::size_t l = 1; l < v.size(); ++l) v[l] = v[l] * scale;
    const auto change = push_forward(network, slopes, v);
    lambda = 1 + change.square().sum(-1);  // Rayleigh quotient of I + J^T J at the unit vector v
    if (k + 1 == iterations) break;
    const auto pulled = pull_back(network, slopes, change);
    for (std::size_t l = 1; l < v.size(); ++l) v[l] = v[l] + pulled[l];
  }
  return lambda;
}

}  // namespace

at::Tensor curvature(const nn::NetworkImpl& network, const data::Batch& batch, int iterations) {
  TORCH_CHECK(iterations >= 1, "the curvature takes at least one power iteration, not ",
              iterations);
  const at::NoGradGuard no_grad;
  const auto pass = nn::feedforward(network, batch.input);
  const auto target = network.enter(batch.target, network.out_features());
  if (network.size() == 1) return at::ones_like(target.select(-1, 0));
  return curvature_at(network, pass, target, iterations);
}

ErrorDescent::ErrorDescent(DescentOptions options) : options_(options) {
  TORCH_CHECK(options.max_steps >= 0, "steps cannot be negative: ", options.max_steps);
  TORCH_CHECK(options.step_size >= 0, "a step size cannot be negative: ", options.step_size);
}

Equilibrium ErrorDescent::infer(const nn::NetworkImpl& network, const data::Batch& batch) const {
  const at::NoGradGuard no_grad;
  auto pass = nn::feedforward(network, batch.input);
  const auto target = network.enter(batch.target, network.out_features());
  const auto rows = target.sizes().slice(0, target.dim() - 1);

  at::Tensor step;
  if (options_.step_size > 0 || network.size() == 1) {
    step = at::full(rows, options_.step_size, target.options());
  } else {
    // Close to 2 / (1 + lambda), the best step when curvatures lie between 1 and lambda.
    step = 1.8 / (1 + curvature_at(network, pass, target, options_.power_iterations));
  }
  SampleControl control(options_, step);
  ErrorDescentLoop loop(network, batch, std::move(pass));
  loop.run(control, options_.max_steps);
  const auto energy = loop.energy();
  return loop.finish(control.report(name(), energy));
}

}  // namespace pcxx::inference
