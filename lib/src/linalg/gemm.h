#pragma once

#include <cstdint>

namespace pcxx::linalg::gemm {

/// A matrix anywhere in memory: element (i, j) at data[i * row + j * column].
template <typename T>
struct Matrix {
  T* data;
  std::int64_t row;
  std::int64_t column;

  T* at(std::int64_t i, std::int64_t j) const { return data + i * row + j * column; }
};

/// c <- beta c + alpha a b, with a [m, k], b [k, n] and c [m, n] whose column stride is 1. An
/// element of c is summed in the same order whatever m and n are. Of a `lower` product only the
/// elements on and below c's diagonal are right; what is above may not have been computed.
template <typename T>
struct Product {
  std::int64_t m;
  std::int64_t n;
  std::int64_t k;
  T alpha;
  Matrix<const T> a;
  Matrix<const T> b;
  T beta;
  Matrix<T> c;
  bool lower = false;
};

/// Multiplications that a thread should have at least.
inline constexpr std::int64_t kGrain = std::int64_t{1} << 20;

/// Whether these loops are the faster choice on this processor.
bool preferred();

void run(const Product<float>& product);
void run(const Product<double>& product);

/// The same at little more than half the cost for a symmetric c [m, m], whose lower triangle is
/// computed, by several threads if it is large, and copied.
void run_symmetric(const Product<float>& product);
void run_symmetric(const Product<double>& product);

}  // namespace pcxx::linalg::gemm
