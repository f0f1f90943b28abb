#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <pcxx/linalg/products.h>
#include <pcxx/optim/decorrelation.h>

#include <limits>
#include <optional>

#include "optim/members.h"
#include "optim/parts.h"

namespace pcxx::optim {
namespace {

// X with A X = B per member; NaN where A is singular.
at::Tensor solve(const at::Tensor& a, const at::Tensor& b) {
  const auto [x, info] = at::linalg_solve_ex(a, b);
  return mark_broken(x, info.ne(0));
}

// Cut-off for singular values of a product of two factors, relative to the largest: that of NumPy
// and PyTorch for the size of the whole matrix.
double relative_cutoff(const at::Tensor& matrix, std::int64_t n) {
  const double unit = matrix.scalar_type() == at::kDouble ? std::numeric_limits<double>::epsilon()
                                                          : std::numeric_limits<float>::epsilon();
  return unit * static_cast<double>(n);
}

struct Factors {
  at::Tensor e;     // [.., B, n_l]
  at::Tensor u;     // [.., B, n], the factor that D_l ends with
  at::Tensor xhat;  // [.., B, n]
  double samples;
};

// From E^T U and C = Left^T Right of a batch that is no thinner than the layer: 1/B cancels.
at::Tensor regularised_sums(const at::Tensor& learnt, const at::Tensor& c, const at::Tensor& eps) {
  auto system = c.clone();
  add_to_diagonal_(system, eps);
  // D C^-1 = (C^-T D^T)^T
  return solve(system.mT(), learnt.mT()).mT();
}

at::Tensor pseudo_inverse_sums(const at::Tensor& learnt, const at::Tensor& c) {
  const auto cutoff = relative_cutoff(c, c.size(-1));
  return at::matmul(learnt, at::linalg_pinv(c, std::optional(0.0), std::optional(cutoff)));
}

// The same with the eps that the spectrum of C sets.
at::Tensor of_moments(const at::Tensor& learnt, const at::Tensor& c, std::int64_t samples,
                      const DecorrelationOptions& options) {
  const auto wanted =
      spectral_regulariser_of_sum(c, samples, options.regularisation, options.spectrum) *
      static_cast<double>(samples);
  return regularised_by(wanted,
                        [&](const at::Tensor& eps) { return regularised_sums(learnt, c, eps); });
}

// E^T U (Left^T Right / B + eps I)^-1 / B of a batch that is thinner than the layer. With U = Right
// this is E^T (Right Left^T / B + eps I)^-1 Right / B; otherwise Woodbury gives
// (U - U Left^T (Right Left^T + B eps I)^-1 Right) / (B eps).
at::Tensor of_thin_batch(const Factors& f, const at::Tensor& left, const at::Tensor& right,
                         const at::Tensor& eps) {
  auto gram = linalg::product(right, left.mT());
  add_to_diagonal_(gram, eps * f.samples);
  if (f.u.is_same(right)) {
    // The narrower side is solved for.
    if (f.e.size(-1) < left.size(-1)) return linalg::product(solve(gram.mT(), f.e).mT(), right);
    return linalg::product(f.e.mT(), solve(gram, right));
  }
  const auto inner = f.u - at::matmul(at::matmul(f.u, left.mT()), solve(gram, right));
  return at::matmul(f.e.mT(), inner).div_((eps * f.samples).unsqueeze(-1).unsqueeze(-1));
}

// D A with A = (Left^T Right / B + eps I)^-1, D = E^T U / B. The factor of Theorem 2 has Left =
// xhat, Right = u; printed it is the other way round.
at::Tensor regularised(const Factors& f, const at::Tensor& left, const at::Tensor& right,
                       std::int64_t samples, const DecorrelationOptions& options) {
  if (left.size(-2) >= left.size(-1)) {
    return of_moments(at::matmul(f.e.mT(), f.u), at::matmul(left.mT(), right), samples, options);
  }
  const auto wanted =
      spectral_regulariser(left, right, samples, options.regularisation, options.spectrum);
  return regularised_by(wanted,
                        [&](const at::Tensor& eps) { return of_thin_batch(f, left, right, eps); });
}

// D (Left^T Right / B)^+ : 1/B cancels.
at::Tensor pseudo_inverse(const Factors& f, const at::Tensor& left, const at::Tensor& right) {
  const auto rows = left.size(-2);
  const auto n = left.size(-1);
  if (rows < n) {
    // Left^T = Q1 R1, Right^T = Q2 R2: Left^T Right = Q1 (R1 R2^T) Q2^T, whose pseudo-inverse is
    // Q2 (R1 R2^T)^+ Q1^T, and U Q2 = R2^T where U = Right.
    const auto [q1, r1] = at::linalg_qr(left.mT());
    const bool plain = f.u.is_same(right);
    const auto [q2, r2] = at::linalg_qr(right.mT(), plain ? "r" : "reduced");
    const auto small = at::matmul(r1, r2.mT());
    const auto inverse =
        at::linalg_pinv(small, std::optional(0.0), std::optional(relative_cutoff(small, n)));
    const auto u_q2 = plain ? r2.mT() : at::matmul(f.u, q2);
    return linalg::product(linalg::product(f.e.mT(), linalg::product(u_q2, inverse)), q1.mT());
  }
  return pseudo_inverse_sums(at::matmul(f.e.mT(), f.u), at::matmul(left.mT(), right));
}

at::Tensor direction_of_sums(const learning::LayerFactors& layer,
                             const DecorrelationOptions& options) {
  const auto broken = broken_members({layer.sums[0], layer.sums[1]});
  const auto learnt = without_members(layer.sums[0], broken);
  const auto moments = without_members(layer.sums[1], broken);
  const auto c = options.as_printed ? moments.mT() : moments;
  if (options.regularisation == 0) return mark_broken(pseudo_inverse_sums(learnt, c), broken);
  return mark_broken(of_moments(learnt, c, layer.samples, options), broken);
}

at::Tensor direction(const learning::LayerFactors& layer, const DecorrelationOptions& options) {
  if (!layer.sums.empty()) return direction_of_sums(layer, options);
  // Backpropagation has u = xhat, as the same tensor: the symmetric case is then cheaper.
  const bool same = layer.presynaptic.is_same(layer.feedforward);
  const auto u = with_bias_unit(layer.presynaptic, layer);
  const auto xhat = same ? u : with_bias_unit(layer.feedforward, layer);
  const auto broken = broken_members({layer.error, u, xhat});
  const bool any_broken = may_hold(broken);
  const auto clean = [&](const at::Tensor& t) {
    return any_broken ? without_members(t, broken) : t;
  };

  Factors f{.e = clean(layer.error),
            .u = clean(u),
            .xhat = {},
            .samples = static_cast<double>(layer.samples)};
  f.xhat = same ? f.u : clean(xhat);
  const auto& left = options.as_printed ? f.u : f.xhat;
  const auto& right = options.as_printed ? f.xhat : f.u;

  const auto d = options.regularisation > 0 ? regularised(f, left, right, layer.samples, options)
                                            : pseudo_inverse(f, left, right);
  return any_broken ? mark_broken(d, broken) : d;
}

}  // namespace

std::vector<Direction> Decorrelation::directions(
    const std::vector<learning::LayerFactors>& layers) {
  const at::NoGradGuard no_grad;
  std::vector<Direction> result;
  for (const auto& layer : layers) {
    result.push_back(split_bias_unit(direction(layer, options_), layer));
  }
  return result;
}

std::vector<at::Tensor> Decorrelation::sums(const learning::LayerFactors& layer) const {
  const bool same = layer.presynaptic.is_same(layer.feedforward);
  const auto u = with_bias_unit(layer.presynaptic, layer);
  const auto xhat = same ? u : with_bias_unit(layer.feedforward, layer);
  if (layer.samples < u.size(-1)) return {};
  return {linalg::product(layer.error.mT(), u), linalg::product(xhat.mT(), u)};
}

RescalingPart decorrelation_part() {
  const auto keys =
      config::OptionKeys<DecorrelationOptions>()
          .add(&DecorrelationOptions::regularisation, regularisation_key())
          .add(&DecorrelationOptions::spectrum,
               {.name = "spectrum",
                .doc = "which spectrum sets eps in decorrelation: eigenvalues of the symmetric "
                       "part, of the lower triangle mirrored, or singular values"})
          .add(&DecorrelationOptions::as_printed,
               {.name = "as_printed",
                .doc = "decorrelation by the factor that the paper prints, the transpose of the "
                       "right one"});
  RescalingPart part;
  part.name = "decorrelation";
  part.options = keys.keys();
  part.make = [keys](const config::Config& model) {
    return std::make_unique<Decorrelation>(keys.read(model));
  };
  part.lanes = [keys](const config::Config& model, ensemble::Problem& problem) {
    const auto options = keys.read(model);
    problem.rescaling = ensemble::Rescaling::kDecorrelation;
    problem.spectrum = name_of(options.spectrum);
    problem.as_printed = options.as_printed;
  };
  return part;
}

}  // namespace pcxx::optim
