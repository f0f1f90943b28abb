#include <ATen/ATen.h>
#include <pcxx/nn/cross_entropy.h>

#include "nn/loss_parts.h"

namespace pcxx::nn {

at::Tensor CrossEntropy::value(const at::Tensor& prediction, const at::Tensor& target) const {
  return (target * at::log_softmax(prediction, -1)).sum(-1).neg_();
}

at::Tensor CrossEntropy::residual(const at::Tensor& prediction, const at::Tensor& target) const {
  return target - target.sum(-1, /*keepdim=*/true) * at::softmax(prediction, -1);
}

// q = s p = y - residual.
at::Tensor CrossEntropy::curve(const at::Tensor& residual, const at::Tensor& target,
                               const at::Tensor& tangent) const {
  const auto q = target - residual;
  const auto along = (q * tangent).sum(-1, /*keepdim=*/true) / q.sum(-1, /*keepdim=*/true);
  return q * (tangent - along);
}

// Boehning 1992, for targets whose sum is 1.
at::Tensor CrossEntropy::curvature_bound(std::int64_t outputs,
                                         const at::TensorOptions& options) const {
  return (at::eye(outputs, options) - 1 / static_cast<double>(outputs)).mul_(0.5);
}

at::Tensor CrossEntropy::errors(const at::Tensor& prediction, const at::Tensor& target) const {
  return value(prediction, target).unsqueeze(-1);
}

at::Tensor CrossEntropy::outcome(const at::Tensor& prediction) const {
  return at::softmax(prediction, -1);
}

LossPart cross_entropy_part() {
  LossPart part;
  part.name = "cross_entropy";
  part.doc = "of softmax with labels";
  part.make = [](const config::Config&) { return std::make_shared<CrossEntropy>(); };
  return part;
}

}  // namespace pcxx::nn
