// Linear algebra on interleaved matrices, over the vector tag D: included once per instruction set
// by kernels.cpp, after highway.h. All loops are bounded and free of branches on single lanes: no
// lane sees its neighbours, whatever they hold.
#if defined(PCXX_ENSEMBLE_LINALG_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef PCXX_ENSEMBLE_LINALG_INL_H
#undef PCXX_ENSEMBLE_LINALG_INL_H
#else
#define PCXX_ENSEMBLE_LINALG_INL_H
#endif

#include <hwy/highway.h>

#include <array>
#include <cstddef>
#include <limits>
#include <utility>

#include "ensemble/matrix.h"

HWY_BEFORE_NAMESPACE();
namespace pcxx::ensemble::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Index = std::ptrdiff_t;

// A tile of accumulators with a column of operands fills the vector registers: 32, or 16 before
// AVX-512 on x86.
#if HWY_ARCH_X86 && HWY_MAX_BYTES < 64
inline constexpr Index kTileRows = 3;
inline constexpr Index kTileCols = 4;
#else
inline constexpr Index kTileRows = 5;
inline constexpr Index kTileCols = 5;
#endif

// [0, n) in as few pieces of at most `longest` as there can be, all of nearly the same length.
struct Pieces {
  Index n;
  Index count;

  Pieces(Index length, Index longest) : n(length), count((length + longest - 1) / longest) {}
  Index begin(Index piece) const { return n * piece / count; }
  Index length(Index piece) const { return begin(piece + 1) - begin(piece); }
};

template <class D>
hn::Vec<D> load(D d, const hn::TFromD<D>* from) {
  return hn::Load(d, from);
}

// ---- Products and triangular solves ---------------------------------------------------------

enum class Tile {
  kSet,    // out = a b
  kAdd,    // out = source + scale * a b
  kSolve,  // out = l^-1 (source - a b), l lower triangular with inverses on its diagonal
};

template <class D>
struct TileOperands {
  using T = hn::TFromD<D>;
  Matrix<T> a;
  Matrix<T> b;
  Matrix<T> source;
  Matrix<T> out;
  Matrix<T> l;
  hn::Vec<D> scale;
};

template <class D, Tile kKind, int kM, int kN>
HWY_NOINLINE void tile(const TileOperands<D>& o, Index i0, Index j0) {
  using T = hn::TFromD<D>;
  using V = hn::Vec<D>;
  const D d;
  V sum[kM][kN];
#pragma GCC unroll 8
  for (int i = 0; i < kM; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < kN; ++j) sum[i][j] = hn::Zero(d);
  }
  const T* a = o.a.at(i0, 0);
  const T* b = o.b.at(0, j0);
  for (Index k = 0; k < o.a.cols; ++k, a += o.a.col, b += o.b.row) {
    V right[kN];
#pragma GCC unroll 8
    for (int j = 0; j < kN; ++j) right[j] = load(d, b + j * o.b.col);
#pragma GCC unroll 8
    for (int i = 0; i < kM; ++i) {
      const V left = load(d, a + i * o.a.row);
#pragma GCC unroll 8
      for (int j = 0; j < kN; ++j) sum[i][j] = hn::MulAdd(left, right[j], sum[i][j]);
    }
  }
  if constexpr (kKind != Tile::kSet) {
#pragma GCC unroll 8
    for (int i = 0; i < kM; ++i) {
#pragma GCC unroll 8
      for (int j = 0; j < kN; ++j) {
        const V source = load(d, o.source.at(i0 + i, j0 + j));
        sum[i][j] = kKind == Tile::kAdd ? hn::MulAdd(o.scale, sum[i][j], source)
                                        : hn::Sub(source, sum[i][j]);
      }
    }
  }
  if constexpr (kKind == Tile::kSolve) {
#pragma GCC unroll 8
    for (int i = 0; i < kM; ++i) {
#pragma GCC unroll 8
      for (int p = 0; p < i; ++p) {
        const V l = load(d, o.l.at(i, p));
#pragma GCC unroll 8
        for (int j = 0; j < kN; ++j) sum[i][j] = hn::NegMulAdd(l, sum[p][j], sum[i][j]);
      }
      const V inverse = load(d, o.l.at(i, i));
#pragma GCC unroll 8
      for (int j = 0; j < kN; ++j) sum[i][j] = hn::Mul(inverse, sum[i][j]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kM; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < kN; ++j) hn::Store(sum[i][j], d, o.out.at(i0 + i, j0 + j));
  }
}

