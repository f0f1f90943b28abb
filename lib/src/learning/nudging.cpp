#include "learning/nudging.h"

#include <ATen/ATen.h>
#include <pcxx/nn/feedforward.h>

#include <cmath>

namespace pcxx::learning {
namespace {

// The rows of both, those of a sample one behind the other, [.., 2 B locations, n].
at::Tensor interleaved(const at::Tensor& a, const at::Tensor& b, std::int64_t locations) {
  auto shape = a.sizes().vec();
  shape[shape.size() - 2] /= locations;
  shape.insert(shape.end() - 1, locations);
  auto together = a.sizes().vec();
  together[together.size() - 2] *= 2;
  return at::stack({a.reshape(shape), b.reshape(shape)}, -3).reshape(together);
}

LayerFactors mean_of(const LayerFactors& a, const LayerFactors& b) {
  const double scale = std::sqrt(0.5);
  const auto rows = [&](at::Tensor LayerFactors::* of) {
    return interleaved(a.*of, b.*of, a.locations).mul_(scale);
  };
  auto mean = a;
  mean.error = rows(&LayerFactors::error);
  mean.presynaptic = rows(&LayerFactors::presynaptic);
  const bool same = a.presynaptic.is_same(a.feedforward) && b.presynaptic.is_same(b.feedforward);
  mean.feedforward = same ? mean.presynaptic : rows(&LayerFactors::feedforward);
  mean.locations = 2 * a.locations;
  mean.bias_unit = scale * a.bias_unit;
  return mean;
}

OwnDirections mean_of(const OwnDirections& a, const OwnDirections& b) {
  auto mean = a;
  for (std::size_t i = 0; i < mean.directions.size(); ++i) {
    auto& direction = mean.directions[i];
    if (direction.defined()) direction = (direction + b.directions[i]) / 2;
  }
  return mean;
}

inference::Report worse_of(const inference::Report& a, const inference::Report& b) {
  auto report = a;
  report.energy = (a.energy + b.energy) / 2;
  report.residual = at::maximum(a.residual, b.residual);
  report.gap_bound = at::maximum(a.gap_bound, b.gap_bound);
  report.steps = a.steps + b.steps;
  report.converged = a.converged.logical_and(b.converged);
  report.unstable = a.unstable.logical_or(b.unstable);
  report.step_size = at::minimum(a.step_size, b.step_size);
  report.curvature = at::maximum(a.curvature, b.curvature);
  report.bounds_gap = a.bounds_gap && b.bounds_gap;
  return report;
}

}  // namespace

data::Batch nudged_batch(const nn::NetworkImpl& network, const data::Batch& batch, double beta) {
  const auto prediction = nn::feedforward(network, batch.input).prediction();
  const auto said = network.loss().outcome(prediction);
  const auto target = network.enter(batch.target, network.out_features());
  return {batch.input, at::lerp(said, target, beta), batch.samples};
}

Step mean_of(const Step& a, const Step& b) {
  Step mean{.layers = {}, .own = {}, .prediction = a.prediction, .report = std::nullopt};
  for (std::size_t i = 0; i < a.layers.size(); ++i) {
    mean.layers.push_back(mean_of(a.layers[i], b.layers[i]));
  }
  for (std::size_t i = 0; i < a.own.size(); ++i) mean.own.push_back(mean_of(a.own[i], b.own[i]));
  if (a.report && b.report) mean.report = worse_of(*a.report, *b.report);
  return mean;
}

}  // namespace pcxx::learning
