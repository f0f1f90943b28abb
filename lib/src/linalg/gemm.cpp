#include "linalg/gemm.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

// Register tiles are arrays of vectors, which vectors of run-time size cannot form.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
// The SIMD part is compiled once per instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "linalg/gemm.cpp"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace pcxx::linalg::gemm::HWY_NAMESPACE {
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

#if HWY_TARGET != HWY_SCALAR
// The transpose of a square block of as many rows as a vector of 16 bytes has elements.
template <typename T>
void transpose_block(const T* from, int64_t row, T* out, int64_t out_row) {
  const hn::CappedTag<T, 16 / sizeof(T)> d;
  const auto r0 = hn::LoadU(d, from);
  const auto r1 = hn::LoadU(d, from + row);
  if constexpr (sizeof(T) == 8) {
    hn::StoreU(hn::InterleaveLower(d, r0, r1), d, out);
    hn::StoreU(hn::InterleaveUpper(d, r0, r1), d, out + out_row);
  } else {
    const hn::RepartitionToWide<decltype(d)> pairs;
    const auto r2 = hn::LoadU(d, from + 2 * row);
    const auto r3 = hn::LoadU(d, from + 3 * row);
    const auto upper = hn::BitCast(pairs, hn::InterleaveLower(d, r0, r1));
    const auto lower = hn::BitCast(pairs, hn::InterleaveLower(d, r2, r3));
    hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, upper, lower)), d, out);
    hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, upper, lower)), d, out + out_row);
    const auto upper2 = hn::BitCast(pairs, hn::InterleaveUpper(d, r0, r1));
    const auto lower2 = hn::BitCast(pairs, hn::InterleaveUpper(d, r2, r3));
    hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, upper2, lower2)), d, out + 2 * out_row);
    hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, upper2, lower2)), d, out + 3 * out_row);
  }
}

// out [depth, strip] <- the transposes of the first rows of from [width, depth], as many as make
// whole blocks; how many.
template <typename T>
int64_t transpose_blocks(const T* from, int64_t row, int64_t depth, int64_t width, T* out,
                         int64_t strip) {
  constexpr int64_t kBlock = 16 / sizeof(T);
  int64_t x = 0;
  for (; x + kBlock <= width; x += kBlock) {
    int64_t k = 0;
    for (; k + kBlock <= depth; k += kBlock) {
      transpose_block(from + x * row + k, row, out + k * strip + x, strip);
    }
    for (; k < depth; ++k) {
      for (int64_t i = x; i < x + kBlock; ++i) out[k * strip + i] = from[i * row + k];
    }
  }
  return x;
}
#else
template <typename T>
int64_t transpose_blocks(const T*, int64_t, int64_t, int64_t, T*, int64_t) {
  return 0;
}
#endif

// Strips of b [depth, n] one after the other, each row by row, with zeros for columns from n on.
template <typename T>
void pack(const Matrix<const T>& b, int64_t depth, int64_t n, int64_t strip, T* out) {
  for (int64_t j = 0; j < n; j += strip, out += strip * depth) {
    const auto width = std::min(strip, n - j);
    if (width < strip) std::fill(out, out + strip * depth, T{0});
    if (b.column == 1) {
      for (int64_t k = 0; k < depth; ++k) std::copy_n(b.at(k, j), width, out + k * strip);
    } else {
      const auto done =
          b.row == 1 ? transpose_blocks(b.at(0, j), b.column, depth, width, out, strip) : 0;
      for (int64_t x = done; x < width; ++x) {
        for (int64_t k = 0; k < depth; ++k) out[k * strip + x] = *b.at(k, j + x);
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

// c <- beta c + alpha a b for a tile of kTall rows and kWide vectors, the first ones of a packed
// strip of b.
template <int kTall, int kWide, typename T>
void tile(const Product<T>& p, const T* b, int64_t strip) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  hn::Vec<decltype(d)> sum[kTall][kWide];
#pragma GCC unroll 8
  for (int i = 0; i < kTall; ++i) {
#pragma GCC unroll 3
    for (int j = 0; j < kWide; ++j) sum[i][j] = hn::Zero(d);
  }
  for (int64_t k = 0; k < p.k; ++k, b += strip) {
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
      store(d, p, sum[i][j], p.c.at(i, j * lanes), p.n - j * lanes);
    }
  }
}

template <int kTall, typename T>
void tile_of(int64_t vectors, const Product<T>& p, const T* b, int64_t strip) {
  if (vectors >= 3) return tile<kTall, 3>(p, b, strip);
  if (vectors == 2) return tile<kTall, 2>(p, b, strip);
  if (vectors == 1) return tile<kTall, 1>(p, b, strip);
}

// A strip of c, whose first column crosses the diagonal `above` rows below the first one.
template <typename T>
void strip_product(Product<T> p, const T* b, int64_t strip, int64_t above) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(hn::ScalableTag<T>()));
  const auto vectors = [&](int64_t rows) {
    if (!p.lower) return strip / lanes;
    return std::min(strip, std::max(rows - above, int64_t{0}) + lanes - 1) / lanes;
  };
  const auto step = [&](int64_t rows) {
    p.a.data += rows * p.a.row;
    p.c.data += rows * p.c.row;
    p.m -= rows;
    above -= rows;
  };
  for (; p.m >= kRows; step(kRows)) tile_of<kRows>(vectors(kRows), p, b, strip);
  for (; p.m >= 1; step(1)) tile_of<1>(vectors(1), p, b, strip);
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
                          {p.c.at(i, j), p.c.row, p.c.column},
                          p.lower},
                         packed.data() + j * depth, strip, j - i);
      }
    }
  }
}

