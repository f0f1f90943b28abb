#pragma once

#include <pcxx/nn/feedforward.h>

#include <vector>

namespace pcxx::learning {

/// The equilibrium of predictive coding with precisions 1/s_l at the hidden layers (errors before
/// the nonlinearity) and 1/(s_L + R) at the output, linearised at the feed-forward pass:
/// S = R I + sum_l s_l J_l J_l^T, v = S^-1 r.
///
///   signals  g_l = J_l^T v, [.., B, n_l]; element l - 1
///   traces   tr(J_l^T S^-1 J_l), [.., B]; element l - 1
///   value    v, [.., B, n_L]
struct KalmanEquilibrium {
  std::vector<at::Tensor> signals;
  std::vector<at::Tensor> traces;
  at::Tensor value;
};

/// What it is made of: residual r [.., B, n_L], leverages s_l [.., B] of layers 1..L, noise R, []
/// or [R].
struct KalmanInput {
  const nn::NetworkImpl& network;
  const nn::Feedforward& pass;
  at::Tensor residual;
  std::vector<at::Tensor> leverages;
  at::Tensor noise;
};

/// g_l = J_l^T v of layers `last`..1, from the signal at the activity of layer `last`.
void pull_back(const KalmanInput& input, std::size_t last, at::Tensor signal,
               KalmanEquilibrium& result);

/// By S itself, an n_L x n_L solve a sample: for outputs that are no wider than the layer below.
KalmanEquilibrium settle_at_output(const KalmanInput& input);

/// By the covariance of the last hidden layer's activity, an n_{L-1} x n_{L-1} solve a sample
/// (Woodbury): for wider outputs. Needs an output layer that is not residual. Where the output is
/// not linear, the trace of the last layer is an estimate: the weights f_L'^2 / (R + s_L f_L'^2)
/// that it holds a second time are replaced by their mean.
KalmanEquilibrium settle_below_output(const KalmanInput& input);

/// The cheaper one that applies.
KalmanEquilibrium settle(const KalmanInput& input);

}  // namespace pcxx::learning
