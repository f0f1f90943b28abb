#include "picture.h"

#include <ATen/ATen.h>

at::Tensor picture(const std::vector<at::Tensor>& rows, std::int64_t image_rows,
                   std::int64_t image_columns) {
  constexpr std::int64_t kLine = 2;
  const auto count = rows.front().size(0);
  const auto height = static_cast<std::int64_t>(rows.size()) * (image_rows + kLine) - kLine;
  const auto width = count * (image_columns + kLine) - kLine;
  auto canvas = at::full({height, width}, 255, at::kByte);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto bytes = rows[i].to(at::kCPU, at::kFloat).clamp(0, 1).mul(255).round().to(at::kByte);
    for (std::int64_t k = 0; k < count; ++k) {
      canvas.narrow(0, static_cast<std::int64_t>(i) * (image_rows + kLine), image_rows)
          .narrow(1, k * (image_columns + kLine), image_columns)
          .copy_(bytes[k].view({image_rows, image_columns}));
    }
  }
  return canvas;
}
