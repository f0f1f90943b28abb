#include <ATen/ATen.h>
#include <pcxx/linalg/products.h>
#include <pcxx/optim/rescaling.h>

#include "nn/bias_unit.h"
#include "optim/gradients.h"
#include "optim/parts.h"

namespace pcxx::optim {
namespace {

// Of the weight's shape, as the matrix that multiplies the layer's units.
at::Tensor as_matrix(const at::Tensor& weight, const learning::LayerFactors& layer) {
  if (weight.dim() == layer.error.dim()) return weight;
  auto shape = layer.error.sizes().vec();
  shape[shape.size() - 2] = shape.back();
  shape.back() = layer.presynaptic.size(-1);
  return weight.view(shape);
}

}  // namespace

std::vector<at::Tensor> Rescaling::sums(const learning::LayerFactors&) const {
  return {};
}

void Rescaling::write_gradients(const std::vector<learning::LayerFactors>& layers) {
  const at::NoGradGuard no_grad;
  const auto found = directions(layers);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    write_negative(layers[i].weight, found[i].weight);
    write_negative(layers[i].bias, found[i].bias);
  }
}

void Plain::write_gradients(const std::vector<learning::LayerFactors>& layers) {
  const at::NoGradGuard no_grad;
  for (const auto& layer : layers) {
    const double scale = -1.0 / static_cast<double>(layer.samples);
    if (!layer.sums.empty()) {
      const auto sum = split_bias_unit(layer.sums.front() * scale, layer);
      if (auto grad = gradient_of(layer.weight); grad.defined()) {
        grad.view(sum.weight.sizes()).copy_(sum.weight);
      }
      if (auto grad = gradient_of(layer.bias); grad.defined()) {
        grad.view(sum.bias.sizes()).copy_(sum.bias);
      }
      continue;
    }
    if (auto grad = gradient_of(layer.weight); grad.defined()) {
      auto matrix = as_matrix(grad, layer);
      linalg::product_out(matrix, layer.error.mT(), layer.presynaptic, scale);
    }
    if (auto grad = gradient_of(layer.bias); grad.defined()) {
      auto row = grad.dim() + 1 == layer.error.dim() ? grad : grad.unsqueeze(0);
      at::sum_out(row, layer.error, {-2}).mul_(scale * layer.bias_unit);
    }
  }
}

at::Tensor with_bias_unit(const at::Tensor& activity, const learning::LayerFactors& layer) {
  return nn::with_bias_unit(activity, layer.bias, layer.bias_unit);
}

Direction split_bias_unit(const at::Tensor& direction, const learning::LayerFactors& layer) {
  if (!layer.bias.defined()) return {.weight = direction, .bias = {}};
  const auto inputs = direction.size(-1) - 1;
  return {.weight = direction.slice(-1, 0, inputs), .bias = direction.select(-1, inputs)};
}

std::vector<Direction> Plain::directions(const std::vector<learning::LayerFactors>& layers) {
  std::vector<Direction> result;
  for (const auto& layer : layers) {
    if (!layer.sums.empty()) {
      const auto mean = layer.sums.front() / static_cast<double>(layer.samples);
      result.push_back(split_bias_unit(mean, layer));
      continue;
    }
    result.push_back(
        {.weight = learning::weight_direction(layer),
         .bias = layer.bias.defined() ? learning::bias_direction(layer) : at::Tensor()});
  }
  return result;
}

std::vector<at::Tensor> Plain::sums(const learning::LayerFactors& layer) const {
  const auto product = linalg::product(layer.error.mT(), layer.presynaptic);
  if (!layer.bias.defined()) return {product};
  const auto of_bias = layer.error.sum(-2).mul_(layer.bias_unit);
  return {at::cat({product, of_bias.unsqueeze(-1)}, -1)};
}

RescalingPart plain_part() {
  RescalingPart part;
  part.name = "none";
  part.make = [](const config::Config&) { return std::make_unique<Plain>(); };
  part.lanes = [](const config::Config&, ensemble::Problem&) {};
  part.predicts = [](const config::Config&, metrics::PredictionOptions&) {};
  return part;
}

}  // namespace pcxx::optim
