#pragma once

#include <ATen/ATen.h>

namespace pcxx::nn {

/// activity [.., n] with a column of ones appended where the layer has a bias.
inline at::Tensor with_bias_unit(const at::Tensor& activity, const at::Tensor& bias) {
  if (!bias.defined()) return activity;
  auto shape = activity.sizes().vec();
  shape.back() = 1;
  return at::cat({activity, at::ones(shape, activity.options())}, -1);
}

}  // namespace pcxx::nn
