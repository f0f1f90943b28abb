#include <ATen/ATen.h>
#include <pcxx/optim/rescaling.h>

namespace pcxx::optim {

at::Tensor with_bias_unit(const at::Tensor& activity, const learning::LayerFactors& layer) {
  if (!layer.bias.defined()) return activity;
  auto shape = activity.sizes().vec();
  shape.back() = 1;
  return at::cat({activity, at::ones(shape, activity.options())}, -1);
}

Direction split_bias_unit(const at::Tensor& direction, const learning::LayerFactors& layer) {
  if (!layer.bias.defined()) return {.weight = direction, .bias = {}};
  const auto inputs = direction.size(-1) - 1;
  return {.weight = direction.slice(-1, 0, inputs), .bias = direction.select(-1, inputs)};
}

std::vector<Direction> Plain::directions(const std::vector<learning::LayerFactors>& layers) {
  std::vector<Direction> result;
  for (const auto& layer : layers) {
    result.push_back(
        {.weight = learning::weight_direction(layer),
         .bias = layer.bias.defined() ? learning::bias_direction(layer) : at::Tensor()});
  }
  return result;
}

}  // namespace pcxx::optim
