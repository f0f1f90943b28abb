#pragma once

#include <ATen/core/Tensor.h>

namespace pcxx::linalg {

/// [(1 + I Gamma)^-1 I | (1 + I Gamma)^-1 h], [.., B, n, n + 1], from the information I and the
/// covariance Gamma of n unknowns, [.., B, n, n], symmetric and positive semi-definite, and h
/// [.., B, n] = I x for some x. The first n columns are symmetric to the last bit.
///
/// On the CPU by Cholesky factors of I = A A^T and of 1 + A^T Gamma A, one sample after the other:
/// LAPACK's pivoted LU of such small matrices takes several times as long.
at::Tensor posterior(const at::Tensor& information, const at::Tensor& gamma, const at::Tensor& h);

}  // namespace pcxx::linalg
