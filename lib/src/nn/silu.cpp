#include <ATen/ATen.h>
#include <pcxx/nn/activation.h>

namespace pcxx::nn::activations {

const ActivationFunction silu{
    .name = "silu",
    .doc = "z / (1 + exp(-z))",
    .value = [](const at::Tensor& z) { return at::silu(z); },
    .slope = [](const at::Tensor& z) { return at::silu_backward(at::ones_like(z), z); },
};

}  // namespace pcxx::nn::activations
