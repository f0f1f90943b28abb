#include "linalg/posterior.h"

#include <ATen/ATen.h>
#include <pcxx/core/precision.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "linalg/gemm.h"

// The SIMD part is compiled once per instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "linalg/posterior.cpp"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace pcxx::linalg::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Rows of n numbers and some more, `width` in all, a multiple of the vector's length.
template <typename T>
int64_t padded(int64_t n) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(hn::ScalableTag<T>()));
  return (n + lanes - 1) / lanes * lanes;
}

// x_i -= sum_{k < i} u[k, column] x_k, from the vector that holds column `first` on.
template <typename T>
void subtract_rows(const T* u, int64_t column, T* x, int64_t i, int64_t width, int64_t first) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  T* row = x + i * width;
  int64_t j = first / lanes * lanes;
  for (; j + 4 * lanes <= width; j += 4 * lanes) {  // sums stay in registers
    auto s0 = hn::LoadU(d, row + j), s1 = hn::LoadU(d, row + j + lanes),
         s2 = hn::LoadU(d, row + j + 2 * lanes), s3 = hn::LoadU(d, row + j + 3 * lanes);
    for (int64_t k = 0; k < i; ++k) {
      const auto factor = hn::Set(d, u[k * width + column]);
      const T* from = x + k * width + j;
      s0 = hn::NegMulAdd(factor, hn::LoadU(d, from), s0);
      s1 = hn::NegMulAdd(factor, hn::LoadU(d, from + lanes), s1);
      s2 = hn::NegMulAdd(factor, hn::LoadU(d, from + 2 * lanes), s2);
      s3 = hn::NegMulAdd(factor, hn::LoadU(d, from + 3 * lanes), s3);
    }
    hn::StoreU(s0, d, row + j);
    hn::StoreU(s1, d, row + j + lanes);
    hn::StoreU(s2, d, row + j + 2 * lanes);
    hn::StoreU(s3, d, row + j + 3 * lanes);
  }
  for (; j < width; j += lanes) {
    auto sum = hn::LoadU(d, row + j);
    for (int64_t k = 0; k < i; ++k) {
      sum = hn::NegMulAdd(hn::Set(d, u[k * width + column]), hn::LoadU(d, x + k * width + j), sum);
    }
    hn::StoreU(sum, d, row + j);
  }
}

// The place of the largest number, or of one that is none.
template <typename T>
int64_t largest(const std::vector<T>& numbers) {
  size_t found = 0;
  for (size_t j = 1; j < numbers.size(); ++j) {
    if (numbers[j] > numbers[found] || std::isnan(numbers[j])) found = j;
  }
  return static_cast<int64_t>(found);
}

// u [n, width] with U^T U = I, and U x in column n where h = I x: a Cholesky factor whose rows come
// in the order of what is left of the diagonal. So a singular I is no worse than others: rows are
// zeros once rounding has left no information.
template <typename T>
void factorise_information(const T* information, const T* h, T* u, int64_t n, int64_t width) {
  thread_local std::vector<T> left;  // of the diagonal
  left.resize(static_cast<size_t>(n));
  for (int64_t j = 0; j < n; ++j) left[static_cast<size_t>(j)] = information[j * n + j];
  const T least = std::numeric_limits<T>::epsilon() * static_cast<T>(n) *
                  left[static_cast<size_t>(largest(left))];
  for (int64_t i = 0; i < n; ++i) {
    const auto next = largest(left);
    if (left[static_cast<size_t>(next)] <= least) return;
    T* row = u + i * width;
    std::copy_n(information + next * n, n, row);
    row[n] = h[next];
    subtract_rows(u, next, u, i, width, 0);
    const T scale = T{1} / std::sqrt(left[static_cast<size_t>(next)]);
    for (int64_t j = 0; j <= n; ++j) row[j] *= scale;
    for (int64_t j = 0; j < n; ++j) left[static_cast<size_t>(j)] -= row[j] * row[j];
    left[static_cast<size_t>(next)] = T{0};
  }
}

// m [n, width] <- its Cholesky factor U, U^T U = m, for a definite m; zeros below.
template <typename T>
void factorise(T* m, int64_t n, int64_t width) {
  for (int64_t i = 0; i < n; ++i) {
    T* row = m + i * width;
    subtract_rows(m, i, m, i, width, i);
    const T scale = T{1} / std::sqrt(row[i]);
    std::fill(row, row + i, T{0});
    for (int64_t j = i; j < width; ++j) row[j] *= scale;
  }
}

// x [n, width] <- U^-T x.
template <typename T>
void solve_triangle(const T* u, T* x, int64_t n, int64_t width) {
  for (int64_t i = 0; i < n; ++i) {
    subtract_rows(u, i, x, i, width, 0);
    const T scale = T{1} / u[i * width + i];
    for (int64_t j = 0; j < width; ++j) x[i * width + j] *= scale;
  }
}