template <class D>
using TileFunction = void (*)(const TileOperands<D>&, Index, Index);

template <class D, Tile kKind, int... kMN>
constexpr std::array<TileFunction<D>, sizeof...(kMN)> tile_table(
    std::integer_sequence<int, kMN...>) {
  return {&tile<D, kKind, kMN / kTileCols + 1, kMN % kTileCols + 1>...};
}

template <class D, Tile kKind>
void run_tile(const TileOperands<D>& o, Index i0, Index rows, Index j0, Index cols) {
  static constexpr auto kTable =
      tile_table<D, kKind>(std::make_integer_sequence<int, int{kTileRows * kTileCols}>());
  kTable[static_cast<std::size_t>((rows - 1) * kTileCols + cols - 1)](o, i0, j0);
}

enum class Part { kWhole, kLower };

template <class D, Tile kKind>
void all_tiles(const TileOperands<D>& o, Part part) {
  const Pieces rows(o.out.rows, kTileRows);
  const Pieces cols(o.out.cols, kTileCols);
  for (Index i = 0; i < rows.count; ++i) {
    for (Index j = 0; j < cols.count; ++j) {
      if (part == Part::kLower && cols.begin(j) >= rows.begin(i + 1)) break;
      run_tile<D, kKind>(o, rows.begin(i), rows.length(i), cols.begin(j), cols.length(j));
    }
  }
}

// out = a b. kLower leaves what lies above the diagonal unspecified.
template <class D, class T>
void multiply(D d, const Matrix<T>& a, const Matrix<T>& b, const Matrix<T>& out,
              Part part = Part::kWhole) {
  all_tiles<D, Tile::kSet>({a, b, {}, out, {}, hn::Zero(d)}, part);
}

// out = source + scale * a b, one scale per lane; out may be the source.
template <class D, class T>
void multiply_add(D, const Matrix<T>& a, const Matrix<T>& b, const Matrix<T>& source,
                  hn::Vec<D> scale, const Matrix<T>& out, Part part = Part::kWhole) {
  all_tiles<D, Tile::kAdd>({a, b, source, out, {}, scale}, part);
}

// Rows [begin, begin + length) of b <- l^-1 b, the rows before being solved already.
template <class D, class T>
void solve_rows(D d, const Matrix<T>& l, Index begin, Index length, const Matrix<T>& b) {
  const auto rows = b.block(begin, 0, length, b.cols);
  const TileOperands<D> o{l.block(begin, 0, length, begin),      b,          rows, rows,
                          l.block(begin, begin, length, length), hn::Zero(d)};
  const Pieces cols(b.cols, kTileCols);
  for (Index j = 0; j < cols.count; ++j) {
    run_tile<D, Tile::kSolve>(o, 0, length, cols.begin(j), cols.length(j));
  }
}

// b <- l^-1 b for a lower triangle with inverses on its diagonal.
template <class D, class T>
void solve_lower(D d, const Matrix<T>& l, const Matrix<T>& b) {
  const Pieces pieces(l.rows, kTileRows);
  for (Index i = 0; i < pieces.count; ++i) {
    solve_rows(d, l, pieces.begin(i), pieces.length(i), b);
  }
}

// b <- l^-T b.
template <class D, class T>
void solve_lower_transposed(D d, const Matrix<T>& l, const Matrix<T>& b) {
  solve_lower(d, l.upper_as_lower(), b.last_rows_first());
}

template <class D, class T>
void factorise_small(D d, const Matrix<T>& a) {
  for (Index j = 0; j < a.cols; ++j) {
    for (Index i = j; i < a.rows; ++i) {
      auto sum = load(d, a.at(i, j));
      for (Index k = 0; k < j; ++k) {
        sum = hn::NegMulAdd(load(d, a.at(i, k)), load(d, a.at(j, k)), sum);
      }
      const auto inverse = i == j ? hn::Div(hn::Set(d, T(1)), hn::Sqrt(sum)) : load(d, a.at(j, j));
      hn::Store(i == j ? inverse : hn::Mul(sum, inverse), d, a.at(i, j));
    }
  }
}

