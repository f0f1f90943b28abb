#pragma once

#include <ATen/core/Tensor.h>

namespace pcxx::learning {

/// What the equilibrium says of one layer, of all samples of a batch.
///
///   spread     P = Xhat Q, [.., B, n]
///   signal     g, [.., B, n_l]
///   certainty  c, [.., B, 1]
///   leverage   s, [.., B, 1]
///   gram       K = Xhat Q Xhat^T, [.., B, B]; undefined where the batch is one sample
struct KalmanEvidence {
  at::Tensor spread;
  at::Tensor signal;
  at::Tensor certainty;
  at::Tensor leverage;
  at::Tensor gram;
};

/// Step and rank-B narrowing of one layer: W += left^T right, Q -= share right^T right.
///
///   left   [.., B, n_l]
///   right  [.., B, n]
struct KalmanGain {
  at::Tensor left;
  at::Tensor right;
};

/// Overwrites the gram.
KalmanGain kalman_gain(KalmanEvidence& evidence);

/// The gain's `right` alone. Overwrites the gram.
at::Tensor kalman_rows(KalmanEvidence& evidence);

}  // namespace pcxx::learning
