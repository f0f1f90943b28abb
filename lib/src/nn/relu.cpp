#include <ATen/ATen.h>
#include <pcxx/nn/activation.h>

namespace pcxx::nn::activations {

const ActivationFunction relu{
    .name = "relu",
    .doc = "max(z, 0)",
    .value = [](const at::Tensor& z) { return at::relu(z); },
    .value_ = [](at::Tensor& z) { at::relu_(z); },
    .slope = [](const at::Tensor& a) { return a.gt(0).to(a.scalar_type()); },
    .slope_of_output = true,
    .is_piecewise_linear = true,
    .has_dead_units = true,
    .loops = FusedLoops::kReLU,
};

}  // namespace pcxx::nn::activations
