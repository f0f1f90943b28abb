#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <type_traits>

/// Loops over the windows of images: of pooling, and the patches of a convolution. They are for
/// contiguous float32 and float64 on the CPU, and many times as fast there as LibTorch's.
namespace pcxx::nn::windows {

/// Images of some channels, and windows in them: padding counts for patches alone.
struct Geometry {
  std::int64_t channels, height, width;
  std::int64_t kernel, stride, padding;

  std::int64_t rows() const { return (height + 2 * padding - kernel) / stride + 1; }
  std::int64_t columns() const { return (width + 2 * padding - kernel) / stride + 1; }
  std::int64_t pixels() const { return channels * height * width; }
  std::int64_t windows() const { return rows() * columns(); }
};

/// Where a number T stands in its channel's image.
template <typename T>
using PlaceOf = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;

/// Whether the loops take numbers like these.
bool apply_to(const at::Tensor& x);

struct Maxima {
  at::Tensor values;  // [.., C P] of P windows
  at::Tensor where;   // the place of each in its channel's image; integers as wide as the numbers
};

/// The largest pixel of each window, the first of equals, as torch::max_pool2d. images [.., C H W].
Maxima maxima(const at::Tensor& images, const Geometry& geometry);

/// Signals [.., C P] added up where the maxima stood, [.., C H W].
at::Tensor put(const at::Tensor& signal, const at::Tensor& where, const Geometry& geometry);

/// The mean of each window, [.., C P], and its transpose, [.., C H W].
at::Tensor means(const at::Tensor& images, const Geometry& geometry);
at::Tensor spread(const at::Tensor& signal, const Geometry& geometry);

/// Every patch, [.., B P, C k^2], its numbers in the order of torch::im2col. images [.., B, C H W].
at::Tensor patches(const at::Tensor& images, const Geometry& geometry);

}  // namespace pcxx::nn::windows
