#include <ATen/ATen.h>
#include <pcxx/nn/loss.h>

#include <numeric>

#include "nn/loss_parts.h"

namespace pcxx::nn {
namespace {

template <typename T>
double sum_of_squares(const T* x, std::int64_t n) {
  constexpr std::int64_t kLanes = 8;  // at a time, which the compiler keeps in vectors
  double sums[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) sums[lane] += x[i + lane] * x[i + lane];
  }
  for (std::int64_t lane = 0; i < n; ++i, ++lane) sums[lane] += x[i] * x[i];
  return std::accumulate(sums, sums + kLanes, 0.0);
}

// Over the last two dimensions, [] or [R], in float64.
at::Tensor sum_of_squares(const at::Tensor& x) {
  const bool loops = x.is_cpu() && x.is_contiguous() &&
                     (x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble);
  if (!loops) return x.square().sum({-2, -1}, /*keepdim=*/false, at::kDouble);
  auto sums = at::empty(x.sizes().slice(0, x.dim() - 2), x.options().dtype(at::kDouble));
  const auto n = x.size(-2) * x.size(-1);
  for (std::int64_t r = 0; r < sums.numel(); ++r) {
    sums.mutable_data_ptr<double>()[r] =
        x.scalar_type() == at::kFloat ? sum_of_squares(x.const_data_ptr<float>() + r * n, n)
                                      : sum_of_squares(x.const_data_ptr<double>() + r * n, n);
  }
  return sums;
}

}  // namespace

at::Tensor Loss::sum_of_errors(const at::Tensor& prediction, const at::Tensor& target) const {
  return errors(prediction, target).sum({-2, -1}, /*keepdim=*/false, at::kDouble);
}

at::Tensor SquaredError::value(const at::Tensor& prediction, const at::Tensor& target) const {
  return residual(prediction, target).square().sum(-1).mul_(0.5);
}

at::Tensor SquaredError::residual(const at::Tensor& prediction, const at::Tensor& target) const {
  return target - prediction;
}

at::Tensor SquaredError::errors(const at::Tensor& prediction, const at::Tensor& target) const {
  return residual(prediction, target).square();
}

at::Tensor SquaredError::sum_of_errors(const at::Tensor& prediction,
                                       const at::Tensor& target) const {
  return sum_of_squares(residual(prediction, target));
}

std::shared_ptr<const Loss> squared_error() {
  static const auto loss = std::make_shared<const SquaredError>();
  return loss;
}

LossPart squared_error_part() {
  LossPart part;
  part.name = "squared_error";
  part.make = [](const config::Config&) { return squared_error(); };
  return part;
}

}  // namespace pcxx::nn
