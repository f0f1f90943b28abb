#include <ATen/ATen.h>
#include <pcxx/learning/factors.h>
#include <pcxx/linalg/products.h>

namespace pcxx::learning {

at::Tensor weight_direction(const LayerFactors& layer) {
  const at::NoGradGuard no_grad;
  return linalg::product(layer.error.mT(), layer.presynaptic)
      .mul_(1.0 / static_cast<double>(layer.samples));
}

at::Tensor bias_direction(const LayerFactors& layer) {
  TORCH_CHECK(layer.bias.defined(), "the layer has no bias");
  const at::NoGradGuard no_grad;
  return layer.error.sum(-2).mul_(layer.bias_unit / static_cast<double>(layer.samples));
}

}  // namespace pcxx::learning
