#pragma once

#include <pcxx/nn/loss.h>

namespace pcxx::nn {

/// Binary cross-entropy of s = sigmoid(yhat), summed over the outputs: -sum_i y_i log s_i +
/// (1 - y_i) log(1 - s_i). The outputs are logits, those of a layer without activation; targets lie
/// in [0, 1], such as pixels.
///
///   residual  y - s;   Hessian  diag(s (1 - s))
///
/// It is convex in the logits. Programs report the mean over samples and outputs, in nats.
class BinaryCrossEntropy final : public Loss {
 public:
  std::string_view name() const override { return "binary_cross_entropy"; }
  at::Tensor value(const at::Tensor& prediction, const at::Tensor& target) const override;
  at::Tensor residual(const at::Tensor& prediction, const at::Tensor& target) const override;
  at::Tensor curve(const at::Tensor& residual, const at::Tensor& target,
                   const at::Tensor& tangent) const override;
  at::Tensor curvature_bound(std::int64_t outputs, const at::TensorOptions& options) const override;
  at::Tensor errors(const at::Tensor& prediction, const at::Tensor& target) const override;
  std::int64_t error_columns(std::int64_t outputs) const override { return outputs; }
  at::Tensor outcome(const at::Tensor& prediction) const override;
  bool is_of_logits() const override { return true; }
};

}  // namespace pcxx::nn
