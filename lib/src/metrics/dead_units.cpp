#include <ATen/ATen.h>
#include <pcxx/metrics/dead_units.h>

#include <limits>

namespace pcxx::metrics {

at::Tensor dead_units(const nn::NetworkImpl& network, const nn::Feedforward& pass) {
  const at::NoGradGuard no_grad;
  const auto& prediction = pass.prediction();
  auto dead = at::zeros(prediction.sizes().slice(0, prediction.dim() - 2), prediction.options())
                  .to(at::kDouble);
  std::int64_t units = 0;
  for (std::size_t l = 1; l < network.size(); ++l) {
    if (!network.layer(l).has_dead_units()) continue;
    const at::Tensor& output = pass.outputs[l];
    dead.add_(output.ne(0).any(-2).logical_not().sum(-1));
    units += output.size(-1);
  }
  return units > 0 ? dead.div_(static_cast<double>(units))
                   : dead.fill_(std::numeric_limits<double>::quiet_NaN());
}

}  // namespace pcxx::metrics
