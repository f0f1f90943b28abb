#pragma once

#include <limits>

/// Below what nothing is told apart in a floating type.
namespace pcxx {

/// A regulariser is at least this many times the largest eigenvalue: less is lost in the rounding
/// of the matrix it is added to. 3.8e-6 in float32, 7.1e-15 in float64.
template <typename T>
inline constexpr T kLeastRatio = 32 * std::numeric_limits<T>::epsilon();

/// A matrix with no larger eigenvalue counts as 0: kLeastRatio times it might underflow.
template <typename T>
inline constexpr T kLeastEigenvalue =
    std::numeric_limits<T>::min() / std::numeric_limits<T>::epsilon();

/// Noise of the targets is at least this fraction of the squared residual. 1e-5 in float32, 1e-14
/// in float64.
template <typename T>
inline constexpr T kLeastRho = std::numeric_limits<T>::digits < 53 ? T(1e-5) : T(1e-14);

}  // namespace pcxx
