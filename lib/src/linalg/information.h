#pragma once

#include <ATen/core/Tensor.h>

namespace pcxx::linalg {

/// Rows `which` [.., B, a] of a matrix [n, k] or [R, n, k], by sample: [.., B, a, k].
at::Tensor rows(const at::Tensor& matrix, at::Tensor which);

/// What outputs y = V x with precisions w tell of some of the hidden units x: V^T diag(w) V of
/// these, [.., B, a, a], symmetric to the last bit. `transposed` is V^T, [n, n_L] or [R, n, n_L],
/// `units` is [.., B, a] and w >= 0 [.., B, n_L].
at::Tensor information(const at::Tensor& transposed, const at::Tensor& units, const at::Tensor& w);

}  // namespace pcxx::linalg
