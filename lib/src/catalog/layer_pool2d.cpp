#include <pcxx/core/error.h>
#include <pcxx/nn/pool2d.h>

#include <algorithm>

#include "catalog/layer_kinds.h"

namespace pcxx::catalog {
namespace {

struct PoolKeys {
  std::int64_t kernel = 2;
  std::int64_t stride = 0;
  std::string input = {};
};

StackedLayer make_pool(nn::Pooling pooling, const PoolKeys& keys, const LayerPlace& at) {
  const auto [channels, height, width] = image_below(keys.input, at);
  if (keys.kernel > std::min(height, width)) {
    user_error("{}: a window of {} is larger than the image of {} x {}", at.place, keys.kernel,
               height, width);
  }
  auto options = nn::Pool2dOptions(channels, keys.kernel).size(height, width).pooling(pooling);
  if (keys.stride > 0) options.stride(keys.stride);
  return {.dense = nn::DenseOptions(options.in_features(), options.out_features()),
          .maker = [options](std::int64_t,
                             std::int64_t) { return std::make_shared<nn::Pool2d>(options); },
          .image = {channels, options.out_height(), options.out_width()}};
}

LayerKind pool_kind(nn::Pooling pooling, std::string doc) {
  const auto keys =
      config::OptionKeys<PoolKeys>()
          .add(&PoolKeys::kernel, {.name = "kernel", .minimum = 1, .maximum = kMostInALayer})
          .add(&PoolKeys::stride,
               {.name = "stride", .minimum = 1, .maximum = kMostInALayer, .zero_is_off = true})
          .add(&PoolKeys::input, {.name = "input"});
  LayerKind kind;
  kind.name = name_of(pooling);
  kind.doc = std::move(doc);
  kind.options = keys.keys();
  kind.make = [keys, pooling](const config::Config& own, const LayerPlace& at) {
    return make_pool(pooling, keys.read(own), at);
  };
  return kind;
}

}  // namespace

LayerKind max_pool_kind() {
  return pool_kind(nn::Pooling::kMax, "the largest number of each window of an image");
}

LayerKind avg_pool_kind() {
  return pool_kind(nn::Pooling::kAverage, "the mean of each window of an image");
}

}  // namespace pcxx::catalog
