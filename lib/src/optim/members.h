#pragma once

#include <ATen/ATen.h>

#include <limits>

/// Ensemble members whose numbers have become non-finite. Eigenvalue and singular value solvers
/// throw on them, and one diverged member must not end the others: such members are set to zero
/// before a factorisation and to NaN after it.
namespace pcxx::optim {

/// [] or [R]: true where any factor holds a non-finite number.
inline at::Tensor broken_members(std::initializer_list<at::Tensor> factors) {
  at::Tensor broken;
  for (const auto& factor : factors) {
    // Factors are multiplied with each other: where their squares overflow, the products would too.
    const auto here = factor.square().sum({-2, -1}).isfinite().logical_not();
    broken = broken.defined() ? broken.logical_or(here) : here;
  }
  return broken;
}

inline at::Tensor without_members(const at::Tensor& factor, const at::Tensor& broken) {
  return factor.masked_fill(broken.unsqueeze(-1).unsqueeze(-1), 0);
}

/// value [..] or [.., m, n] with NaN for the broken members.
inline at::Tensor mark_broken(const at::Tensor& value, at::Tensor broken) {
  while (broken.dim() < value.dim()) broken = broken.unsqueeze(-1);
  return value.masked_fill(broken, std::numeric_limits<double>::quiet_NaN());
}

inline void add_to_diagonal_(at::Tensor& matrix, const at::Tensor& value) {
  matrix.diagonal(0, -2, -1).add_(value.unsqueeze(-1));
}

/// Whether a mask is true anywhere. On a device it may be, as far as the host knows: to ask is to
/// wait for it, which costs more than work on members that need none.
inline bool may_hold(const at::Tensor& mask) {
  return !mask.is_cpu() || mask.any().item<bool>();
}

/// solve(eps), a direction D (C + eps I)^-1 of each member, and its limit 0 where eps is infinite.
template <typename Solve>
at::Tensor regularised_by(const at::Tensor& eps, const Solve& solve) {
  const auto none = eps.isinf();
  if (!may_hold(none)) return solve(eps);
  return without_members(solve(eps.masked_fill(none, 1)), none);
}

}  // namespace pcxx::optim
