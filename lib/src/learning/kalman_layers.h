#pragma once

#include <pcxx/learning/peers.h>
#include <pcxx/nn/feedforward.h>

#include <cstdint>
#include <vector>

/// Kalman predictive coding in networks of any layers, and by any loss whose curvature has a bound
/// (nn/loss.h): J_l by one way back for each output, where Dense layers and the squared error have
/// shorter ways (learning/kalman_equilibrium.h).
namespace pcxx::learning {

/// m_l / n_l of the layers with a weight, in their order: m_l = min(n_l, widths of layers l + 1..L).
std::vector<double> rank_shares(const nn::NetworkImpl& network);

/// A batch of which this process has a slice.
///
///   samples    of the whole batch
///   curvature  H, the bound of the loss's curvature in the prediction, [n_L, n_L]; undefined for
///              the squared error, where H = I / R
///   noise      R, [] or [R]
struct KalmanBatch {
  const nn::NetworkImpl& network;
  const nn::Feedforward& pass;
  at::Tensor residual;
  Peers& peers;
  std::int64_t samples;
  at::Tensor curvature = {};
  at::Tensor noise = {};

  bool is_one() const { return samples == 1; }

  /// Sums over all samples and units of values [.., b, n] of this process's samples.
  Peers::Tensors sums(Peers::Tensors values) const;
  at::Tensor mean_of_outputs(const at::Tensor& sum) const;
};

/// What the batch teaches: of each layer with a weight the step [n_l, n], and means of its
/// leverages and certainties as in KalmanReport. `scale` and `change` as there. The covariances
/// are narrowed.
struct KalmanLesson {
  std::vector<at::Tensor> steps;
  std::vector<at::Tensor> leverages;
  std::vector<at::Tensor> certainties;
  at::Tensor scale;
  at::Tensor change;
};

/// Throws c10::Error where a layer has parameters that are not those of one weight.
KalmanLesson learn(const KalmanBatch& batch, std::vector<at::Tensor>& covariances);

/// Step [n_l, n] of a layer as directions of its parameters.
std::vector<at::Tensor> directions_of(const nn::Layer& layer, const at::Tensor& step);

/// Change of the predictions by the steps themselves, [.., b, n_L].
at::Tensor actual_change(const KalmanBatch& batch, const std::vector<at::Tensor>& steps);

}  // namespace pcxx::learning
