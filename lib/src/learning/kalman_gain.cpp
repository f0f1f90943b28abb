#include "learning/kalman_gain.h"

#include <ATen/ATen.h>
#include <pcxx/nn/products.h>

namespace pcxx::learning {

namespace {

KalmanGain gain_of_one(const KalmanEvidence& evidence) {
  const auto root = evidence.certainty.sqrt();
  const auto inverse = at::where(root.gt(0), root.reciprocal(), at::zeros_like(root));
  return {evidence.signal * inverse, evidence.spread * root};
}

// With C = diag(c), (K + 1/C - diag(s))^-1 = C^1/2 N^-1 C^1/2 for N = I + C^1/2 (K - diag(s))
// C^1/2, of which a layer that no sample reaches (c = 0) is no special case.
KalmanGain gain_of_batch(KalmanEvidence& evidence) {
  const auto gain = gain_of_one(evidence);
  const auto root = evidence.certainty.sqrt();
  auto& system = evidence.gram;
  system.mul_(root).mul_(root.mT());
  // Identical samples whose noise rounds away would leave it singular.
  const double ridge = system.scalar_type() == at::kDouble ? 1e-14 : 1e-6;
  system.diagonal(0, -2, -1).fill_(1 + ridge * static_cast<double>(system.size(-1)));
  const auto factor = std::get<0>(at::linalg_cholesky_ex(system));
  const auto one = at::eye(system.size(-1), system.options()).expand_as(system);
  const auto inverse = at::linalg_solve_triangular(factor, one, /*upper=*/false);
  return {nn::product(inverse, gain.left), nn::product(inverse, gain.right)};
}

}  // namespace

KalmanGain kalman_gain(KalmanEvidence& evidence) {
  return evidence.gram.defined() ? gain_of_batch(evidence) : gain_of_one(evidence);
}

}  // namespace pcxx::learning