// One sample: information and gamma [n, n], h [n], out [n, n + 1].
template <typename T>
void posterior(const T* information, const T* gamma, const T* h, int64_t n, T* out) {
  const auto width = padded<T>(n + 1);
  thread_local std::vector<T> known, product, system;
  for (auto* buffer : {&known, &product, &system}) {
    buffer->assign(static_cast<size_t>(n * width), T{0});
  }
  factorise_information(information, h, known.data(), n, width);
  gemm::run(gemm::Product<T>{
      n, n, n, 1, {known.data(), width, 1}, {gamma, n, 1}, 0, {product.data(), width, 1}});
  gemm::run_symmetric(gemm::Product<T>{n,
                                       n,
                                       n,
                                       1,
                                       {product.data(), width, 1},
                                       {known.data(), 1, width},
                                       0,
                                       {system.data(), width, 1}});
  T trace{0};
  for (int64_t i = 0; i < n; ++i) trace += system[static_cast<size_t>(i * width + i)];
  // Less is lost in the rounding of the sum, which then need not be definite. The trace is some
  // times the largest eigenvalue.
  const T one = std::max(T{1}, kLeastRatio<T> / 4 * trace);
  for (int64_t i = 0; i < n; ++i) system[static_cast<size_t>(i * width + i)] += one;
  factorise(system.data(), n, width);
  solve_triangle(system.data(), known.data(), n, width);
  // known^T known, and known^T times its last column.
  gemm::run_symmetric(gemm::Product<T>{
      n, n, n, 1, {known.data(), 1, width}, {known.data(), width, 1}, 0, {out, n + 1, 1}});
  std::vector<T>& last = system;
  std::fill_n(last.begin(), n, T{0});
  for (int64_t k = 0; k < n; ++k) {
    const T* row = known.data() + k * width;
    for (int64_t i = 0; i < n; ++i) last[static_cast<size_t>(i)] += row[i] * row[n];
  }
  for (int64_t i = 0; i < n; ++i) out[i * (n + 1) + n] = last[static_cast<size_t>(i)];
}

template <typename T>
void posteriors(const T* information, const T* gamma, const T* h, int64_t samples, int64_t n,
                T* out) {
  for (int64_t b = 0; b < samples; ++b) {
    posterior(information + b * n * n, gamma + b * n * n, h + b * n, n, out + b * n * (n + 1));
  }
}

// Highway's dispatch table takes plain functions.
void posteriors_f32(const float* information, const float* gamma, const float* h, int64_t samples,
                    int64_t n, float* out) {
  posteriors(information, gamma, h, samples, n, out);
}
void posteriors_f64(const double* information, const double* gamma, const double* h,
                    int64_t samples, int64_t n, double* out) {
  posteriors(information, gamma, h, samples, n, out);
}

}  // namespace pcxx::linalg::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pcxx::linalg {

HWY_EXPORT(posteriors_f32);
HWY_EXPORT(posteriors_f64);

namespace {

at::Tensor posterior_by_lapack(const at::Tensor& information, const at::Tensor& gamma,
                               const at::Tensor& h) {
  auto system = at::matmul(information, gamma);
  auto diagonal = system.diagonal(0, -2, -1);
  const double least =
      information.scalar_type() == at::kDouble ? kLeastRatio<double> : kLeastRatio<float>;
  diagonal.add_(diagonal.sum(-1, /*keepdim=*/true).mul_(least / 4).clamp_min_(1));
  auto solved =
      std::get<0>(at::linalg_solve_ex(system, at::cat({information, h.unsqueeze(-1)}, -1)));
  auto left = solved.narrow(-1, 0, information.size(-1));
  left.copy_((left + left.mT()).mul_(0.5));
  return solved;
}

}  // namespace

at::Tensor posterior(const at::Tensor& information, const at::Tensor& gamma, const at::Tensor& h) {
  const auto dtype = information.scalar_type();
  if (!information.is_cpu() || (dtype != at::kFloat && dtype != at::kDouble)) {
    return posterior_by_lapack(information, gamma, h);
  }
  auto shape = information.sizes().vec();
  ++shape.back();
  auto out = at::empty(shape, information.options());
  const auto i = information.contiguous();
  const auto covariance = gamma.contiguous();
  const auto right = h.contiguous();
  const auto n = h.size(-1);
  const auto samples = h.numel() / n;
  if (dtype == at::kFloat) {
    HWY_DYNAMIC_DISPATCH(posteriors_f32)
    (i.const_data_ptr<float>(), covariance.const_data_ptr<float>(), right.const_data_ptr<float>(),
     samples, n, out.mutable_data_ptr<float>());
  } else {
    HWY_DYNAMIC_DISPATCH(posteriors_f64)
    (i.const_data_ptr<double>(), covariance.const_data_ptr<double>(),
     right.const_data_ptr<double>(), samples, n, out.mutable_data_ptr<double>());
  }
  return out;
}

}  // namespace pcxx::linalg
#endif
