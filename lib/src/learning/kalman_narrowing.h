#pragma once

#include <vector>

#include "learning/kalman_gain.h"

/// Of Narrowing::kConstancy (learning/kalman.h).
namespace pcxx::learning {

/// Of o, how alike the Jacobians of two samples are as far as the slopes tell: the product over the
/// layers of ||E f'||^2 / E ||f'||^2, to the power 8.
///
///   rest   1 - o, [.., 1, 1]
///   noise  R^o, [.., 1, 1]
struct Constancy {
  at::Tensor rest;
  at::Tensor noise;
};

/// Slopes: E f' and, last, E ||f'||^2 of each layer that is not linear, [.., n_l + 1]. Noise: R,
/// [..].
Constancy constancy_of(const std::vector<at::Tensor>& slopes, const at::Tensor& noise);

/// Rows V [.., B, n] of Q -= V^T V, where N = 1/c - s:
/// V^T V = share^(1 - o) P^T (K + diag(N^(1 - o) R^o))^-1 P.
at::Tensor rows_by_constancy(const KalmanEvidence& evidence, double share,
                             const Constancy& constancy);

}  // namespace pcxx::learning