// a = l l^T in place, from the lower triangle; the diagonal of l holds inverses. A lane whose
// matrix is not positive definite gets NaN.
template <class D, class T>
void cholesky(D d, const Matrix<T>& a) {
  const auto minus_one = hn::Set(d, T(-1));
  const Pieces pieces(a.rows, kTileRows);
  for (Index piece = 0; piece < pieces.count; ++piece) {
    const Index begin = pieces.begin(piece);
    const Index end = pieces.begin(piece + 1);
    const auto corner = a.block(begin, begin, end - begin, end - begin);
    if (begin > 0) {
      const auto left = a.block(begin, 0, end - begin, begin);
      multiply_add(d, left, left.t(), corner, minus_one, corner);
    }
    factorise_small(d, corner);
    if (end < a.rows) {
      solve_rows(d, a, begin, end - begin, a.block(end, 0, a.rows - end, a.cols).t());
    }
  }
}

// b <- (l l^T)^-1 b.
template <class D, class T>
void solve_cholesky(D d, const Matrix<T>& l, const Matrix<T>& b) {
  solve_lower(d, l, b);
  solve_lower_transposed(d, l, b);
}

// ---- Householder reflections ----------------------------------------------------------------

#if HWY_ARCH_X86 && HWY_MAX_BYTES < 64
inline constexpr Index kReflected = 6;
#else
inline constexpr Index kReflected = 8;
#endif

// Columns [j0, j0 + kN) of b <- (I - tau w w^T) b with w = (1, v).
template <class D, int kN>
HWY_NOINLINE void reflect_columns(const Matrix<hn::TFromD<D>>& v, hn::Vec<D> tau,
                                  const Matrix<hn::TFromD<D>>& b, Index j0) {
  using V = hn::Vec<D>;
  const D d;
  V w[kN];
#pragma GCC unroll 8
  for (int j = 0; j < kN; ++j) w[j] = load(d, b.at(0, j0 + j));
  for (Index i = 1; i < b.rows; ++i) {
    const V vi = load(d, v.at(i - 1, 0));
#pragma GCC unroll 8
    for (int j = 0; j < kN; ++j) w[j] = hn::MulAdd(vi, load(d, b.at(i, j0 + j)), w[j]);
  }
#pragma GCC unroll 8
  for (int j = 0; j < kN; ++j) {
    w[j] = hn::Mul(tau, w[j]);
    hn::Store(hn::Sub(load(d, b.at(0, j0 + j)), w[j]), d, b.at(0, j0 + j));
  }
  for (Index i = 1; i < b.rows; ++i) {
    const V vi = load(d, v.at(i - 1, 0));
#pragma GCC unroll 8
    for (int j = 0; j < kN; ++j) {
      hn::Store(hn::NegMulAdd(vi, w[j], load(d, b.at(i, j0 + j))), d, b.at(i, j0 + j));
    }
  }
}

template <class D, int... kN>
void reflect(const Matrix<hn::TFromD<D>>& v, hn::Vec<D> tau, const Matrix<hn::TFromD<D>>& b,
             std::integer_sequence<int, kN...>) {
  using Function =
      void (*)(const Matrix<hn::TFromD<D>>&, hn::Vec<D>, const Matrix<hn::TFromD<D>>&, Index);
  static constexpr Function kTable[] = {&reflect_columns<D, kN + 1>...};
  const Pieces cols(b.cols, kReflected);
  for (Index j = 0; j < cols.count; ++j) kTable[cols.length(j) - 1](v, tau, b, cols.begin(j));
}

// b <- (I - tau w w^T) b with w = (1, v), v a column.
template <class D, class T>
void reflect(D, const Matrix<T>& v, hn::Vec<D> tau, const Matrix<T>& b) {
  reflect<D>(v, tau, b, std::make_integer_sequence<int, int{kReflected}>());
}

// x / y, and 0 where y is 0.
template <class D>
hn::Vec<D> divide_or_zero(D d, hn::Vec<D> x, hn::Vec<D> y) {
  return hn::IfThenZeroElse(hn::Eq(y, hn::Zero(d)), hn::Div(x, y));
}

