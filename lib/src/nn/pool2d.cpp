#include <ATen/ATen.h>
#include <pcxx/core/error.h>
#include <pcxx/nn/pool2d.h>

#include <algorithm>

#include "nn/image_rows.h"
#include "nn/layer_parts.h"
#include "nn/windows.h"

namespace pcxx::nn {
namespace {

const Pool2dOptions& checked(const Pool2dOptions& o) {
  TORCH_CHECK(o.channels() > 0 && o.height() > 0 && o.width() > 0,
              "pooling needs positive channels and sizes, not ", o.channels(), " of ", o.height(),
              " x ", o.width());
  TORCH_CHECK(o.kernel() > 0 && o.stride() > 0, "pooling needs a positive window and stride, not ",
              o.kernel(), " and ", o.stride());
  TORCH_CHECK(o.kernel() <= std::min(o.height(), o.width()), "a window of ", o.kernel(), " x ",
              o.kernel(), " is larger than an image of ", o.height(), " x ", o.width());
  return o;
}

windows::Geometry geometry_of(const Pool2dOptions& o) {
  return {o.channels(), o.height(), o.width(), o.kernel(), o.stride(), 0};
}

}  // namespace

Pool2d::Pool2d(const Pool2dOptions& given)
    : Layer(checked(given).in_features(), checked(given).out_features()), options(given) {}

void Pool2d::pretty_print(std::ostream& stream) const {
  stream << "pcxx::nn::Pool2d(" << name_of(options.pooling()) << ", kernel=" << options.kernel()
         << ", stride=" << options.stride() << ", " << options.channels() << " images of "
         << options.height() << " x " << options.width() << ")";
}

std::string Pool2d::description() const {
  return c10::str(name_of(options.pooling()), "(kernel=", options.kernel(),
                  ", stride=", options.stride(), ", input=", options.channels(), "x",
                  options.height(), "x", options.width(), ")");
}

at::Tensor Pool2d::images(const at::Tensor& x) const {
  return x.reshape({-1, options.channels(), options.height(), options.width()});
}

at::Tensor Pool2d::forward(const at::Tensor& x) const {
  const auto kernel = both(options.kernel());
  const auto stride = both(options.stride());
  return flat(options.pooling() == Pooling::kMax ? at::max_pool2d(images(x), kernel, stride)
                                                 : at::avg_pool2d(images(x), kernel, stride),
              x);
}

LayerOutput Pool2d::run(const at::Tensor& x) const {
  const at::NoGradGuard no_grad;
  if (windows::apply_to(x)) {
    if (options.pooling() == Pooling::kAverage) {
      const auto y = windows::means(x, geometry_of(options));
      return {y, y};
    }
    const auto found = windows::maxima(x, geometry_of(options));
    return {found.where, found.values};
  }
  if (options.pooling() == Pooling::kAverage) {
    const auto y = forward(x);
    return {y, y};
  }
  const auto [y, where] =
      at::max_pool2d_with_indices(images(x), both(options.kernel()), both(options.stride()));
  return {flat(where, x), flat(y, x)};
}

Pulled Pool2d::pull_back(const at::Tensor& x, const Kept& kept, const at::Tensor& signal,
                         Wanted wanted) const {
  const at::NoGradGuard no_grad;
  if (!wanted.input) return {};
  const bool of_maxima = options.pooling() == Pooling::kMax;
  if (windows::apply_to(x) && windows::apply_to(signal)) {
    const auto geometry = geometry_of(options);
    return {.input = of_maxima ? windows::put(signal, kept, geometry)
                               : windows::spread(signal, geometry)};
  }
  const std::vector<std::int64_t> out{-1, options.channels(), options.out_height(),
                                      options.out_width()};
  const auto kernel = both(options.kernel());
  const auto stride = both(options.stride());
  const auto of_images = signal.reshape(out);
  const auto below = of_maxima ? at::max_pool2d_with_indices_backward(
                                     of_images, images(x), kernel, stride, both(0), both(1), false,
                                     kept.output.reshape(out).to(at::kLong))
                               : at::avg_pool2d_backward(of_images, images(x), kernel, stride,
                                                         both(0), false, true, std::nullopt);
  return {.input = flat(below, signal)};
}

at::Tensor Pool2d::push_forward(const at::Tensor& x, const Kept& kept, const at::Tensor& tangent,
                                const std::vector<at::Tensor>&) const {
  const at::NoGradGuard no_grad;
  if (!tangent.defined()) return at::zeros(kept.output.sizes(), x.options());
  if (options.pooling() == Pooling::kAverage) return run(tangent).prediction;
  const auto of_channels = tangent.reshape({-1, options.height() * options.width()});
  const auto where = kept.output.reshape({-1, options.out_height() * options.out_width()});
  return of_channels.gather(-1, where.to(at::kLong)).reshape(kept.output.sizes());
}

at::Tensor Pool2d::moved(const at::Tensor& x, const std::vector<at::Tensor>&, double) const {
  const at::NoGradGuard no_grad;
  return forward(x);
}

namespace {

struct PoolKeys {
  std::int64_t kernel = 2;
  std::int64_t stride = 0;
  std::string input = {};
};

StackedLayer make_pool(Pooling pooling, const PoolKeys& keys, const LayerPlace& at) {
  const auto [channels, height, width] = image_below(keys.input, at);
  if (keys.kernel > std::min(height, width)) {
    user_error("{}: a window of {} is larger than the image of {} x {}", at.place, keys.kernel,
               height, width);
  }
  auto options = Pool2dOptions(channels, keys.kernel).size(height, width).pooling(pooling);
  if (keys.stride > 0) options.stride(keys.stride);
  return {
      .dense = DenseOptions(options.in_features(), options.out_features()),
      .maker = [options](std::int64_t, std::int64_t) { return std::make_shared<Pool2d>(options); },
      .image = {channels, options.out_height(), options.out_width()}};
}

LayerKind pool_kind(Pooling pooling, std::string doc) {
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
  return pool_kind(Pooling::kMax, "the largest number of each window of an image");
}

LayerKind avg_pool_kind() {
  return pool_kind(Pooling::kAverage, "the mean of each window of an image");
}

}  // namespace pcxx::nn
