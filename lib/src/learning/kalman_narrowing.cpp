#include "learning/kalman_narrowing.h"

#include <ATen/ATen.h>

namespace pcxx::learning {

namespace {

constexpr double kSharpness = 8;
constexpr double kTiny = 1e-30;  // in place of 0, by which nothing infinite may be multiplied

}  // namespace

Constancy constancy_of(const std::vector<at::Tensor>& slopes, const at::Tensor& noise) {
  auto product = at::ones_like(noise);
  for (const auto& slope : slopes) {
    const auto n = slope.size(-1) - 1;
    const auto mean = slope.select(-1, n);
    const auto of_mean = at::linalg_vector_norm(slope.narrow(-1, 0, n), 2, {-1}).square_();
    product.mul_(at::where(mean.eq(0), 1, of_mean / mean));  // a dead layer has no slopes
  }
  const auto o = product.pow(kSharpness).unsqueeze_(-1).unsqueeze_(-1);
  return {1 - o, noise.clamp_min(kTiny).unsqueeze_(-1).unsqueeze_(-1).pow(o)};
}

// As the gain's own, as if c were 1 / (N^(1 - o) R^o + s).
at::Tensor rows_by_constancy(const KalmanEvidence& evidence, double share,
                             const Constancy& constancy) {
  auto total = evidence.certainty.reciprocal().sub_(evidence.leverage).clamp_min_(0);
  total.pow_(constancy.rest).mul_(constancy.noise).add_(evidence.leverage).clamp_min_(kTiny);
  auto as_if = evidence;
  as_if.certainty = total.reciprocal_();
  if (evidence.gram.defined()) as_if.gram = evidence.gram.clone();
  return kalman_rows(as_if).mul_(at::pow(share, constancy.rest * 0.5));
}

}  // namespace pcxx::learning
