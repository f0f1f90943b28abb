#include <ATen/ATen.h>
#include <pcxx/nn/activation.h>

namespace pcxx::nn::activations {

const ActivationFunction sigmoid{
    .name = "sigmoid",
    .doc = "1 / (1 + exp(-z))",
    .value = [](const at::Tensor& z) { return at::sigmoid(z); },
    .value_ = [](at::Tensor& z) { at::sigmoid_(z); },
    .slope = [](const at::Tensor& a) { return a * (1 - a); },
    .slope_of_output = true,
    .loops = FusedLoops::kSigmoid,
};

}  // namespace pcxx::nn::activations
