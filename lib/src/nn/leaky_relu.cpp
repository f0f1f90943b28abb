#include <ATen/ATen.h>
#include <pcxx/nn/activation.h>

namespace pcxx::nn::activations {

const ActivationFunction leaky_relu{
    .name = "leaky_relu",
    .doc = "max(z, 0.01 z)",
    .value = [](const at::Tensor& z) { return at::leaky_relu(z, kLeakySlope); },
    .value_ = [](at::Tensor& z) { at::leaky_relu_(z, kLeakySlope); },
    .slope =
        [](const at::Tensor& a) {
          return a.gt(0).to(a.scalar_type()).mul_(1 - kLeakySlope).add_(kLeakySlope);
        },
    .slope_of_output = true,
    .is_piecewise_linear = true,
    .loops = FusedLoops::kLeakyReLU,
};

}  // namespace pcxx::nn::activations
