#pragma once

#include <ATen/core/Tensor.h>

namespace pcxx::optim {

/// The gradient of a parameter to be written; undefined when the parameter is frozen.
at::Tensor gradient_of(const at::Tensor& parameter);

/// `.grad` of a parameter that is not frozen becomes -direction, which may be the matrix of a
/// weight with more dimensions.
void write_negative(const at::Tensor& parameter, const at::Tensor& direction);

}  // namespace pcxx::optim
