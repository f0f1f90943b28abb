#include <pcxx/core/error.h>
#include <pcxx/nn/conv2d.h>

#include <algorithm>

#include "catalog/amounts.h"
#include "catalog/layer_kinds.h"
#include "catalog/registry.h"

namespace pcxx::catalog {
namespace {

struct Conv2dKeys {
  std::int64_t channels = 0;
  std::int64_t kernel = 3;
  std::int64_t stride = 1;
  std::int64_t padding = 0;
  nn::Activation activation = nn::Activation::kIdentity;
  bool bias = false;
  std::string input = {};
};

nn::Conv2dOptions conv2d_options(const Conv2dKeys& keys, const LayerPlace& at) {
  if (keys.channels == 0) user_error("{} has no channels", at.place);
  const auto [in, height, width] = image_below(keys.input, at);
  if (keys.kernel > std::min(height, width) + 2 * keys.padding) {
    user_error("{}: a kernel of {} is larger than the image of {} x {} with padding {}", at.place,
               keys.kernel, height, width, keys.padding);
  }
  return nn::Conv2dOptions(in, keys.channels, keys.kernel)
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
  check_numbers(product({image[0], image[1], image[2]}), "the units of a convolution");
  auto dense = nn::DenseOptions(options.in_features(), options.out_features())
                   .activation(options.activation())
                   .bias(options.bias());
  return {.dense = std::move(dense),
          .maker = [options](std::int64_t,
                             std::int64_t) { return std::make_shared<nn::Conv2d>(options); },
          .image = image,
          .weights = product(
              {options.kernel(), options.kernel(), options.in_channels(), options.out_channels()})};
}

config::Key size(std::string name, double minimum) {
  return {.name = std::move(name), .minimum = minimum, .maximum = kMostInALayer};
}

}  // namespace

LayerKind conv2d_kind() {
  auto channels = size("channels", 1);
  channels.zero_is_off = true;
  const auto keys = config::OptionKeys<Conv2dKeys>()
                        .add(&Conv2dKeys::channels, std::move(channels))
                        .add(&Conv2dKeys::kernel, size("kernel", 1))
                        .add(&Conv2dKeys::stride, size("stride", 1))
                        .add(&Conv2dKeys::padding, size("padding", 0))
                        .add(&Conv2dKeys::activation, {.name = "activation"}, named_activations())
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

}  // namespace pcxx::catalog
