#pragma once

#include <pcxx/learning/peers.h>
#include <pcxx/nn/feedforward.h>

#include <cstdint>
#include <vector>

/// Kalman predictive coding in networks of any layers, and by any loss whose curvature has a bound
/// (nn/loss.h): J_l by one way back for each output, where Dense layers and the squared error have
/// shorter ways (learning/kalman_equilibrium.h).
namespace pcxx::learning {

/// A layer with a weight [n_l, n]; n counts the bias unit. A convolution has a row of units for
/// each of its P locations, and n_l is its channels. P is 1 in other layers.
///
///   l         its number
///   outputs   n_l
///   units     Xhat, [.., B, P, n]
///   jacobian  J_l: of every output of the network by every one of the layer's, before the
///             nonlinearity; [.., B, n_L, P, n_l]
struct KalmanLayer {
  std::size_t l = 0;
  std::int64_t outputs = 0;
  at::Tensor units;
  at::Tensor jacobian;
};

/// The number of a weight's rows, n_l.
std::int64_t rows_of(const at::Tensor& weight);

/// m_l / n_l of the layers with a weight, in their order: m_l = min(n_l, widths of layers l + 1..L).
std::vector<double> rank_shares(const nn::NetworkImpl& network);

/// Of the layers with a weight, in their order. Throws c10::Error for one of several.
std::vector<KalmanLayer> kalman_layers(const nn::NetworkImpl& network, const nn::Feedforward& pass);

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

KalmanLesson learn(const KalmanBatch& batch, std::vector<at::Tensor>& covariances);

/// Step [n_l, n] of a layer as directions of its parameters.
std::vector<at::Tensor> directions_of(const nn::Layer& layer, const at::Tensor& step);

/// Change of the predictions by the steps themselves, [.., b, n_L].
at::Tensor actual_change(const KalmanBatch& batch, const std::vector<at::Tensor>& steps);

}  // namespace pcxx::learning
