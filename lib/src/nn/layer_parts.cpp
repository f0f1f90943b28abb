#include "nn/layer_parts.h"

#include <pcxx/core/error.h>

#include <algorithm>
#include <charconv>

#include "core/text.h"

namespace pcxx::nn {
namespace {

// Of "3x32x32"; zeros of any other text.
ImageShape parse_shape(std::string_view text) {
  ImageShape shape{};
  for (std::size_t i = 0; i < shape.size(); ++i) {
    const auto end = i + 1 < shape.size() ? text.find('x') : text.size();
    if (end == std::string_view::npos) return {};
    const auto* last = text.data() + end;
    const auto [stop, error] = std::from_chars(text.data(), last, shape[i]);
    if (error != std::errc() || stop != last || shape[i] < 1 || shape[i] > kMostInALayer) return {};
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return shape;
}

}  // namespace

ImageShape image_below(const std::string& input, const LayerPlace& at) {
  const auto shape = input.empty() ? at.image : parse_shape(input);
  if (!input.empty() && shape[0] * shape[1] * shape[2] != at.below) {
    user_error(
        "{}: input = {} is not channels x height x width of the {} units below, as in 3x32x32",
        at.place, shortened(input), at.below);
  }
  if (shape[0] == 0) {
    user_error("{} needs an image below: input = 3x32x32 would say of which shape its {} units are",
               at.place, at.below);
  }
  return shape;
}

config::Key width_key() {
  return {.name = "width", .minimum = 1, .maximum = kMostInALayer, .zero_is_off = true};
}

std::int64_t width_of(std::int64_t width, const LayerPlace& at) {
  if (width > 0) return width;
  if (at.outputs == 0) {
    user_error("{} has no width, which only the last layer may leave to the targets", at.place);
  }
  return at.outputs;
}

}  // namespace pcxx::nn
