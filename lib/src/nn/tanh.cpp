#include <ATen/ATen.h>
#include <pcxx/nn/activation.h>

namespace pcxx::nn::activations {

const ActivationFunction tanh{
    .name = "tanh",
    .value = [](const at::Tensor& z) { return at::tanh(z); },
    .value_ = [](at::Tensor& z) { at::tanh_(z); },
    .slope = [](const at::Tensor& a) { return 1 - a * a; },
    .slope_of_output = true,
    .loops = FusedLoops::kTanh,
};

}  // namespace pcxx::nn::activations
