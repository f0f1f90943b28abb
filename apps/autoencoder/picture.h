#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

/// Rows of grey images as one picture of uint8: rows[i] is [count, rows * columns] with values in
/// [0, 1], one picture row each, with thin lines between.
at::Tensor picture(const std::vector<at::Tensor>& rows, std::int64_t image_rows,
                   std::int64_t image_columns);
