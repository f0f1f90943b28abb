#pragma once

#include <pcxx/learning/peers.h>

#include <functional>

namespace pcxx::learning {

/// What the equilibrium says of one layer, of all samples of a batch or of one process's.
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

/// That of all samples, on its way to every process.
class PendingEvidence {
 public:
  /// spread  of all samples
  /// xhat    of this process's samples, as are signal, certainty and leverage
  /// single  whether the batch is one sample
  PendingEvidence(Peers& peers, at::Tensor spread, const at::Tensor& xhat, const at::Tensor& signal,
                  const at::Tensor& certainty, const at::Tensor& leverage, bool single);

  KalmanEvidence wait();

 private:
  at::Tensor spread_;
  std::function<Peers::Tensors()> told_;
  std::function<Peers::Tensors()> gram_;
};

/// Step and rank-B narrowing of one layer: W += left^T right, Q -= share right^T right.
///
///   left   [.., B, n_l]
///   right  [.., B, n]
struct KalmanGain {
  at::Tensor left;
  at::Tensor right;
};

/// Of all samples. Overwrites the gram.
KalmanGain kalman_gain(KalmanEvidence& evidence);

}  // namespace pcxx::learning
