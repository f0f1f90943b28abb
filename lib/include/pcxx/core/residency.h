#pragma once

#include <ATen/core/TensorBody.h>

namespace pcxx {

/// The parameters of a network, the factors of its layers and the state of its optimizer are on one
/// device; only a batch may come from another, and is moved. Throws c10::Error with one sentence,
/// which begins with `what` ("the weight of layer ", 2), when `tensor` is elsewhere than on
/// `device`. An undefined tensor is nowhere.
template <typename... Words>
void check_residency(const at::Tensor& tensor, at::Device device, const Words&... what) {
  TORCH_CHECK(!tensor.defined() || tensor.device() == device, what..., " lies on ", tensor.device(),
              ", but what it is used with on ", device);
}

}  // namespace pcxx
