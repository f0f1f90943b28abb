// What SIMD loops share, compiled once per instruction set by each file that
// includes it after <hwy/foreach_target.h>.
#if defined(PCXX_LINALG_SIMD_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef PCXX_LINALG_SIMD_INL_H
#undef PCXX_LINALG_SIMD_INL_H
#else
#define PCXX_LINALG_SIMD_INL_H
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace pcxx::linalg::simd::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// body(d, i) over whole vectors, then over single elements for what is left.
template <typename T, class Body>
void for_lanes(int64_t n, const Body& body) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) body(d, i);
  const hn::CappedTag<T, 1> one;
  for (; i < n; ++i) body(one, i);
}

// Sum over a row of element(d, i)^2, where element also does the row's other work.
template <typename T, class Element>
T sum_of_squares(int64_t n, const Element& element) {
  const hn::ScalableTag<T> wide;
  const auto lanes = static_cast<int64_t>(hn::Lanes(wide));
  auto squares = hn::Zero(wide);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto v = element(wide, i);
    squares = hn::MulAdd(v, v, squares);
  }
  T sum = hn::GetLane(hn::SumOfLanes(wide, squares));
  const hn::CappedTag<T, 1> one;
  for (; i < n; ++i) {
    const T v = hn::GetLane(element(one, i));
    sum += v * v;
  }
  return sum;
}

// out[i] = sum_j w[i, j] x[j] for i < rows, n columns.
template <typename T>
void times_column(const T* w, int64_t rows, int64_t n, const T* x, T* out) {
  const hn::ScalableTag<T> wide;
  const auto lanes = static_cast<int64_t>(hn::Lanes(wide));
  const auto whole = n - n % lanes;
  const auto finish = [&](auto sum, const T* row) {
    T total = hn::GetLane(hn::SumOfLanes(wide, sum));
    for (int64_t j = whole; j < n; ++j) total += row[j] * x[j];
    return total;
  };
  int64_t i = 0;
  for (; i + 4 <= rows; i += 4) {  // four chains of additions at once
    const T* row = w + i * n;
    auto s0 = hn::Zero(wide), s1 = s0, s2 = s0, s3 = s0;
    for (int64_t j = 0; j < whole; j += lanes) {
      const auto v = hn::LoadU(wide, x + j);
      s0 = hn::MulAdd(hn::LoadU(wide, row + j), v, s0);
      s1 = hn::MulAdd(hn::LoadU(wide, row + n + j), v, s1);
      s2 = hn::MulAdd(hn::LoadU(wide, row + 2 * n + j), v, s2);
      s3 = hn::MulAdd(hn::LoadU(wide, row + 3 * n + j), v, s3);
    }
    out[i] = finish(s0, row);
    out[i + 1] = finish(s1, row + n);
    out[i + 2] = finish(s2, row + 2 * n);
    out[i + 3] = finish(s3, row + 3 * n);
  }
  for (; i < rows; ++i) {
    auto sum = hn::Zero(wide);
    for (int64_t j = 0; j < whole; j += lanes) {
      sum = hn::MulAdd(hn::LoadU(wide, w + i * n + j), hn::LoadU(wide, x + j), sum);
    }
    out[i] = finish(sum, w + i * n);
  }
}

// out[j] += sum_i e[i] w[i, j] for i < rows, n columns.
template <typename T>
void add_row_times(const T* e, const T* w, int64_t rows, int64_t n, T* out) {
  int64_t i = 0;
  for (; i + 4 <= rows; i += 4) {  // out is read and written once for four rows
    const T* row = w + i * n;
    const T e0 = e[i], e1 = e[i + 1], e2 = e[i + 2], e3 = e[i + 3];
    for_lanes<T>(n, [=](auto d, int64_t j) {
      auto sum = hn::LoadU(d, out + j);
      sum = hn::MulAdd(hn::Set(d, e0), hn::LoadU(d, row + j), sum);
      sum = hn::MulAdd(hn::Set(d, e1), hn::LoadU(d, row + n + j), sum);
      sum = hn::MulAdd(hn::Set(d, e2), hn::LoadU(d, row + 2 * n + j), sum);
      sum = hn::MulAdd(hn::Set(d, e3), hn::LoadU(d, row + 3 * n + j), sum);
      hn::StoreU(sum, d, out + j);
    });
  }
  for (; i < rows; ++i) {
    const T* row = w + i * n;
    const T factor = e[i];
    for_lanes<T>(n, [=](auto d, int64_t j) {
      const auto product = hn::Mul(hn::Set(d, factor), hn::LoadU(d, row + j));
      hn::StoreU(hn::Add(hn::LoadU(d, out + j), product), d, out + j);
    });
  }
}

}  // namespace pcxx::linalg::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
