#pragma once

#include <pcxx/metrics/target_alignment.h>

namespace pcxx::metrics {

/// The learning rule whose update is predicted.
enum class PredictedRule { kBackpropagation, kPredictiveCoding };

/// Of which update the alignment is predicted.
struct PredictionOptions {
  PredictedRule rule = PredictedRule::kPredictiveCoding;
  /// Each layer's update divided by c_l = mean_b(u_{l-1,b} . xhat_{l-1,b}) (Theorem 1, eq. 24-25);
  /// a layer with c_l = 0 does not move.
  bool alpha = false;
  /// With alpha: c_l = mean_b(u_{l-1,b} . u_{l-1,b}) instead, the variant of appendix I.
  bool presynaptic_denominator = false;
  /// With alpha: c_l is replaced by max(c_l, floor * c_1).
  std::optional<double> floor = std::nullopt;
};

/// What theory says of an update before it is made.
///
///   layers     contribution of W_l (and b_l) to the change of the predictions, l = 1..L (element
///              l - 1), each [B, n_L] or [R, B, n_L]
///   change     their sum
///   shares     r_b . layers[l]_b / (||r_b|| ||change_b||), [L, B] or [L, R, B]: what each layer
///              adds to a sample's alignment; they add up to alignment.per_sample, NaN as there
///   alignment  target alignment of the sum
struct PredictedAlignment {
  std::vector<at::Tensor> layers;
  at::Tensor change;
  at::Tensor shares;
  TargetAlignment alignment;
};

/// Closed-form prediction for linear networks (eq. 6, 8, 43, 45; residual networks eq. 54, 66), at
/// one sample or a batch with its cross-sample terms:
///
///   BP   Y' = (1/B) sum_l P_l P_l^T R      (Xhat_{l-1}^T Xhat_{l-1})
///   PC   Y' = (1/B) sum_l P_l P_l^T S^-1 R (X*_{l-1}^T Xhat_{l-1}),     S = sum_l P_l P_l^T,
///   x*_l = xhat_l + T_l P_l^T S^-1 r,   T_l = I + M_l T_{l-1} M_l^T, T_0 = 0   (eq. 33)
///
/// with columns as samples, P_l = M_L ... M_{l+1}, and M_l = W_l or I + W_l. A bias adds 1 to the
/// products of activities. Nothing of a learning rule or an inference is used, so that measurement
/// and prediction can be compared. Forms all P_l: O(L n^3). A member whose S cannot be factorised
/// has non-finite predictions. Throws c10::Error for a network that is not linear.
PredictedAlignment predict_alignment(const nn::NetworkImpl& network, const data::Batch& batch,
                                     const PredictionOptions& options = {});

}  // namespace pcxx::metrics
