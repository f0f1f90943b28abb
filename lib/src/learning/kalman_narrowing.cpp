#include "learning/kalman_narrowing.h"

#include <ATen/ATen.h>

namespace pcxx::learning {

namespace {

constexpr double kSharpness = 8;

}  // namespace

Constancy constancy_of(const std::vector<at::Tensor>& slopes, const at::Tensor& noise) {
  at::Tensor product;
  for (const auto& slope : slopes) {
    if (!slope.defined()) continue;
    const auto n = slope.size(-1) - 1;
    const auto mean = slope.select(-1, n);
    const auto of_mean = at::linalg_vector_norm(slope.narrow(-1, 0, n), 2, {-1}).square_();
    const auto found = at::where(mean.eq(0), 1, of_mean / mean);  // a dead layer has no slopes
    product = product.defined() ? product.mul_(found) : found;
  }
  if (!product.defined()) product = at::ones_like(noise);
  const auto o = product.pow(kSharpness).unsqueeze_(-1).unsqueeze_(-1);
  return {1 - o, noise.unsqueeze(-1).unsqueeze(-1).pow(o)};
}

// The gain's own way, as if c were 1 / (N^(1 - o) R^o + s).
at::Tensor rows_by_constancy(const KalmanEvidence& evidence, double share,
                             const Constancy& constancy) {
  auto total = evidence.certainty.reciprocal().sub_(evidence.leverage).clamp_min_(0);
  total.pow_(constancy.rest).mul_(constancy.noise).add_(evidence.leverage).clamp_min_(1e-30);
  auto scale = at::pow(share, constancy.rest * 0.5);
  if (!evidence.gram.defined()) return evidence.spread * total.rsqrt_().mul_(scale);
  auto as_if = evidence;
  as_if.certainty = total.reciprocal_();
  as_if.gram = evidence.gram.clone();
  return kalman_gain(as_if).right.mul_(scale);
}

}  // namespace pcxx::learning
