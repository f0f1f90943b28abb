#include <pcxx/core/error.h>

#include <algorithm>
#include <charconv>

#include "catalog/layer_kinds.h"
#include "core/text.h"

namespace pcxx::catalog {
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

}  // namespace pcxx::catalog
