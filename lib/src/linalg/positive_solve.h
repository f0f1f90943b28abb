#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace pcxx::linalg {

/// Width of a block of S: small enough to skip most of what symmetry makes redundant, large enough
/// for a matrix product's full speed.
constexpr std::int64_t kBlock = 64;

/// v with S v_b = r_b for every row b; r, v [B, n] or [R, B, n]. S [n, n] or [R, n, n] is symmetric
/// positive definite and read in its lower triangle only; where it cannot be factorised, v is NaN.
at::Tensor solve_positive(const at::Tensor& s, const at::Tensor& r);

}  // namespace pcxx::linalg
