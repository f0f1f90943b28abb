#pragma once

#include <ATen/ATen.h>

namespace pcxx::nn {

/// activity [.., n] with a column of ones appended where the layer has a bias, or of `value`.
inline at::Tensor with_bias_unit(const at::Tensor& activity, const at::Tensor& bias,
                                 double value = 1) {
  if (!bias.defined()) return activity;
  auto shape = activity.sizes().vec();
  shape.back() = 1;
  return at::cat({activity, at::full(shape, value, activity.options())}, -1);
}

}  // namespace pcxx::nn
