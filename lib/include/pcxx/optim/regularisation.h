#pragma once

#include <ATen/core/Tensor.h>
#include <pcxx/core/names.h>

namespace pcxx::optim {

/// Which spectrum sets the regulariser when the matrix is not symmetric (the paper does not say).
enum class Spectrum {
  kSymmetric,  ///< eigenvalues of the symmetric part (default)
  kLower,      ///< of the lower triangle mirrored, as a call of eigvalsh reads it
  kSingular,   ///< singular values
};

/// eps = max(0, a lambda_max - lambda_min) (section 3.3) for C = (1/samples) left^T right, with
/// left, right [B, n] or [R, B, n]; returns [] or [R]. When B < n, 0 belongs to the spectrum; for
/// the symmetric and singular readings only 2B x 2B and B x B problems are solved. Where a is less
/// than the dtype can resolve, kLeastRatio (core/precision.h) takes its place. A member whose
/// spectrum is 0, such as a layer without an active input, gets infinity, which leaves a direction
/// of 0, as the pseudo-inverse does. A member with non-finite factors gets NaN.
at::Tensor spectral_regulariser(const at::Tensor& left, const at::Tensor& right,
                                std::int64_t samples, double a, Spectrum spectrum);

/// The same from left^T right itself, [n, n] or [R, n, n], of a batch with samples >= n.
at::Tensor spectral_regulariser_of_sum(const at::Tensor& sum, std::int64_t samples, double a,
                                       Spectrum spectrum);

}  // namespace pcxx::optim

template <>
inline constexpr auto pcxx::kNames<pcxx::optim::Spectrum> =
    std::to_array<pcxx::Named<pcxx::optim::Spectrum>>(
        {{pcxx::optim::Spectrum::kSymmetric, "symmetric"},
         {pcxx::optim::Spectrum::kLower, "lower"},
         {pcxx::optim::Spectrum::kSingular, "singular"}});
