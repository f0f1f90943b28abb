#include <ATen/ATen.h>
#include <pcxx/core/precision.h>
#include <pcxx/optim/regularisation.h>

#include <limits>

#include "optim/members.h"
#include "optim/parts.h"

namespace pcxx::optim {
namespace {

struct Extremes {
  at::Tensor smallest;
  at::Tensor largest;
};

Extremes with_zero(const Extremes& e) {
  return {e.smallest.clamp_max(0), e.largest.clamp_min(0)};
}

Extremes of_symmetric(const at::Tensor& matrix) {
  const auto values = at::linalg_eigvalsh(matrix);  // ascending
  return {values.select(-1, 0), values.select(-1, -1)};
}

// Of C itself, [.., n, n].
Extremes extremes_of(const at::Tensor& c, Spectrum spectrum) {
  switch (spectrum) {
    case Spectrum::kSymmetric:
      return of_symmetric((c + c.mT()).mul_(0.5));
    case Spectrum::kLower:
      return of_symmetric(at::tril(c) + at::tril(c, -1).mT());
    case Spectrum::kSingular: {
      const auto sigma = at::linalg_svdvals(c);
      return {sigma.select(-1, -1), sigma.select(-1, 0)};
    }
  }
  TORCH_CHECK(false, "unknown spectrum ", static_cast<int>(spectrum));
}

// Eigenvalues of 1/2 (left^T right + right^T left) = Z^T J Z with Z = [left; right] (2B rows) and
// J = 1/2 [0 I; I 0]: with the thin QR Z^T = Q T they are those of T J T^T, and 0 where 2B < n.
Extremes thin_symmetric_part(const at::Tensor& left, const at::Tensor& right) {
  const auto rows = left.size(-2);
  const auto t = std::get<1>(at::linalg_qr(at::cat({left, right}, -2).mT(), "r"));
  const auto first = t.slice(-1, 0, rows);
  const auto second = t.slice(-1, rows, 2 * rows);
  const auto half = at::matmul(first, second.mT());
  const auto extremes = of_symmetric((half + half.mT()).mul_(0.5));
  // rank <= B + B, and one of the two signs is missing only if 0 takes its place.
  return with_zero(extremes);
}

Extremes symmetric_part(const at::Tensor& left, const at::Tensor& right) {
  const auto n = left.size(-1);
  if (left.is_same(right)) {
    if (left.size(-2) >= n) return of_symmetric(at::matmul(left.mT(), left));
    return with_zero(of_symmetric(at::matmul(left, left.mT())));
  }
  if (2 * left.size(-2) < n) return thin_symmetric_part(left, right);
  return extremes_of(at::matmul(left.mT(), right), Spectrum::kSymmetric);
}

Extremes singular(const at::Tensor& left, const at::Tensor& right) {
  if (left.size(-2) < left.size(-1)) {
    const auto r1 = std::get<1>(at::linalg_qr(left.mT(), "r"));
    const auto r2 = std::get<1>(at::linalg_qr(right.mT(), "r"));
    const auto sigma = at::linalg_svdvals(at::matmul(r1, r2.mT()));
    return {at::zeros_like(sigma.select(-1, 0)), sigma.select(-1, 0)};
  }
  return extremes_of(at::matmul(left.mT(), right), Spectrum::kSingular);
}

Extremes extremes(const at::Tensor& left, const at::Tensor& right, Spectrum spectrum) {
  switch (spectrum) {
    case Spectrum::kSymmetric:
      return symmetric_part(left, right);
    case Spectrum::kLower:
      return extremes_of(at::matmul(left.mT(), right), Spectrum::kLower);
    case Spectrum::kSingular:
      return singular(left, right);
  }
  TORCH_CHECK(false, "unknown spectrum ", static_cast<int>(spectrum));
}

at::Tensor regulariser(const Extremes& found, std::int64_t samples, double a) {
  const bool wide = found.largest.scalar_type() == at::kDouble;
  const double least = wide ? kLeastRatio<double> : kLeastRatio<float>;
  const double zero = wide ? kLeastEigenvalue<double> : kLeastEigenvalue<float>;
  const auto size = at::maximum(found.largest.abs(), found.smallest.abs());
  return (std::max(a, least) * found.largest - found.smallest)
      .clamp_min_(0)
      .masked_fill_(size.le(zero), std::numeric_limits<double>::infinity())
      .div_(static_cast<double>(samples));
}

}  // namespace

at::Tensor spectral_regulariser(const at::Tensor& left, const at::Tensor& right,
                                std::int64_t samples, double a, Spectrum spectrum) {
  TORCH_CHECK(a >= 0, "a regularisation cannot be negative: ", a);
  const at::NoGradGuard no_grad;
  const auto broken = broken_members({left, right});
  const auto safe_left = without_members(left, broken);
  const auto safe_right = left.is_same(right) ? safe_left : without_members(right, broken);
  return mark_broken(regulariser(extremes(safe_left, safe_right, spectrum), samples, a), broken);
}

at::Tensor spectral_regulariser_of_sum(const at::Tensor& sum, std::int64_t samples, double a,
                                       Spectrum spectrum) {
  TORCH_CHECK(a >= 0, "a regularisation cannot be negative: ", a);
  const at::NoGradGuard no_grad;
  const auto broken = broken_members({sum});
  return mark_broken(regulariser(extremes_of(without_members(sum, broken), spectrum), samples, a),
                     broken);
}

config::Key regularisation_key() {
  return {.name = "regularisation",
          .doc =
              "a of eps = max(0, a lambda_max - lambda_min) in decorrelation and projection, at "
              "least what dtype resolves (4e-6, or 7e-15 in float64); 0 takes the pseudo-inverse",
          .minimum = 0};
}

}  // namespace pcxx::optim
