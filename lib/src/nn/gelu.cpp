#include <ATen/ATen.h>
#include <pcxx/nn/activation.h>

namespace pcxx::nn::activations {

const ActivationFunction gelu{
    .name = "gelu",
    .doc = "z Phi(z), Phi the normal distribution",
    .value = [](const at::Tensor& z) { return at::gelu(z); },
    .slope = [](const at::Tensor& z) { return at::gelu_backward(at::ones_like(z), z); },
};

}  // namespace pcxx::nn::activations
