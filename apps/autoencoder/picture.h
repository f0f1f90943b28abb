#pragma once

#include <ATen/core/Tensor.h>
#include <pcxx/core/files.h>

#include <vector>

/// Writes rows of grey images as one PGM picture: rows[i] is [count, rows * columns] with values in
/// [0, 1], one picture row each, with thin lines between.
void write_picture(pcxx::AtomicFile& file, const std::vector<at::Tensor>& rows,
                   std::int64_t image_rows, std::int64_t image_columns);
