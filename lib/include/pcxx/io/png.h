#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace pcxx::io {

/// A grey picture, [rows, columns] of uint8 on the CPU, as a PNG file.
std::string png(const at::Tensor& pixels);

}  // namespace pcxx::io
