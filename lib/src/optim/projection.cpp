#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <pcxx/linalg/products.h>
#include <pcxx/optim/projection.h>
#include <pcxx/optim/regularisation.h>

#include <limits>
#include <optional>

#include "optim/members.h"
#include "optim/parts.h"

namespace pcxx::optim {
namespace {

// X with A X = B per member for a symmetric positive definite A; NaN where A is not.
at::Tensor solve_positive(const at::Tensor& a, const at::Tensor& b) {
  const auto [factor, info] = at::linalg_cholesky_ex(a);
  return mark_broken(at::cholesky_solve(b, factor), info.ne(0));
}

// The same from E^T Xhat and Xhat^T Xhat.
at::Tensor of_moments(const at::Tensor& learnt, const at::Tensor& moments, std::int64_t samples,
                      double a) {
  const auto wanted = spectral_regulariser_of_sum(moments, samples, a, Spectrum::kSymmetric) *
                      static_cast<double>(samples);
  return regularised_by(wanted, [&](const at::Tensor& eps) {
    auto system = moments.clone();
    add_to_diagonal_(system, eps);
    return solve_positive(system, learnt.mT()).mT();
  });
}

// (1/B) E^T Xhat (Xhat^T Xhat / B + eps I)^-1
at::Tensor regularised(const at::Tensor& e, const at::Tensor& xhat, std::int64_t samples,
                       double a) {
  if (xhat.size(-2) >= xhat.size(-1)) {
    return of_moments(at::matmul(e.mT(), xhat), at::matmul(xhat.mT(), xhat), samples, a);
  }
  const auto wanted = spectral_regulariser(xhat, xhat, samples, a, Spectrum::kSymmetric) *
                      static_cast<double>(samples);
  return regularised_by(wanted, [&](const at::Tensor& eps) {
    auto gram = linalg::product(xhat, xhat.mT());
    add_to_diagonal_(gram, eps);
    // The narrower side is solved for.
    if (e.size(-1) < xhat.size(-1)) return linalg::product(solve_positive(gram, e).mT(), xhat);
    return linalg::product(e.mT(), solve_positive(gram, xhat));
  });
}

// E^T (Xhat^T)^+ through the singular value decomposition of Xhat.
at::Tensor exact(const at::Tensor& e, const at::Tensor& xhat) {
  const double unit = xhat.scalar_type() == at::kDouble ? std::numeric_limits<double>::epsilon()
                                                        : std::numeric_limits<float>::epsilon();
  const double cutoff = unit * static_cast<double>(std::max(xhat.size(-1), xhat.size(-2)));
  return at::matmul(at::linalg_pinv(xhat, std::optional(0.0), std::optional(cutoff)), e).mT();
}

at::Tensor direction_of_sums(const learning::LayerFactors& layer, double regularisation) {
  const auto broken = broken_members({layer.sums[0], layer.sums[1]});
  const auto learnt = without_members(layer.sums[0], broken);
  const auto moments = without_members(layer.sums[1], broken);
  return mark_broken(of_moments(learnt, moments, layer.samples, regularisation), broken);
}

at::Tensor direction(const learning::LayerFactors& layer, double regularisation) {
  if (!layer.sums.empty()) return direction_of_sums(layer, regularisation);
  auto xhat = with_bias_unit(layer.feedforward, layer);
  auto e = layer.error;
  const auto broken = broken_members({e, xhat});
  const bool any_broken = may_hold(broken);
  if (any_broken) {
    xhat = without_members(xhat, broken);
    e = without_members(e, broken);
  }
  const auto d =
      regularisation > 0 ? regularised(e, xhat, layer.samples, regularisation) : exact(e, xhat);
  return any_broken ? mark_broken(d, broken) : d;
}

}  // namespace

std::vector<Direction> Projection::directions(const std::vector<learning::LayerFactors>& layers) {
  const at::NoGradGuard no_grad;
  std::vector<Direction> result;
  for (const auto& layer : layers) {
    result.push_back(split_bias_unit(direction(layer, options_.regularisation), layer));
  }
  return result;
}

std::vector<at::Tensor> Projection::sums(const learning::LayerFactors& layer) const {
  const auto xhat = with_bias_unit(layer.feedforward, layer);
  if (options_.regularisation == 0 || layer.samples < xhat.size(-1)) return {};
  return {linalg::product(layer.error.mT(), xhat), linalg::product(xhat.mT(), xhat)};
}

RescalingPart projection_part() {
  const auto keys = config::OptionKeys<ProjectionOptions>().add(&ProjectionOptions::regularisation,
                                                                regularisation_key());
  RescalingPart part;
  part.name = "projection";
  part.options = keys.keys();
  part.make = [keys](const config::Config& model) {
    return std::make_unique<Projection>(keys.read(model));
  };
  part.lanes = [](const config::Config&, ensemble::Problem& problem) {
    problem.rescaling = ensemble::Rescaling::kProjection;
  };
  return part;
}

}  // namespace pcxx::optim
