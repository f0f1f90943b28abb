#include "inference/quasi_newton_rows.h"

#include <algorithm>
#include <array>
#include <vector>

// The SIMD part is compiled once per instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "inference/quasi_newton_rows.cpp"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>
// After foreach_target.
#include "linalg/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pcxx::inference::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using linalg::simd::HWY_NAMESPACE::for_lanes;

template <typename T>
double dot(const T* a, const T* b, int64_t n) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto even = hn::Zero(d);
  auto odd = even;  // two chains of additions at once
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    even = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), even);
    odd = hn::MulAdd(hn::LoadU(d, a + i + lanes), hn::LoadU(d, b + i + lanes), odd);
  }
  auto sum = static_cast<double>(hn::GetLane(hn::SumOfLanes(d, hn::Add(even, odd))));
  for (; i < n; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

// y += c x
template <typename T>
void add(T* y, double c, const T* x, int64_t n) {
  for_lanes<T>(n, [=](auto d, int64_t i) {
    hn::StoreU(hn::MulAdd(hn::Set(d, static_cast<T>(c)), hn::LoadU(d, x + i), hn::LoadU(d, y + i)),
               d, y + i);
  });
}

template <typename T>
PairProducts remember_pair(const SampleVectors<T>& v, int slot) {
  T* step = v.steps + slot * v.n;
  T* change = v.changes + slot * v.n;
  int64_t begin = 0;
  for (int64_t l = 0; l < v.depth; ++l) {
    const auto& layer = v.layers[l];
    const auto difference = [&](const T* now, const T* before, T* out) {
      for_lanes<T>(layer.n, [=](auto d, int64_t i) {
        hn::StoreU(hn::Sub(hn::LoadU(d, now + i), hn::LoadU(d, before + i)), d, out + i);
      });
    };
    difference(layer.variable, v.point + begin, step + begin);
    difference(layer.gradient, v.gradient + begin, change + begin);
    begin += layer.n;
  }
  return {dot(step, step, v.n), dot(step, change, v.n), dot(change, change, v.n)};
}

// The two loops of Nocedal's recursion.
template <typename T>
double move_row(const SampleVectors<T>& v, T* direction, double* coefficients, int newest,
                int count, int pairs, double scale, double length) {
  const auto slot = [&](int age) { return (newest - age + pairs) % pairs; };
  std::copy_n(v.gradient, v.n, direction);
  for (int age = 0; age < count; ++age) {
    const int s = slot(age);
    coefficients[age] = v.inverse[s] * dot(v.steps + s * v.n, direction, v.n);
    add(direction, -coefficients[age], v.changes + s * v.n, v.n);
  }
  for_lanes<T>(v.n, [=](auto d, int64_t i) {
    hn::StoreU(hn::Mul(hn::Set(d, static_cast<T>(scale)), hn::LoadU(d, direction + i)), d,
               direction + i);
  });
  for (int age = count - 1; age >= 0; --age) {
    const int s = slot(age);
    const double back = v.inverse[s] * dot(v.changes + s * v.n, direction, v.n);
    add(direction, coefficients[age] - back, v.steps + s * v.n, v.n);
  }
  int64_t begin = 0;
  for (int64_t l = 0; l < v.depth; ++l) {
    const auto& layer = v.layers[l];
    std::copy_n(v.point + begin, layer.n, layer.variable);
    add(layer.variable, -length, direction + begin, layer.n);
    begin += layer.n;
  }
  return dot(v.gradient, direction, v.n);
}

// Highway's dispatch table takes plain functions.
PairProducts remember_f32(const SampleVectors<float>& v, int slot) {
  return remember_pair(v, slot);
}
PairProducts remember_f64(const SampleVectors<double>& v, int slot) {
  return remember_pair(v, slot);
}
double move_f32(const SampleVectors<float>& v, float* direction, double* coefficients, int newest,
                int count, int pairs, double scale, double length) {
  return move_row(v, direction, coefficients, newest, count, pairs, scale, length);
}
double move_f64(const SampleVectors<double>& v, double* direction, double* coefficients, int newest,
                int count, int pairs, double scale, double length) {
  return move_row(v, direction, coefficients, newest, count, pairs, scale, length);
}

}  // namespace pcxx::inference::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pcxx::inference {

HWY_EXPORT(remember_f32);
HWY_EXPORT(remember_f64);
HWY_EXPORT(move_f32);
HWY_EXPORT(move_f64);

template <>
PairProducts remember(const SampleVectors<float>& v, int slot) {
  return HWY_DYNAMIC_DISPATCH(remember_f32)(v, slot);
}
template <>
PairProducts remember(const SampleVectors<double>& v, int slot) {
  return HWY_DYNAMIC_DISPATCH(remember_f64)(v, slot);
}

template <typename T>
double move(const SampleVectors<T>& v, int newest, int count, int pairs, double scale,
            double length) {
  thread_local std::vector<T> direction;
  thread_local std::vector<double> coefficients;
  direction.resize(static_cast<std::size_t>(v.n));
  coefficients.resize(static_cast<std::size_t>(pairs));
  if constexpr (sizeof(T) == sizeof(float)) {
    return HWY_DYNAMIC_DISPATCH(move_f32)(v, direction.data(), coefficients.data(), newest, count,
                                          pairs, scale, length);
  } else {
    return HWY_DYNAMIC_DISPATCH(move_f64)(v, direction.data(), coefficients.data(), newest, count,
                                          pairs, scale, length);
  }
}

template <typename T>
void stay(const SampleVectors<T>& v) {
  T* point = v.point;
  T* gradient = v.gradient;
  for (std::int64_t l = 0; l < v.depth; ++l) {
    const auto& layer = v.layers[l];
    point = std::copy_n(layer.variable, layer.n, point);
    gradient = std::copy_n(layer.gradient, layer.n, gradient);
  }
}

template <typename T>
void go_back(const SampleVectors<T>& v) {
  const T* point = v.point;
  for (std::int64_t l = 0; l < v.depth; ++l) {
    std::copy_n(point, v.layers[l].n, v.layers[l].variable);
    point += v.layers[l].n;
  }
}

template double move(const SampleVectors<float>&, int, int, int, double, double);
template double move(const SampleVectors<double>&, int, int, int, double, double);
template void stay(const SampleVectors<float>&);
template void stay(const SampleVectors<double>&);
template void go_back(const SampleVectors<float>&);
template void go_back(const SampleVectors<double>&);

}  // namespace pcxx::inference
#endif
