#pragma once

#include <pcxx/optim/rescaling.h>

namespace pcxx::optim {

/// Of Projection.
struct ProjectionOptions {
  /// a of the spectral regulariser; 0 takes the exact least-squares solution.
  double regularisation = 0;
};

/// `projection` (not in the paper): D_l = E_l Xhat_{l-1}^+, the least-squares solution, or
/// regularised
///
///   (1/B) E_l^T Xhat (E_B[xhat xhat^T] + eps I)^-1,   eps = max(0, a lambda_max - lambda_min).
///
/// The matrix is symmetric positive definite (Cholesky); B x B when B < n_{l-1}. Without a
/// bottleneck the change of the predictions with predictive coding is R X^+ X, the least-squares
/// best that a change of a linear map can give, for any targets and any B. The unregularised form
/// works on Xhat itself (SVD), never on normal equations.
class Projection final : public Rescaling {
 public:
  explicit Projection(ProjectionOptions options = {}) : options_(options) {}

  std::vector<Direction> directions(const std::vector<learning::LayerFactors>& layers) override;
  /// E^T Xhat and Xhat^T Xhat, unless the batch is thinner than the layer or nothing is
  /// regularised.
  std::vector<at::Tensor> sums(const learning::LayerFactors& layer) const override;
  std::string_view name() const override { return "projection"; }

 private:
  ProjectionOptions options_;
};

}  // namespace pcxx::optim
