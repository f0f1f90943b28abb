#pragma once

#include <pcxx/inference/inference.h>
#include <pcxx/learning/rule.h>

#include <memory>

namespace pcxx::learning {

/// Of PredictiveCoding: what its outputs are clamped to.
struct PredictiveCodingOptions {
  /// beta: how far from its prediction to its target an output is moved; 1 clamps it to the target.
  /// Negative ones move it away. Not 0.
  double nudging = 1;
  /// Whether the update is half the sum of those of beta and -beta.
  bool centred = false;
};

/// Predictive coding (eq. 7): activities settle first, then e_l = eps*_l f_l'(W_l x*_{l-1}) and
/// presynaptic activity x*.
///
/// With an option beta the outputs are nudged instead of clamped (Pinchetti et al. 2024): they
/// settle at
///
///   y' = p + beta (y - p),   p = what yhat says in the units of targets (nn::Loss::outcome),
///   Delta(beta) = (the update of predictive coding with the targets y') / beta
///
/// and `centred` makes it (Delta(beta) + Delta(-beta)) / 2 (Scellier et al. 2023). As beta tends to
/// 0, Delta tends to Delta(0), with an error of O(beta), centred of O(beta^2): what backpropagation
/// does with presynaptic activity xhat, but of g in place of the residual r,
///
///   g = (I + H sum_{l<L} J_l J_l^T)^-1 r,   J_l = d yhat / d xhat_l,   H the loss's Hessian
///
/// which is S^-1 r for the squared error (inference/equilibrium.h): outputs are clamped, however
/// close to their prediction, so the layers share the residual. In a linear network with that loss
/// Delta(beta) = Delta(0) + beta (Delta(1) - Delta(0)), and the centred update is Delta(0) whatever
/// beta is. In float32 a small beta leaves y' - p, which is of its size, to rounding.
///
/// The factors of a centred update are the rows of both inferences, those of a sample one behind
/// the other (`LayerFactors::locations`), all scaled by sqrt(1/2): their products are both's means.
/// Its report has of each sample the mean of the energies, the sum of the steps, the smaller step
/// size and the larger of all else. It has converged if both have, and is unstable if one is.
class PredictiveCoding final : public LearningRule {
 public:
  /// Closed form for linear networks, L-BFGS with its default settings for all others.
  PredictiveCoding() = default;
  /// The same where `inference` is null. Throws c10::Error for beta = 0.
  explicit PredictiveCoding(std::shared_ptr<const inference::Inference> inference,
                            PredictiveCodingOptions options = {});

  Step factors(const nn::NetworkImpl& network, const data::Batch& batch) override;
  std::string_view name() const override { return "pc"; }

 private:
  /// With targets y' of this beta; the update is divided by it.
  Step nudged(const nn::NetworkImpl& network, const data::Batch& batch, double beta) const;

  std::shared_ptr<const inference::Inference> inference_;
  PredictiveCodingOptions options_;
};

}  // namespace pcxx::learning
