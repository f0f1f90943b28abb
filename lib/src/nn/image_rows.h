#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>

/// What layers of images share.
namespace pcxx::nn {

/// A number for height and width.
inline std::array<std::int64_t, 2> both(std::int64_t number) {
  return {number, number};
}

/// [.., B, C H W] of images [B, C, H, W], with the leading sizes of `like`.
inline at::Tensor flat(const at::Tensor& images, const at::Tensor& like) {
  auto shape = like.sizes().vec();
  shape.back() = images.size(1) * images.size(2) * images.size(3);
  return images.reshape(shape);
}

}  // namespace pcxx::nn
