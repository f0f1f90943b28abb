#include "learning/layer_update.h"

#include <ATen/ATen.h>

namespace pcxx::learning {

namespace {

// Rows of units that a sample has.
std::int64_t locations(const at::Tensor& units, const at::Tensor& activity) {
  return activity.size(-2) == 0 ? 1 : units.size(-2) / activity.size(-2);
}

}  // namespace

void add_update(Step& step, std::size_t l, const nn::Layer& layer, nn::Pulled pulled,
                const at::Tensor& presynaptic, const at::Tensor& feedforward,
                std::int64_t samples) {
  const at::NoGradGuard no_grad;
  if (pulled.error.defined()) {
    auto [weight, bias] = layer.affine();
    const auto units = layer.units(presynaptic);
    step.layers.push_back(
        {.weight = std::move(weight),
         .bias = std::move(bias),
         .error = std::move(pulled.error),
         .presynaptic = units,
         .feedforward = feedforward.is_same(presynaptic) ? units : layer.units(feedforward),
         .samples = samples,
         .locations = locations(units, presynaptic)});
    return;
  }
  for (auto& sum : pulled.parameters) {
    if (sum.defined()) sum = sum / static_cast<double>(samples);
  }
  step.own.push_back(
      {.layer = l, .parameters = layer.parameters(), .directions = std::move(pulled.parameters)});
}

}  // namespace pcxx::learning
