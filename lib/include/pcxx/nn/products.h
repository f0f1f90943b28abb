#pragma once

#include <ATen/core/Tensor.h>

/// The matrix products of a network, written into tensors that exist: LibTorch's BLAS, except for
/// one sample alone on the CPU, where SIMD loops chosen at run time read every weight once and no
/// dispatch stands between. Without autograd.
namespace pcxx::nn {

/// out <- x W^T. x [B, n], weight [m, n], out [B, m], or each with R in front.
void forward_product_out(at::Tensor& out, const at::Tensor& x, const at::Tensor& weight);

/// out <- e W. e [B, m], weight [m, n], out [B, n], or each with R in front.
void backward_product_out(at::Tensor& out, const at::Tensor& e, const at::Tensor& weight);

/// x W^T and e W as new tensors.
at::Tensor forward_product(const at::Tensor& x, const at::Tensor& weight);
at::Tensor backward_product(const at::Tensor& e, const at::Tensor& weight);

/// Whether these products run as loops over one sample.
bool one_sample_applies(const at::Tensor& x, const at::Tensor& weight);

}  // namespace pcxx::nn
