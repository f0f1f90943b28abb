#include <ATen/ATen.h>
#include <pcxx/metrics/layer_diagnostics.h>
#include <pcxx/nn/conditioning.h>

#include <limits>

namespace pcxx::metrics {
namespace {

at::Tensor condition_number(const at::Tensor& weight) {
  // The decomposition refuses what is not finite, and would end a whole ensemble.
  if (weight.dim() > 3) return condition_number(weight.flatten(1));  // a convolution's
  const auto bad = at::isfinite(weight).logical_not().any(-1).any(-1);
  return nn::condition_number(weight.detach().masked_fill(bad.unsqueeze(-1).unsqueeze(-1), 0))
      .masked_fill(bad, std::numeric_limits<double>::quiet_NaN());
}

// ||gram|| / size; a gram of size 0 is a multiple of I like any other.
at::Tensor part(const at::Tensor& gram, const at::Tensor& size) {
  return gram.norm(2, {-2, -1}).div_(size).masked_fill_(size.eq(0), 0);
}

// A row a sample: of a convolution, with the units of all its locations.
at::Tensor of_samples(const at::Tensor& rows, std::int64_t locations) {
  if (locations == 1) return rows;
  auto shape = rows.sizes().vec();
  shape[shape.size() - 2] /= locations;
  shape.back() *= locations;
  return rows.reshape(shape);
}

LayerDiagnostics diagnose_layer(const learning::LayerFactors& layer) {
  const auto u = of_samples(layer.presynaptic, layer.locations).to(at::kDouble);
  const auto xhat = of_samples(layer.feedforward, layer.locations).to(at::kDouble);
  auto gram = at::matmul(u, xhat.mT());
  if (layer.bias.defined()) {
    gram.add_(static_cast<double>(layer.locations) * layer.bias_unit * layer.bias_unit);
  }
  const auto diagonal = gram.diagonal(0, -2, -1);

  LayerDiagnostics result;
  result.alignment = diagonal.mean(-1);
  result.feedforward_norm = xhat.norm(2, -1).mean(-1);
  result.presynaptic_norm = u.norm(2, -1).mean(-1);
  result.condition_number = condition_number(layer.weight);
  const auto size = gram.norm(2, {-2, -1});
  gram.diagonal(0, -2, -1).sub_(result.alignment.unsqueeze(-1));
  result.interference = part(gram, size);
  gram.diagonal(0, -2, -1).zero_();
  result.cross_sample = part(gram, size);
  return result;
}

}  // namespace

std::vector<LayerDiagnostics> diagnose(const std::vector<learning::LayerFactors>& layers) {
  const at::NoGradGuard no_grad;
  std::vector<LayerDiagnostics> result;
  for (const auto& layer : layers) result.push_back(diagnose_layer(layer));
  return result;
}

}  // namespace pcxx::metrics