// Columns [begin, end) of a are reduced to a triangle by reflections of all columns from there on:
// r in the upper triangle with inverses on its diagonal, below it the vectors of the reflections,
// in tau their factors.
template <class D, class T>
void factorise_columns(D d, const Matrix<T>& a, Index begin, Index end, T* tau) {
  const auto lanes = static_cast<Index>(hn::Lanes(d));
  for (Index k = begin; k < end; ++k) {
    const auto v = a.block(k + 1, k, a.rows - k - 1, 1);
    auto squares = hn::Zero(d);
    for (Index i = 0; i < v.rows; ++i) {
      const auto x = load(d, v.at(i, 0));
      squares = hn::MulAdd(x, x, squares);
    }
    const auto head = load(d, a.at(k, k));
    const auto norm = hn::Sqrt(hn::MulAdd(head, head, squares));
    const auto beta = hn::Neg(hn::CopySign(norm, head));
    const auto pivot = hn::Sub(head, beta);
    const auto factor = divide_or_zero(d, hn::Neg(pivot), beta);
    const auto inverse = divide_or_zero(d, hn::Set(d, T(1)), pivot);
    for (Index i = 0; i < v.rows; ++i) {
      hn::Store(hn::Mul(load(d, v.at(i, 0)), inverse), d, v.at(i, 0));
    }
    hn::Store(factor, d, tau + k * lanes);
    if (k + 1 < a.cols) reflect(d, v, factor, a.block(k, k + 1, a.rows - k, a.cols - k - 1));
    hn::Store(hn::Div(hn::Set(d, T(1)), beta), d, a.at(k, k));
  }
}

// a = q r in place for rows >= cols.
template <class D, class T>
void factorise_qr(D d, const Matrix<T>& a, T* tau) {
  factorise_columns(d, a, 0, a.cols, tau);
}

// b <- q b.
template <class D, class T>
void apply_q(D d, const Matrix<T>& qr, const T* tau, const Matrix<T>& b) {
  const auto lanes = static_cast<Index>(hn::Lanes(d));
  for (Index k = qr.cols - 1; k >= 0; --k) {
    reflect(d, qr.block(k + 1, k, qr.rows - k - 1, 1), load(d, tau + k * lanes),
            b.block(k, 0, b.rows - k, b.cols));
  }
}

// b <- (q r)^-T b for a square matrix: with b = d^T the transpose of d (q r)^-1.
template <class D, class T>
void solve_qr_transposed(D d, const Matrix<T>& qr, const T* tau, const Matrix<T>& b) {
  solve_lower(d, qr.t(), b);
  apply_q(d, qr, tau, b);
}

// ---- Extreme eigenvalues --------------------------------------------------------------------

