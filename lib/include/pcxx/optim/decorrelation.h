#pragma once

#include <pcxx/optim/regularisation.h>
#include <pcxx/optim/rescaling.h>

namespace pcxx::optim {

/// Of Decorrelation.
struct DecorrelationOptions {
  /// a of the spectral regulariser eps = max(0, a lambda_max - lambda_min); 0 takes the
  /// Moore-Penrose pseudo-inverse instead, for which the theorem is exact.
  double regularisation = 0;
  Spectrum spectrum = Spectrum::kSymmetric;
  /// The factor as the paper prints it, (E[u xhat^T])^-1, for the record: Theorem 2 holds for its
  /// transpose only.
  bool as_printed = false;
};

/// `decorrelation` (Theorem 2, eq. 26-28, transposed): D_l A_l with
///
///   A_l = (E_B[xhat_{l-1} u_{l-1}^T] + eps I)^-1, or the pseudo-inverse of E_B[xhat u^T].
///
/// With predictive coding and the pseudo-inverse the first-order change of every prediction is its
/// residual when B <= n_0..n_{L-1}, or for any B when y = W_data x and no hidden layer is narrower
/// than the input. When B < n_{l-1} only B x B systems are solved:
///   E^T (U Xhat^T / B + eps I)^-1 U / B for eps > 0, thin QR for the pseudo-inverse.
class Decorrelation final : public Rescaling {
 public:
  explicit Decorrelation(DecorrelationOptions options = {}) : options_(options) {}

  std::vector<Direction> directions(const std::vector<learning::LayerFactors>& layers) override;
  /// E^T U and Xhat^T U, unless the batch is thinner than the layer.
  std::vector<at::Tensor> sums(const learning::LayerFactors& layer) const override;
  std::string_view name() const override { return "decorrelation"; }

 private:
  DecorrelationOptions options_;
};

}  // namespace pcxx::optim
