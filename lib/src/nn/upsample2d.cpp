#include <ATen/ATen.h>
#include <pcxx/core/error.h>
#include <pcxx/nn/upsample2d.h>

#include "nn/layer_parts.h"

namespace pcxx::nn {
namespace {

const Upsample2dOptions& checked_sizes(const Upsample2dOptions& o) {
  TORCH_CHECK(o.channels() > 0 && o.height() > 0 && o.width() > 0 && o.factor() > 0,
              "upsampling needs a positive factor, channels and sizes, not ", o.factor(), ", ",
              o.channels(), " of ", o.height(), " x ", o.width());
  return o;
}

// Leading sizes of flat images with other features.
std::vector<std::int64_t> with_features(const at::Tensor& x, std::int64_t features) {
  auto shape = x.sizes().vec();
  shape.back() = features;
  return shape;
}

}  // namespace

Upsample2d::Upsample2d(const Upsample2dOptions& given)
    : Layer(checked_sizes(given).in_features(), given.out_features()), options(given) {}

void Upsample2d::pretty_print(std::ostream& stream) const {
  stream << "pcxx::nn::Upsample2d(factor=" << options.factor() << ", " << options.channels()
         << " images of " << options.height() << " x " << options.width() << ")";
}

std::string Upsample2d::description() const {
  return c10::str("upsample(factor=", options.factor(), ", input=", options.channels(), "x",
                  options.height(), "x", options.width(), ")");
}

at::Tensor Upsample2d::forward(const at::Tensor& x) const {
  const auto rows = options.channels() * options.height();
  const auto f = options.factor();
  return x.reshape({-1, rows, 1, options.width(), 1})
      .expand({-1, rows, f, options.width(), f})
      .reshape(with_features(x, out_features()));
}

Pulled Upsample2d::pull_back(const at::Tensor&, const Kept&, const at::Tensor& signal,
                             Wanted wanted) const {
  const at::NoGradGuard no_grad;
  if (!wanted.input) return {};
  const auto f = options.factor();
  const auto squares =
      signal.reshape({-1, options.channels() * options.height(), f, options.width(), f});
  return {.input = squares.sum({2, 4}).reshape(with_features(signal, in_features()))};
}

at::Tensor Upsample2d::push_forward(const at::Tensor&, const Kept& kept, const at::Tensor& tangent,
                                    const std::vector<at::Tensor>&) const {
  const at::NoGradGuard no_grad;
  return tangent.defined() ? forward(tangent) : at::zeros_like(kept.output);
}

at::Tensor Upsample2d::moved(const at::Tensor& x, const std::vector<at::Tensor>&, double) const {
  const at::NoGradGuard no_grad;
  return forward(x);
}

namespace {

struct UpsampleKeys {
  std::int64_t factor = 2;
  std::string input = {};
};

StackedLayer make_upsample(const UpsampleKeys& keys, const LayerPlace& at) {
  const auto [channels, height, width] = image_below(keys.input, at);
  const auto options = Upsample2dOptions(channels, keys.factor).size(height, width);
  if (static_cast<double>(at.below) * static_cast<double>(keys.factor * keys.factor) >
      kMostInALayer) {
    user_error("{}: factor = {} makes more than {:g} units of {} x {} x {}", at.place, keys.factor,
               kMostInALayer, channels, height, width);
  }
  return {.dense = DenseOptions(options.in_features(), options.out_features()),
          .maker = [options](std::int64_t,
                             std::int64_t) { return std::make_shared<Upsample2d>(options); },
          .image = {channels, options.out_height(), options.out_width()}};
}

}  // namespace

LayerKind upsample_kind() {
  const auto keys =
      config::OptionKeys<UpsampleKeys>()
          .add(&UpsampleKeys::factor, {.name = "factor", .minimum = 1, .maximum = 1000})
          .add(&UpsampleKeys::input, {.name = "input"});
  LayerKind kind;
  kind.name = "upsample";
  kind.doc = "every pixel of an image as factor x factor pixels";
  kind.options = keys.keys();
  kind.make = [keys](const config::Config& own, const LayerPlace& at) {
    return make_upsample(keys.read(own), at);
  };
  return kind;
}

}  // namespace pcxx::nn
