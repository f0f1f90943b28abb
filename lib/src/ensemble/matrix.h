#pragma once

#include <cstddef>

/// Matrices of an ensemble, interleaved: element (i, j) of W networks stands in W consecutive
/// numbers, so that one SIMD lane is one network.
namespace pcxx::ensemble {

/// A view of such a matrix. Strides count numbers, lanes included, and may be negative: a transpose
/// or a reversal costs nothing.
template <typename T>
struct Matrix {
  T* data = nullptr;
  std::ptrdiff_t rows = 0;
  std::ptrdiff_t cols = 0;
  std::ptrdiff_t row = 0;  // from one row to the next
  std::ptrdiff_t col = 0;

  T* at(std::ptrdiff_t i, std::ptrdiff_t j) const { return data + i * row + j * col; }

  Matrix t() const { return {data, cols, rows, col, row}; }
  Matrix block(std::ptrdiff_t i, std::ptrdiff_t j, std::ptrdiff_t height,
               std::ptrdiff_t width) const {
    return {at(i, j), height, width, row, col};
  }
  Matrix last_rows_first() const { return {at(rows - 1, 0), rows, cols, -row, col}; }
  /// The transpose of a lower triangle seen as a lower triangle itself, rows and columns backwards.
  Matrix upper_as_lower() const { return {at(cols - 1, rows - 1), cols, rows, -col, -row}; }
};

/// Rows are padded to an odd number of vectors: a power of two would send a column's elements to
/// the same few sets of the cache.
constexpr std::ptrdiff_t padded(std::ptrdiff_t cols) {
  return cols | 1;
}

constexpr std::ptrdiff_t footprint(std::ptrdiff_t rows, std::ptrdiff_t cols, std::ptrdiff_t lanes) {
  return rows * padded(cols) * lanes;
}

template <typename T>
Matrix<T> matrix_at(T* data, std::ptrdiff_t rows, std::ptrdiff_t cols, std::ptrdiff_t lanes) {
  return {data, rows, cols, padded(cols) * lanes, lanes};
}

}  // namespace pcxx::ensemble
