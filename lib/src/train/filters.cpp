#include <ATen/ATen.h>
#include <pcxx/io/png.h>
#include <pcxx/train/filters.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace pcxx::train {
namespace {

constexpr std::int64_t kLine = 4;    // white pixels between filters
constexpr std::int64_t kBand = 16;   // and between models
constexpr std::int64_t kLeast = 56;  // pixels that a filter's longer side has at least
constexpr std::uint8_t kWhite = 255;

// Undefined where no layer has one.
at::Tensor first_weight(const nn::NetworkImpl& network) {
  for (std::size_t l = 1; l <= network.size(); ++l) {
    for (const auto& module : network.layer(l).modules()) {
      const auto* layer = dynamic_cast<const nn::Layer*>(module.get());
      if (layer == nullptr) continue;
      if (const auto weight = layer->affine().weight; weight.defined()) return weight;
    }
  }
  return {};
}

// [filters, height, width] of a weight [n_out, n_in] or [channels, C, kernel, kernel].
at::Tensor as_images(const at::Tensor& weight, std::int64_t rows, std::int64_t columns) {
  if (weight.dim() == 4) return weight.flatten(1, 2);
  const auto inputs = weight.size(1);
  if (inputs == rows * columns) return weight.view({-1, rows, columns});
  const auto side = std::llround(std::sqrt(static_cast<double>(inputs)));
  return side * side == inputs ? weight.view({-1, side, side}) : weight.view({-1, 1, inputs});
}

// Each by its largest magnitude.
at::Tensor as_bytes(const at::Tensor& images) {
  const auto largest = images.abs().amax({1, 2}, true);
  const auto scaled = images / largest.clamp_min(std::numeric_limits<double>::min());
  return scaled.mul(127).add(128).round().to(at::kByte);
}

at::Tensor grid(const at::Tensor& images) {
  const auto count = images.size(0);
  const auto across = std::llround(std::ceil(std::sqrt(static_cast<double>(count))));
  const auto height = images.size(1) + kLine;
  const auto width = images.size(2) + kLine;
  const auto down = (count + across - 1) / across;
  auto canvas = at::full({down * height - kLine, across * width - kLine}, kWhite, at::kByte);
  for (std::int64_t i = 0; i < count; ++i) {
    canvas.narrow(0, i / across * height, images.size(1))
        .narrow(1, i % across * width, images.size(2))
        .copy_(images[i]);
  }
  return canvas;
}

// One below the other, with white at their right.
at::Tensor stacked(const std::vector<at::Tensor>& pictures) {
  std::int64_t width = 0;
  for (const auto& picture : pictures) width = std::max(width, picture.size(1));
  std::vector<at::Tensor> rows;
  for (const auto& picture : pictures) {
    if (!rows.empty()) rows.push_back(at::full({kBand, width}, kWhite, at::kByte));
    rows.push_back(at::constant_pad_nd(picture, {0, width - picture.size(1)}, kWhite));
  }
  return at::cat(rows);
}

}  // namespace

at::Tensor filters(const nn::NetworkImpl& network, std::int64_t rows, std::int64_t columns) {
  const at::NoGradGuard no_grad;
  const auto weight = first_weight(network);
  if (!weight.defined()) return {};
  const auto shown = weight.slice(0, 0, kMostFilters).to(at::kCPU, at::kDouble);
  const auto images = as_images(shown.contiguous(), rows, columns);
  const auto larger = std::max<std::int64_t>(1, kLeast / std::max(images.size(1), images.size(2)));
  return grid(as_bytes(images).repeat_interleave(larger, 1).repeat_interleave(larger, 2));
}

void write_filters(run::Run& run, const ImageSets& sets, const std::vector<ImageModel>& results) {
  std::vector<at::Tensor> pictures;
  for (const auto& result : results) {
    if (result.networks.empty()) continue;
    auto picture = filters(*result.networks.front(), sets.test.rows, sets.test.columns);
    if (!picture.defined()) continue;
    pictures.push_back(std::move(picture));
    run.summary()["filter_models"].push_back(result.summary["model"]);
  }
  if (!pictures.empty()) run.folder().write("filters.png", io::png(stacked(pictures)));
}

}  // namespace pcxx::train
