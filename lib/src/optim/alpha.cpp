#include <ATen/ATen.h>
#include <pcxx/optim/alpha.h>

#include "optim/parts.h"

namespace pcxx::optim {
namespace {

// u.xhat or u.u, summed over the samples, per member, [] or [R].
at::Tensor products(const learning::LayerFactors& layer, AlphaDenominator kind) {
  const auto& post = kind == AlphaDenominator::kPresynaptic ? layer.presynaptic : layer.feedforward;
  return (layer.presynaptic * post).sum({-2, -1});
}

// c_l; the bias unit adds its square to the product of every sample, and of each of its locations.
at::Tensor denominator(const learning::LayerFactors& layer, AlphaDenominator kind) {
  auto sum = layer.sums.empty() ? products(layer, kind) : layer.sums.at(1).clone();
  if (layer.bias.defined()) {
    const auto rows = static_cast<double>(layer.samples * layer.locations);
    sum = sum + rows * layer.bias_unit * layer.bias_unit;
  }
  return sum.div_(static_cast<double>(layer.samples));
}

}  // namespace

std::vector<Direction> Alpha::directions(const std::vector<learning::LayerFactors>& layers) {
  const at::NoGradGuard no_grad;
  auto result = Plain().directions(layers);
  at::Tensor first;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    auto c = denominator(layers[i], options_.denominator);
    if (i == 0) first = c;
    if (options_.floor) c = at::maximum(c, *options_.floor * first);
    const auto zero = c.eq(0);
    zero_denominators_ += zero.sum().item<std::int64_t>();
    const auto scale = at::where(zero, at::zeros_like(c), c.reciprocal());
    result[i].weight.mul_(scale.unsqueeze(-1).unsqueeze(-1));
    if (result[i].bias.defined()) result[i].bias.mul_(scale.unsqueeze(-1));
  }
  return result;
}

std::vector<at::Tensor> Alpha::sums(const learning::LayerFactors& layer) const {
  auto sums = Plain().sums(layer);
  sums.push_back(products(layer, options_.denominator));
  return sums;
}

std::map<std::string, double> Alpha::diagnostics() const {
  return {{"zero_denominators", static_cast<double>(zero_denominators_)}};
}

RescalingPart alpha_part() {
  const auto keys =
      config::OptionKeys<AlphaOptions>()
          .add(&AlphaOptions::denominator,
               {.name = "alpha_denominator",
                .doc = "alpha divides by the mean of u.xhat (pre_and_post: before and after "
                       "inference) or u.u (presynaptic)"})
          .add(&AlphaOptions::floor,
               {.name = "alpha_floor",
                .doc = "phi: alpha's denominators are at least phi times the first layer's; 0 is "
                       "off",
                .minimum = 0});
  RescalingPart part;
  part.name = "alpha";
  part.options = keys.keys();
  part.make = [keys](const config::Config& model) {
    return std::make_unique<Alpha>(keys.read(model));
  };
  part.lanes = [keys](const config::Config& model, ensemble::Problem& problem) {
    const auto options = keys.read(model);
    problem.rescaling = ensemble::Rescaling::kAlpha;
    problem.presynaptic_denominator = options.denominator == AlphaDenominator::kPresynaptic;
    problem.floor = options.floor;
  };
  part.predicts = [keys](const config::Config& model, metrics::PredictionOptions& prediction) {
    const auto options = keys.read(model);
    prediction.alpha = true;
    prediction.presynaptic_denominator = options.denominator == AlphaDenominator::kPresynaptic;
    prediction.floor = options.floor;
  };
  return part;
}

}  // namespace pcxx::optim
