#pragma once

#include <pcxx/nn/loss.h>

namespace pcxx::nn {

/// Cross-entropy of softmax(yhat) with target probabilities y, such as one-hot labels: -sum_i y_i
/// log softmax(yhat)_i. The outputs are logits, those of a layer without activation; each target
/// sums to a number s, 1 for probabilities.
///
///   residual  y - s softmax(yhat);   Hessian  s (diag(p) - p p^T),  p = softmax(yhat)
///
/// It is convex in the logits, so what inference certifies of the squared error it certifies here.
/// Programs report the mean over samples, in nats.
class CrossEntropy final : public Loss {
 public:
  std::string_view name() const override { return "cross_entropy"; }
  at::Tensor value(const at::Tensor& prediction, const at::Tensor& target) const override;
  at::Tensor residual(const at::Tensor& prediction, const at::Tensor& target) const override;
  at::Tensor curve(const at::Tensor& residual, const at::Tensor& target,
                   const at::Tensor& tangent) const override;
  at::Tensor curvature_bound(std::int64_t outputs, const at::TensorOptions& options) const override;
  at::Tensor errors(const at::Tensor& prediction, const at::Tensor& target) const override;
  std::int64_t error_columns(std::int64_t) const override { return 1; }
  at::Tensor outcome(const at::Tensor& prediction) const override;
  bool is_of_logits() const override { return true; }
};

}  // namespace pcxx::nn
