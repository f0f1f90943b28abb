#include "learning/kalman_gain.h"

#include <ATen/ATen.h>
#include <pcxx/linalg/products.h>

namespace pcxx::learning {

namespace {

// With C = diag(c), (K + 1/C - diag(s))^-1 = C^1/2 N^-1 C^1/2 for N = I + C^1/2 (K - diag(s))
// C^1/2, of which a layer that no sample reaches (c = 0) is no special case. The inverse of N's
// Cholesky factor.
at::Tensor inverse_factor(KalmanEvidence& evidence, const at::Tensor& root) {
  auto& system = evidence.gram;
  system.mul_(root).mul_(root.mT());
  // Identical samples whose noise rounds away would leave it singular.
  const double ridge = system.scalar_type() == at::kDouble ? 1e-14 : 1e-6;
  system.diagonal(0, -2, -1).fill_(1 + ridge * static_cast<double>(system.size(-1)));
  const auto factor = std::get<0>(at::linalg_cholesky_ex(system));
  const auto one = at::eye(system.size(-1), system.options()).expand_as(system);
  return at::linalg_solve_triangular(factor, one, /*upper=*/false);
}

}  // namespace

KalmanGain kalman_gain(KalmanEvidence& evidence) {
  const auto root = evidence.certainty.sqrt();
  const auto inverse = at::where(root.gt(0), root.reciprocal(), at::zeros_like(root));
  KalmanGain of_one{evidence.signal * inverse, evidence.spread * root};
  if (!evidence.gram.defined()) return of_one;
  const auto factor = inverse_factor(evidence, root);
  return {linalg::product(factor, of_one.left), linalg::product(factor, of_one.right)};
}

at::Tensor kalman_rows(KalmanEvidence& evidence) {
  const auto root = evidence.certainty.sqrt();
  auto of_one = evidence.spread * root;
  return evidence.gram.defined() ? linalg::product(inverse_factor(evidence, root), of_one) : of_one;
}

}  // namespace pcxx::learning
