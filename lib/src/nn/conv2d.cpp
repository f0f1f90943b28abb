#include <ATen/ATen.h>
#include <pcxx/core/error.h>
#include <pcxx/nn/conv2d.h>
#include <pcxx/nn/fused.h>

#include <cmath>

#include "nn/image_rows.h"
#include "nn/layer_parts.h"
#include "nn/windows.h"

namespace pcxx::nn {
namespace {

// [.., B P, n] of maps [B, n, P].
at::Tensor rows(const at::Tensor& maps, const at::Tensor& like) {
  auto shape = like.sizes().vec();
  shape[shape.size() - 2] *= maps.size(2);
  shape.back() = maps.size(1);
  return maps.transpose(1, 2).reshape(shape);
}

windows::Geometry geometry_of(const Conv2dOptions& o) {
  return {o.in_channels(), o.height(), o.width(), o.kernel(), o.stride(), o.padding()};
}

const Conv2dOptions& checked(const Conv2dOptions& o) {
  TORCH_CHECK(o.in_channels() > 0 && o.out_channels() > 0 && o.height() > 0 && o.width() > 0,
              "a convolution needs positive channels and sizes, not ", o.in_channels(), " -> ",
              o.out_channels(), " of ", o.height(), " x ", o.width());
  TORCH_CHECK(o.kernel() > 0 && o.stride() > 0 && o.padding() >= 0,
              "a convolution needs a positive kernel and stride and no negative padding, not ",
              o.kernel(), ", ", o.stride(), " and ", o.padding());
  TORCH_CHECK(o.kernel() <= std::min(o.height(), o.width()) + 2 * o.padding(), "a kernel of ",
              o.kernel(), " x ", o.kernel(), " is larger than an image of ", o.height(), " x ",
              o.width(), " with padding ", o.padding());
  return o;
}

}  // namespace

Conv2d::Conv2d(const Conv2dOptions& given)
    : Layer(checked(given).in_features(), checked(given).out_features()), options(given) {
  weight = register_parameter("weight", torch::zeros({options.out_channels(), options.in_channels(),
                                                      options.kernel(), options.kernel()}));
  if (options.bias()) bias = register_parameter("bias", torch::zeros({options.out_channels()}));
}

void Conv2d::pretty_print(std::ostream& stream) const {
  stream << "pcxx::nn::Conv2d(" << options.in_channels() << " -> " << options.out_channels()
         << ", kernel=" << options.kernel() << ", stride=" << options.stride()
         << ", padding=" << options.padding() << ", " << nn::name(options.activation());
  if (options.bias()) stream << ", bias";
  stream << ", images of " << options.height() << " x " << options.width() << ")";
}

std::string Conv2d::description() const {
  return c10::str("conv2d(channels=", options.out_channels(), ", kernel=", options.kernel(),
                  ", stride=", options.stride(), ", padding=", options.padding(),
                  ", activation=", nn::name(options.activation()),
                  ", bias=", options.bias() ? "true" : "false", ", input=", options.in_channels(),
                  "x", options.height(), "x", options.width(), ")");
}

at::Tensor Conv2d::images(const at::Tensor& x) const {
  return x.reshape({-1, options.in_channels(), options.height(), options.width()});
}

at::Tensor Conv2d::convolved(const at::Tensor& x, const at::Tensor& kernels,
                             const at::Tensor& b) const {
  const auto maps =
      at::convolution(images(x), kernels, b.defined() ? std::optional(b) : std::nullopt,
                      both(options.stride()), both(options.padding()), both(1), false, both(0), 1);
  return flat(maps, x);
}

at::Tensor Conv2d::forward(const at::Tensor& x) const {
  return activate(convolved(x, weight, bias), options.activation());
}

LayerOutput Conv2d::run(const at::Tensor& x) const {
  const at::NoGradGuard no_grad;
  const auto& f = options.activation().function();
  auto z = convolved(x, weight, bias);
  if (!f.slope_of_output) return {z, f.value(z)};
  activate_(z, options.activation());
  return {z, z};
}

void Conv2d::draw_(at::Generator generator) {
  const at::NoGradGuard no_grad;
  const double bound = 1 / std::sqrt(static_cast<double>(weight[0].numel()));
  weight.uniform_(-bound, bound, std::move(generator));
  if (bias.defined()) bias.zero_();
}

void Conv2d::draw_member_(std::int64_t, const DrawWeight& draw, at::Generator generator) {
  const at::NoGradGuard no_grad;
  weight.copy_(draw(options.out_channels(), weight[0].numel(), generator).view(weight.sizes()));
  if (bias.defined()) bias.zero_();
}

at::Tensor Conv2d::units(const at::Tensor& x) const {
  const at::NoGradGuard no_grad;
  if (windows::apply_to(x)) return windows::patches(x, geometry_of(options));
  return rows(at::im2col(images(x), both(options.kernel()), both(1), both(options.padding()),
                         both(options.stride())),
              x);
}

Pulled Conv2d::pull_back(const at::Tensor& x, const Kept& kept, const at::Tensor& signal,
                         Wanted wanted) const {
  const at::NoGradGuard no_grad;
  const auto error =
      fused::times_slope(signal, kept, options.activation())
          .reshape({-1, options.out_channels(), options.out_height(), options.out_width()});
  Pulled pulled;
  if (wanted.parameters) pulled.error = rows(error.flatten(2), signal);
  if (!wanted.input) return pulled;
  const auto below = at::convolution_backward(error, images(x), weight, std::nullopt,
                                              both(options.stride()), both(options.padding()),
                                              both(1), false, both(0), 1, {true, false, false});
  pulled.input = flat(std::get<0>(below), signal);
  return pulled;
}

at::Tensor Conv2d::push_forward(const at::Tensor& x, const Kept& kept, const at::Tensor& tangent,
                                const std::vector<at::Tensor>& directions) const {
  const at::NoGradGuard no_grad;
  const auto direction = [&](std::size_t i) {
    return i < directions.size() ? directions[i] : at::Tensor();
  };
  at::Tensor change = at::zeros_like(kept.output);
  if (const auto d = direction(0), db = direction(1); d.defined() || db.defined()) {
    change.add_(convolved(x, d.defined() ? d : at::zeros_like(weight), db));
  }
  if (tangent.defined()) change.add_(convolved(tangent, weight, {}));
  multiply_slope_(change, kept, options.activation());
  return change;
}

at::Tensor Conv2d::moved(const at::Tensor& x, const std::vector<at::Tensor>& directions,
                         double rate) const {
  const at::NoGradGuard no_grad;
  const auto at_rate = [&](const at::Tensor& parameter, std::size_t i) {
    const bool moves = i < directions.size() && directions[i].defined();
    return moves ? at::add(parameter, directions[i], rate) : parameter;
  };
  return activate(convolved(x, at_rate(weight, 0), at_rate(bias, 1)), options.activation());
}

namespace {

struct Conv2dKeys {
  std::int64_t channels = 0;
  std::int64_t kernel = 3;
  std::int64_t stride = 1;
  std::int64_t padding = 0;
  Activation activation = Activation::kIdentity;
  bool bias = false;
  std::string input = {};
};

Conv2dOptions conv2d_options(const Conv2dKeys& keys, const LayerPlace& at) {
  if (keys.channels == 0) user_error("{} has no channels", at.place);
  const auto [in, height, width] = image_below(keys.input, at);
  if (keys.kernel > std::min(height, width) + 2 * keys.padding) {
    user_error("{}: a kernel of {} is larger than the image of {} x {} with padding {}", at.place,
               keys.kernel, height, width, keys.padding);
  }
  return Conv2dOptions(in, keys.channels, keys.kernel)
      .size(height, width)
      .stride(keys.stride)
      .padding(keys.padding)
      .activation(keys.activation)
      .bias(keys.bias);
}

double product(std::initializer_list<std::int64_t> factors) {
  double result = 1;
  for (const auto factor : factors) result *= static_cast<double>(factor);
  return result;
}

StackedLayer make_conv2d(const Conv2dKeys& keys, const LayerPlace& at) {
  const auto options = conv2d_options(keys, at);
  const ImageShape image{options.out_channels(), options.out_height(), options.out_width()};
  auto dense = DenseOptions(options.in_features(), options.out_features())
                   .activation(options.activation())
                   .bias(options.bias());
  return {
      .dense = std::move(dense),
      .maker = [options](std::int64_t, std::int64_t) { return std::make_shared<Conv2d>(options); },
      .image = image,
      .weights = product(
          {options.kernel(), options.kernel(), options.in_channels(), options.out_channels()})};
}

config::Key size(std::string name, double minimum) {
  return {.name = std::move(name), .minimum = minimum, .maximum = kMostInALayer};
}

}  // namespace

LayerKind conv2d_kind(const NamedActivations& activations) {
  auto channels = size("channels", 1);
  channels.zero_is_off = true;
  const auto keys = config::OptionKeys<Conv2dKeys>()
                        .add(&Conv2dKeys::channels, std::move(channels))
                        .add(&Conv2dKeys::kernel, size("kernel", 1))
                        .add(&Conv2dKeys::stride, size("stride", 1))
                        .add(&Conv2dKeys::padding, size("padding", 0))
                        .add(&Conv2dKeys::activation, {.name = "activation"}, activations)
                        .add(&Conv2dKeys::bias, {.name = "bias"})
                        .add(&Conv2dKeys::input, {.name = "input"});
  LayerKind kind;
  kind.name = "conv2d";
  kind.doc = "convolution of images with a square kernel";
  kind.options = keys.keys();
  kind.make = [keys](const config::Config& own, const LayerPlace& at) {
    return make_conv2d(keys.read(own), at);
  };
  return kind;
}

}  // namespace pcxx::nn
