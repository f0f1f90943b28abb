#include "optim/gradients.h"

#include <ATen/ATen.h>

namespace pcxx::optim {

at::Tensor gradient_of(const at::Tensor& parameter) {
  if (!parameter.defined() || !parameter.requires_grad()) return {};
  auto& grad = parameter.mutable_grad();
  const bool fits = grad.defined() && grad.scalar_type() == parameter.scalar_type() &&
                    grad.device() == parameter.device();
  if (!fits) grad = at::empty_like(parameter, at::MemoryFormat::Contiguous);
  return grad;
}

void write_negative(const at::Tensor& parameter, const at::Tensor& direction) {
  if (auto grad = gradient_of(parameter); grad.defined()) {
    auto view = grad.view(direction.sizes());
    at::neg_out(view, direction);
  }
}

}  // namespace pcxx::optim
