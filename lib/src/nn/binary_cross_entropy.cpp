#include <ATen/ATen.h>
#include <pcxx/nn/binary_cross_entropy.h>

#include "nn/loss_parts.h"

namespace pcxx::nn {

at::Tensor BinaryCrossEntropy::value(const at::Tensor& prediction, const at::Tensor& target) const {
  return errors(prediction, target).sum(-1);
}

at::Tensor BinaryCrossEntropy::residual(const at::Tensor& prediction,
                                        const at::Tensor& target) const {
  return target - at::sigmoid(prediction);
}

// s = y - residual.
at::Tensor BinaryCrossEntropy::curve(const at::Tensor& residual, const at::Tensor& target,
                                     const at::Tensor& tangent) const {
  const auto s = target - residual;
  return s * (1 - s) * tangent;
}

// log(1 + exp(z)) - y z, which does not overflow.
at::Tensor BinaryCrossEntropy::curvature_bound(std::int64_t outputs,
                                               const at::TensorOptions& options) const {
  return at::eye(outputs, options).mul_(0.25);
}

at::Tensor BinaryCrossEntropy::errors(const at::Tensor& prediction,
                                      const at::Tensor& target) const {
  return at::logaddexp(prediction, at::zeros({}, prediction.options())) - target * prediction;
}

at::Tensor BinaryCrossEntropy::outcome(const at::Tensor& prediction) const {
  return at::sigmoid(prediction);
}

LossPart binary_cross_entropy_part() {
  LossPart part;
  part.name = "binary_cross_entropy";
  part.doc = "of sigmoid with targets in [0, 1]";
  part.make = [](const config::Config&) { return std::make_shared<BinaryCrossEntropy>(); };
  return part;
}

}  // namespace pcxx::nn