// Rows begin..end of the upper triangle of c [n, n] from the lower one.
template <typename T>
void mirror(const Matrix<T>& c, int64_t begin, int64_t end, int64_t n) {
  for (int64_t i = begin; i < end; ++i) {
    for (int64_t j = begin; j < i; ++j) *c.at(j, i) = *c.at(i, j);
  }
  if (end == n) return;
  T* out = c.at(begin, end);
  const auto done = transpose_blocks<T>(c.at(end, begin), c.row, end - begin, n - end, out, c.row);
  for (int64_t j = begin; j < end; ++j) {
    for (int64_t i = end + done; i < n; ++i) *c.at(j, i) = *c.at(i, j);
  }
}

// Highway's dispatch table takes plain functions.
void multiply_f32(const Product<float>& p) {
  multiply(p);
}
void multiply_f64(const Product<double>& p) {
  multiply(p);
}
void mirror_f32(const Matrix<float>& c, int64_t begin, int64_t end, int64_t n) {
  mirror(c, begin, end, n);
}
void mirror_f64(const Matrix<double>& c, int64_t begin, int64_t end, int64_t n) {
  mirror(c, begin, end, n);
}

}  // namespace pcxx::linalg::gemm::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pcxx::linalg::gemm {

HWY_EXPORT(multiply_f32);
HWY_EXPORT(multiply_f64);
HWY_EXPORT(mirror_f32);
HWY_EXPORT(mirror_f64);

namespace {

void copy_transposed(const Matrix<float>& c, int64_t begin, int64_t end, int64_t n) {
  HWY_DYNAMIC_DISPATCH(mirror_f32)(c, begin, end, n);
}
void copy_transposed(const Matrix<double>& c, int64_t begin, int64_t end, int64_t n) {
  HWY_DYNAMIC_DISPATCH(mirror_f64)(c, begin, end, n);
}

// Columns j.. of the lower triangle, and the rows of the upper one that they are.
template <typename T>
void symmetric_strip(const Product<T>& p, int64_t j, int64_t width) {
  run(Product<T>{p.m - j,
                 width,
                 p.k,
                 p.alpha,
                 {p.a.at(j, 0), p.a.row, p.a.column},
                 {p.b.at(0, j), p.b.row, p.b.column},
                 p.beta,
                 {p.c.at(j, j), p.c.row, p.c.column},
                 true});
  copy_transposed(p.c, j, j + width, p.m);
}

template <typename T>
void symmetric(const Product<T>& p) {
  constexpr int64_t kStrip = 48;
  const auto strips = (p.m + kStrip - 1) / kStrip;
  const auto strip = [&](int64_t s) {
    symmetric_strip(p, s * kStrip, std::min(kStrip, p.m - s * kStrip));
  };
  // A long one and a short one at a time.
  at::parallel_for(0, (strips + 1) / 2, 1 + kGrain / (p.m * p.k * kStrip),
                   [&](int64_t begin, int64_t end) {
                     for (int64_t s = begin; s < end; ++s) {
                       strip(s);
                       if (s != strips - 1 - s) strip(strips - 1 - s);
                     }
                   });
}

}  // namespace

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
void run_symmetric(const Product<float>& product) {
  symmetric(product);
}
void run_symmetric(const Product<double>& product) {
  symmetric(product);
}

}  // namespace pcxx::linalg::gemm
#endif
