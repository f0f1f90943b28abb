#include "nn/gemm.h"

#include <algorithm>
#include <vector>

// Register tiles are arrays of vectors, which vectors of run-time size cannot form.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
// The SIMD part is compiled once per instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "nn/gemm.cpp"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace pcxx::nn::gemm::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// A tile of c that fits the registers, kRows rows of kVectors vectors.
constexpr int kRows = HWY_TARGET <= HWY_AVX3 ? 8 : 4;
constexpr int kVectors = 3;
constexpr int64_t kDepth = 192;  // of k at a time: a strip of b stays in the first cache,
constexpr int64_t kBand = 96;    // and a band of this many rows of a in the second

// Columns of a strip: the widest that a tile allows, but the last strip as wide as the others.
template <typename T>
int64_t strip_width(int64_t n) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(hn::ScalableTag<T>()));
  const auto vectors = (n + lanes - 1) / lanes;
  const auto strips = (vectors + kVectors - 1) / kVectors;
  return (vectors + strips - 1) / strips * lanes;
}

// Strips of b [depth, n] one after the other, each row by row, with zeros for columns from n on.
template <typename T>
void pack(const Matrix<const T>& b, int64_t depth, int64_t n, int64_t strip, T* out) {
  for (int64_t j = 0; j < n; j += strip, out += strip * depth) {
    const auto width = std::min(strip, n - j);
    if (width < strip) std::fill(out, out + strip * depth, T{0});
    if (b.column == 1) {
      for (int64_t k = 0; k < depth; ++k) std::copy_n(b.at(k, j), width, out + k * strip);
    } else {
      for (int64_t x = 0; x < width; ++x) {
        const T* from = b.at(0, j + x);
        for (int64_t k = 0; k < depth; ++k) out[k * strip + x] = from[k * b.row];
      }
    }
  }
}

// out <- beta out + alpha sum, in its first `count` elements.
template <class D, class V, typename T>
void store(D d, const Product<T>& p, V sum, T* out, int64_t count) {
  const auto scaled = hn::Mul(hn::Set(d, p.alpha), sum);
  if (count >= static_cast<int64_t>(hn::Lanes(d))) {
    const auto old = p.beta == T{0} ? hn::Zero(d) : hn::LoadU(d, out);
    return hn::StoreU(hn::MulAdd(hn::Set(d, p.beta), old, scaled), d, out);
  }
  T values[hn::MaxLanes(d)];
  hn::StoreU(scaled, d, values);
  for (int64_t x = 0; x < count; ++x) {
    out[x] = p.beta == T{0} ? values[x] : p.beta * out[x] + values[x];
  }
}

// c <- beta c + alpha a b for a tile of kTall rows and kWide vectors; b is a packed strip, and
// `width` the columns that exist of it.
template <int kTall, int kWide, typename T>
void tile(const Product<T>& p, const T* b, int64_t width) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  hn::Vec<decltype(d)> sum[kTall][kWide];
#pragma GCC unroll 8
  for (int i = 0; i < kTall; ++i) {
#pragma GCC unroll 3
    for (int j = 0; j < kWide; ++j) sum[i][j] = hn::Zero(d);
  }
  for (int64_t k = 0; k < p.k; ++k, b += kWide * lanes) {
#pragma GCC unroll 8
    for (int i = 0; i < kTall; ++i) {
      const auto left = hn::Set(d, *p.a.at(i, k));
#pragma GCC unroll 3
      for (int j = 0; j < kWide; ++j) {
        sum[i][j] = hn::MulAdd(left, hn::LoadU(d, b + j * lanes), sum[i][j]);
      }
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kTall; ++i) {
#pragma GCC unroll 3
    for (int j = 0; j < kWide; ++j) {
      store(d, p, sum[i][j], p.c.at(i, j * lanes), width - j * lanes);
    }
  }
}

template <int kTall, typename T>
void tile_of(int64_t vectors, const Product<T>& p, const T* b, int64_t width) {
  if (vectors == 3) return tile<kTall, 3>(p, b, width);
  if (vectors == 2) return tile<kTall, 2>(p, b, width);
  tile<kTall, 1>(p, b, width);
}

// A strip of c.
template <typename T>
void strip_product(Product<T> p, const T* b, int64_t strip) {
  const auto vectors = strip / static_cast<int64_t>(hn::Lanes(hn::ScalableTag<T>()));
  const auto step = [&p](int64_t rows) {
    p.a.data += rows * p.a.row;
    p.c.data += rows * p.c.row;
    p.m -= rows;
  };
  for (; p.m >= kRows; step(kRows)) tile_of<kRows>(vectors, p, b, p.n);
  for (; p.m >= 1; step(1)) tile_of<1>(vectors, p, b, p.n);
}

template <typename T>
void multiply(const Product<T>& p) {
  const auto strip = strip_width<T>(p.n);
  thread_local std::vector<T> packed;
  packed.resize(static_cast<size_t>((p.n + strip - 1) / strip * strip * std::min(kDepth, p.k)));
  for (int64_t k = 0; k < p.k; k += kDepth) {
    const auto depth = std::min(kDepth, p.k - k);
    const T beta = k == 0 ? p.beta : T{1};
    pack<T>({p.b.at(k, 0), p.b.row, p.b.column}, depth, p.n, strip, packed.data());
    for (int64_t i = 0; i < p.m; i += kBand) {
      for (int64_t j = 0; j < p.n; j += strip) {
        strip_product<T>({std::min(kBand, p.m - i),
                          std::min(strip, p.n - j),
                          depth,
                          p.alpha,
                          {p.a.at(i, k), p.a.row, p.a.column},
                          {},
                          beta,
                          {p.c.at(i, j), p.c.row, p.c.column}},
                         packed.data() + j * depth, strip);
      }
    }
  }
}

// Highway's dispatch table takes plain functions.
void multiply_f32(const Product<float>& p) {
  multiply(p);
}
void multiply_f64(const Product<double>& p) {
  multiply(p);
}

}  // namespace pcxx::nn::gemm::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pcxx::nn::gemm {

HWY_EXPORT(multiply_f32);
HWY_EXPORT(multiply_f64);

bool preferred() {
#if HWY_ARCH_X86
  static const bool amd = __builtin_cpu_is("amd");
  return amd;
#else
  return false;
#endif
}

void run(const Product<float>& product) {
  HWY_DYNAMIC_DISPATCH(multiply_f32)(product);
}
void run(const Product<double>& product) {
  HWY_DYNAMIC_DISPATCH(multiply_f64)(product);
}

}  // namespace pcxx::nn::gemm
#endif
