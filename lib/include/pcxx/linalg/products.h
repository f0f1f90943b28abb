#pragma once

#include <ATen/core/Tensor.h>

/// The matrix products of a network, without autograd: LibTorch's BLAS, or where they are faster,
/// SIMD loops of our own, chosen at run time. On the CPU, in float32 and float64, those are
///   one sample alone: every weight is read once, and no dispatch stands between;
///   AMD processors: LibTorch's MKL gives these its AVX2 code even where they have AVX-512.
/// Columns, or members of an ensemble, go to threads; a result does not depend on how many there
/// are. All operands are on one device; others are refused (core/residency.h).
namespace pcxx::linalg {

/// out <- beta out + alpha a b. a [m, k], b [k, n], out [m, n], or each with R in front; out may
/// not overlap the others, and is not read when beta is 0.
void product_out(at::Tensor& out, const at::Tensor& a, const at::Tensor& b, double alpha = 1,
                 double beta = 0);

/// a b as a new tensor; with any number of dimensions in front, the same for both.
at::Tensor product(const at::Tensor& a, const at::Tensor& b);

/// out <- beta out + alpha a a^T, at half the cost of a product where the loops apply. a [m, k] and
/// a symmetric out [m, m], or each with R in front.
void gram_out(at::Tensor& out, const at::Tensor& a, double alpha = 1, double beta = 0);

/// a a^T of a [.., m, k], symmetric to the last bit.
at::Tensor gram(const at::Tensor& a);

/// out <- x W^T. x [B, n], weight [m, n], out [B, m], or each with R in front.
void forward_product_out(at::Tensor& out, const at::Tensor& x, const at::Tensor& weight);
at::Tensor forward_product(const at::Tensor& x, const at::Tensor& weight);

/// out <- e W. e [B, m], weight [m, n], out [B, n], or each with R in front.
void backward_product_out(at::Tensor& out, const at::Tensor& e, const at::Tensor& weight);
at::Tensor backward_product(const at::Tensor& e, const at::Tensor& weight);

/// Whether the last four run as loops over one sample.
bool one_sample_applies(const at::Tensor& x, const at::Tensor& weight);

}  // namespace pcxx::linalg
