// activation = "softplus": a smooth ReLU. Its slope is a function of the preactivation.

#include <ATen/ATen.h>
#include <pcxx/catalog/extend.h>

#include "lab.h"

namespace {

using namespace pcxx;

const nn::ActivationFunction kSoftplus{
    .name = "softplus",
    .doc = "log(1 + exp(z))",
    .value = [](const at::Tensor& z) { return at::softplus(z); },
    .slope = [](const at::Tensor& z) { return at::sigmoid(z); },
};

}  // namespace

void add_softplus() {
  catalog::add_activation(nn::Activation(kSoftplus));
}