// y = a x for a symmetric matrix given by its lower triangle; kR rows at a time.
template <class D, int kR>
void symmetric_rows(D d, const Matrix<hn::TFromD<D>>& a, const hn::TFromD<D>* x, Index i0,
                    hn::TFromD<D>* y) {
  using V = hn::Vec<D>;
  const auto lanes = static_cast<Index>(hn::Lanes(d));
  V sum[kR];
  V xi[kR];
#pragma GCC unroll 8
  for (int r = 0; r < kR; ++r) {
    sum[r] = hn::Zero(d);
    xi[r] = load(d, x + (i0 + r) * lanes);
  }
  for (Index j = 0; j < i0; ++j) {
    const V xj = load(d, x + j * lanes);
    V yj = load(d, y + j * lanes);
#pragma GCC unroll 8
    for (int r = 0; r < kR; ++r) {
      const V element = load(d, a.at(i0 + r, j));
      sum[r] = hn::MulAdd(element, xj, sum[r]);
      yj = hn::MulAdd(element, xi[r], yj);
    }
    hn::Store(yj, d, y + j * lanes);
  }
#pragma GCC unroll 8
  for (int r = 0; r < kR; ++r) {
    sum[r] = hn::MulAdd(load(d, a.at(i0 + r, i0 + r)), xi[r], sum[r]);
#pragma GCC unroll 8
    for (int c = 0; c < r; ++c) {
      const V element = load(d, a.at(i0 + r, i0 + c));
      sum[r] = hn::MulAdd(element, xi[c], sum[r]);
      sum[c] = hn::MulAdd(element, xi[r], sum[c]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kR; ++r) hn::Store(sum[r], d, y + (i0 + r) * lanes);
}

template <class D, class T>
void multiply_symmetric(D d, const Matrix<T>& a, const T* x, T* y) {
  Index i = 0;
  for (; i + 4 <= a.rows; i += 4) symmetric_rows<D, 4>(d, a, x, i, y);
  for (; i < a.rows; ++i) symmetric_rows<D, 1>(d, a, x, i, y);
}

// Lower triangle of a <- a - v w^T - w v^T, kR rows at a time.
template <class D, int kR>
void subtract_rows(D d, const Matrix<hn::TFromD<D>>& a, const hn::TFromD<D>* v,
                   const hn::TFromD<D>* w, Index i0) {
  using V = hn::Vec<D>;
  const auto lanes = static_cast<Index>(hn::Lanes(d));
  V vi[kR];
  V wi[kR];
#pragma GCC unroll 8
  for (int r = 0; r < kR; ++r) {
    vi[r] = load(d, v + (i0 + r) * lanes);
    wi[r] = load(d, w + (i0 + r) * lanes);
  }
  // The tile on the diagonal is done whole; nobody reads above the diagonal.
  for (Index j = 0; j < i0 + kR; ++j) {
    const V vj = load(d, v + j * lanes);
    const V wj = load(d, w + j * lanes);
#pragma GCC unroll 8
    for (int r = 0; r < kR; ++r) {
      const V element = load(d, a.at(i0 + r, j));
      hn::Store(hn::NegMulAdd(vi[r], wj, hn::NegMulAdd(wi[r], vj, element)), d, a.at(i0 + r, j));
    }
  }
}

template <class D, class T>
void subtract_symmetric(D d, const Matrix<T>& a, const T* v, const T* w) {
  Index i = 0;
  for (; i + 4 <= a.rows; i += 4) subtract_rows<D, 4>(d, a, v, w, i);
  for (; i < a.rows; ++i) subtract_rows<D, 1>(d, a, v, w, i);
}

// Orthogonal reduction of a symmetric matrix, given by its lower triangle (destroyed), to a
// tridiagonal one: its diagonal [n] and the squares of what stands beside it [n - 1]. work: [2 n].
template <class D, class T>
void tridiagonalise(D d, const Matrix<T>& a, T* diagonal, T* squares, T* work) {
  const auto lanes = static_cast<Index>(hn::Lanes(d));
  const Index n = a.rows;
  T* v = work;
  T* w = work + n * lanes;
  for (Index k = 0; k < n; ++k) {
    hn::Store(load(d, a.at(k, k)), d, diagonal + k * lanes);
    const Index m = n - k - 1;
    if (m == 0) break;
    auto norm = hn::Zero(d);
    for (Index i = 0; i < m; ++i) {
      const auto x = load(d, a.at(k + 1 + i, k));
      norm = hn::MulAdd(x, x, norm);
      hn::Store(x, d, v + i * lanes);
    }
    hn::Store(norm, d, squares + k * lanes);
    if (m == 1) continue;
    // v = (1, ...): tau and what follows from it stay of the size of the matrix.
    const auto head = load(d, v);
    const auto beta = hn::Neg(hn::CopySign(hn::Sqrt(norm), head));
    const auto pivot = hn::Sub(head, beta);
    const auto tau = divide_or_zero(d, hn::Neg(pivot), beta);
    const auto inverse = divide_or_zero(d, hn::Set(d, T(1)), pivot);
    hn::Store(hn::Set(d, T(1)), d, v);
    for (Index i = 1; i < m; ++i) {
      hn::Store(hn::Mul(load(d, v + i * lanes), inverse), d, v + i * lanes);
    }
    const auto rest = a.block(k + 1, k + 1, m, m);
    multiply_symmetric(d, rest, v, w);
    auto product = hn::Zero(d);
    for (Index i = 0; i < m; ++i) {
      product = hn::MulAdd(load(d, v + i * lanes), load(d, w + i * lanes), product);
    }
    const auto shift = hn::Mul(hn::Mul(hn::Set(d, T(0.5)), hn::Mul(tau, tau)), product);
    for (Index i = 0; i < m; ++i) {
      const auto scaled = hn::Mul(tau, load(d, w + i * lanes));
      hn::Store(hn::NegMulAdd(shift, load(d, v + i * lanes), scaled), d, w + i * lanes);
    }
    subtract_symmetric(d, rest, v, w);
  }
}

// The largest zero of det(x I - t) for a symmetric tridiagonal t, enclosed between bounds that
// Laguerre's iteration draws together from above.
template <class D>
struct Enclosure {
  using V = hn::Vec<D>;
  V low;   // no larger than the zero
  V high;  // larger than every zero
  V at;    // where to look next
  V safe;  // where Laguerre's step from `high` leads: above the zero, but for rounding
  V back;  // the last step back up from below it
  V tolerance;

  hn::Mask<D> open() const { return hn::Gt(hn::Sub(high, low), tolerance); }
};

// Pivots q_i of x I - t with the sums of q'/q and (q'/q)^2 - q''/q: all pivots are positive exactly
// when x lies above every eigenvalue, and then the sums are those of 1 / (x - lambda) and of its
// square.
template <class D>
struct Pivots {
  using V = hn::Vec<D>;
  V inverse;  // 1 / q of the row before
  V first;    // q' / q
  V second;   // q'' / q
  V sum;
  V square_sum;
  V least;

  explicit Pivots(D d)
      : inverse(hn::Zero(d)),
        first(hn::Zero(d)),
        second(hn::Zero(d)),
        sum(hn::Zero(d)),
        square_sum(hn::Zero(d)),
        least(hn::Set(d, std::numeric_limits<hn::TFromD<D>>::infinity())) {}

  void advance(D d, V shifted, V square) {
    const V t = hn::Mul(square, inverse);
    const V q = hn::Sub(shifted, t);
    const V dq = hn::MulAdd(t, first, hn::Set(d, hn::TFromD<D>(1)));
    const V ddq = hn::Mul(t, hn::NegMulAdd(hn::Add(first, first), first, second));
    inverse = hn::Div(hn::Set(d, hn::TFromD<D>(1)), q);
    first = hn::Mul(dq, inverse);
    second = hn::Mul(ddq, inverse);
    sum = hn::Add(sum, first);
    square_sum = hn::Add(square_sum, hn::MulSub(first, first, second));
    least = hn::Min(least, q);
  }
};

// One step of the enclosure from the pivots at e.at. After the first rounds, which suffice for a
// zero apart from all others, m of them are taken to lie together, m = sum^2 / square_sum rounded
// down. That may lead below the largest, by little when they lie close together: the steps back up
// start small and grow as geometric means.
template <class D>
void narrow(D d, const Pivots<D>& p, Index n, bool clustered, Enclosure<D>& e) {
  using T = hn::TFromD<D>;
  const auto size = hn::Set(d, static_cast<T>(n));
  const auto one = hn::Set(d, T(1));
  const auto half = hn::Mul(hn::Set(d, T(0.5)), e.tolerance);
  const auto open = e.open();
  const auto above = hn::And(open, hn::Gt(p.least, hn::Zero(d)));
  const auto below = hn::AndNot(above, open);

  e.high = hn::IfThenElse(above, e.at, e.high);
  // One of n zeros is no further away than n / sum.
  const auto bound = hn::Sub(e.at, hn::Div(size, p.sum));
  e.low = hn::IfThenElse(above, hn::Max(e.low, bound), hn::IfThenElse(below, e.at, e.low));

  const auto squared = hn::Mul(p.sum, p.sum);
  const auto spread = hn::Max(hn::Zero(d), hn::MulSub(size, p.square_sum, squared));
  const auto step = [&](hn::Vec<D> m) HWY_ATTR {
    const auto root = hn::Sqrt(hn::Mul(hn::Div(hn::Sub(size, m), m), spread));
    return hn::Div(size, hn::Add(p.sum, root));
  };
  const auto lowest = hn::Add(e.low, half);
  const auto single = hn::Sub(e.at, step(one));
  auto next = hn::Max(single, lowest);
  if (clustered) {
    const auto fold = hn::Floor(hn::Div(squared, p.square_sum));
    next = hn::Max(hn::Sub(e.at, step(hn::Max(one, hn::Min(fold, size)))), lowest);
  }
  next = hn::Min(next, hn::NegMulAdd(hn::Set(d, T(0.25)), e.tolerance, e.high));
  e.safe = hn::IfThenElse(above, hn::Max(single, e.low), e.safe);
  e.back = hn::IfThenElse(above, e.tolerance, hn::Sqrt(hn::Mul(e.back, hn::Sub(e.high, e.low))));
  const auto up = hn::Add(e.low, e.back);
  const auto again = hn::IfThenElse(hn::Gt(e.safe, e.low), hn::Min(up, e.safe), up);
  e.at = hn::IfThenElse(above, next, hn::IfThenElse(below, again, e.at));
}

template <class D>
struct Extremes {
  hn::Vec<D> smallest;
  hn::Vec<D> largest;
};

// Of the tridiagonal matrix that tridiagonalise makes, to a few roundings of its norm. Lanes that
// hold a NaN get NaN.
template <class D, class T>
Extremes<D> tridiagonal_extremes(D d, Index n, const T* diagonal, const T* squares) {
  const auto lanes = static_cast<Index>(hn::Lanes(d));
  const auto infinity = hn::Set(d, std::numeric_limits<T>::infinity());
  // Gershgorin's discs enclose all eigenvalues; the diagonal lies between the extreme ones.
  auto top = hn::Neg(infinity);
  auto bottom = hn::Neg(infinity);
  auto top_diagonal = hn::Neg(infinity);
  auto bottom_diagonal = hn::Neg(infinity);
  auto before = hn::Zero(d);
  auto total = hn::Zero(d);
  for (Index i = 0; i < n; ++i) {
    const auto x = load(d, diagonal + i * lanes);
    const auto after = i + 1 < n ? hn::Sqrt(load(d, squares + i * lanes)) : hn::Zero(d);
    const auto radius = hn::Add(before, after);
    top = hn::Max(top, hn::Add(x, radius));
    bottom = hn::Max(bottom, hn::Sub(radius, x));
    top_diagonal = hn::Max(top_diagonal, x);
    bottom_diagonal = hn::Max(bottom_diagonal, hn::Neg(x));
    total = hn::Add(total, hn::Add(x, after));
    before = after;
  }
  const auto scale = hn::Max(hn::Abs(top), hn::Abs(bottom));
  const auto unit = std::numeric_limits<T>::epsilon();
  const auto tolerance = hn::Mul(scale, hn::Set(d, 8 * unit));
  const auto margin = hn::Mul(scale, hn::Set(d, T(1e-3)));
  const auto start = [&](hn::Vec<D> low, hn::Vec<D> high) HWY_ATTR {
    const auto above = hn::Add(high, margin);
    return Enclosure<D>{low, above, above, above, tolerance, tolerance};
  };
  auto largest = start(top_diagonal, top);
  auto smallest = start(bottom_diagonal, bottom);

  constexpr int kMostRounds = 100;
  constexpr int kSingleRounds = 7;
  for (int round = 0; round < kMostRounds; ++round) {
    if (hn::AllFalse(d, hn::Or(largest.open(), smallest.open()))) break;
    Pivots<D> up(d);
    Pivots<D> down(d);
    auto square = hn::Zero(d);
    for (Index i = 0; i < n; ++i) {
      const auto x = load(d, diagonal + i * lanes);
      up.advance(d, hn::Sub(largest.at, x), square);
      down.advance(d, hn::Add(smallest.at, x), square);
      if (i + 1 < n) square = load(d, squares + i * lanes);
    }
    narrow(d, up, n, round >= kSingleRounds, largest);
    narrow(d, down, n, round >= kSingleRounds, smallest);
  }
  // Laguerre's last step is nearer to the zero than the middle of its bounds.
  const auto zero = [&](const Enclosure<D>& e)
                        HWY_ATTR { return hn::Min(hn::Max(e.safe, e.low), e.high); };
  // Max drops NaN: `total` has kept it.
  const auto finite = hn::Eq(total, total);
  const auto nan = hn::Set(d, std::numeric_limits<T>::quiet_NaN());
  return {hn::IfThenElse(finite, hn::Neg(zero(smallest)), nan),
          hn::IfThenElse(finite, zero(largest), nan)};
}

// Of a symmetric matrix given by its lower triangle, which is destroyed. work: [4 n].
template <class D, class T>
Extremes<D> extreme_eigenvalues(D d, const Matrix<T>& a, T* work) {
  const Index stride = a.rows * static_cast<Index>(hn::Lanes(d));
  tridiagonalise(d, a, work, work + stride, work + 2 * stride);
  return tridiagonal_extremes(d, a.rows, work, work + stride);
}

}  // namespace pcxx::ensemble::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // PCXX_ENSEMBLE_LINALG_INL_H
