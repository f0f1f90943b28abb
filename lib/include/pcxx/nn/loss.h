#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string_view>

namespace pcxx::nn {

/// What a network is wrong by, as a function of its prediction yhat and the target y, both [.., B,
/// n]. It is the output's term of predictive coding's energy, and what backpropagation descends.
/// Samples do not interact. All is without autograd.
class Loss {
 public:
  virtual ~Loss() = default;

  virtual std::string_view name() const = 0;

  /// The loss of each sample, [.., B]: the output's energy.
  virtual at::Tensor value(const at::Tensor& prediction, const at::Tensor& target) const = 0;

  /// Minus its gradient in the prediction, [.., B, n]: the error that is sent down.
  virtual at::Tensor residual(const at::Tensor& prediction, const at::Tensor& target) const = 0;

  /// Its Hessian in the prediction times a tangent, [.., B, n], where the residual is this. It is
  /// positive semidefinite where the loss is convex, on which certificates of inference rest.
  virtual at::Tensor curve(const at::Tensor& residual, const at::Tensor& target,
                           const at::Tensor& tangent) const = 0;

  /// A matrix that no Hessian in the prediction exceeds, [n, n] for n outputs; undefined where none
  /// is known.
  virtual at::Tensor curvature_bound(std::int64_t /*outputs*/,
                                     const at::TensorOptions& /*options*/) const {
    return {};
  }

  /// What programs report, as their mean: [.., B, k] with k = error_columns(n) numbers a sample.
  virtual at::Tensor errors(const at::Tensor& prediction, const at::Tensor& target) const = 0;
  virtual std::int64_t error_columns(std::int64_t outputs) const = 0;
  /// Their sum over samples and columns, [] or [R], float64.
  virtual at::Tensor sum_of_errors(const at::Tensor& prediction, const at::Tensor& target) const;

  /// What a prediction says in the units of the targets: probabilities, of logits.
  virtual at::Tensor outcome(const at::Tensor& prediction) const { return prediction; }

  /// Whether it is 1/2 ||y - yhat||^2, for which inference has closed forms and fused passes.
  virtual bool is_squared_error() const { return false; }
  /// Whether it is one of the outputs of a linear last layer, such as of log-probabilities.
  virtual bool is_of_logits() const { return false; }
};

/// 1/2 ||y - yhat||^2, the paper's. Programs report the mean of (yhat - y)^2 over outputs.
class SquaredError final : public Loss {
 public:
  std::string_view name() const override { return "squared_error"; }
  at::Tensor value(const at::Tensor& prediction, const at::Tensor& target) const override;
  at::Tensor residual(const at::Tensor& prediction, const at::Tensor& target) const override;
  at::Tensor curve(const at::Tensor&, const at::Tensor&, const at::Tensor& tangent) const override {
    return tangent;
  }
  at::Tensor errors(const at::Tensor& prediction, const at::Tensor& target) const override;
  std::int64_t error_columns(std::int64_t outputs) const override { return outputs; }
  at::Tensor sum_of_errors(const at::Tensor& prediction, const at::Tensor& target) const override;
  bool is_squared_error() const override { return true; }
};

/// The one that networks have by default.
std::shared_ptr<const Loss> squared_error();

}  // namespace pcxx::nn
