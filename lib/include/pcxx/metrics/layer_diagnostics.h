#pragma once

#include <pcxx/learning/factors.h>

#include <vector>

namespace pcxx::metrics {

/// State of one layer's update, [] or [R] each, float64. With u = x* (predictive coding) or xhat
/// (backpropagation), all of layer l - 1, a bias counting as one more unit fixed at 1 in
/// `alignment` and in the products K, and B the number of rows:
///
///   alignment         c_l = mean_b(u_b . xhat_b) (eq. 24)
///   feedforward_norm  mean_b ||xhat_b||: activity before inference
///   presynaptic_norm  mean_b ||u_b||: activity after inference
///   condition_number  sigma_max / sigma_min of W_l; NaN when W_l is not finite or zero
///   interference      ||K_l - c_l I||_F / ||K_l||_F in [0, 1], where K_l = U^T Xhat [B, B] is the
///                     factor that multiplies R or S^-1 R from the right in eq. 43 and 45. Only a
///                     multiple of I leaves the directions of the residuals alone (eq. 47): 0 means
///                     none, and at B = 1 or K_l = 0 it is 0 always
///   cross_sample      the part of it between samples: ||K_l without its diagonal||_F / ||K_l||_F
struct LayerDiagnostics {
  at::Tensor alignment;
  at::Tensor feedforward_norm;
  at::Tensor presynaptic_norm;
  at::Tensor condition_number;
  at::Tensor interference;
  at::Tensor cross_sample;
};

/// Of layers 1..L (element l - 1), from the factors of one batch (not a compressed one). Computes a
/// singular value decomposition and a B x B product per layer: to be asked for, not for every step.
std::vector<LayerDiagnostics> diagnose(const std::vector<learning::LayerFactors>& layers);

}  // namespace pcxx::metrics
