#include <ATen/ATen.h>
#include <pcxx/nn/activation.h>
#include <torch/csrc/autograd/autograd.h>

namespace pcxx::nn {
namespace {

at::Tensor slope_by_autograd(const at::Tensor& z, const ActivationFunction& f) {
  const at::AutoGradMode grad(true);
  const auto point = z.detach().requires_grad_();
  return torch::autograd::grad({f.value(point).sum()}, {point}).front();
}

}  // namespace

const std::vector<Activation>& built_in_activations() {
  static const std::vector<Activation> all{
      Activation::kIdentity,  Activation::kReLU, Activation::kSigmoid, Activation::kTanh,
      Activation::kLeakyReLU, Activation::kGELU, Activation::kSiLU};
  return all;
}

std::string_view name(Activation activation) {
  return activation.function().name;
}

std::ostream& operator<<(std::ostream& stream, Activation activation) {
  return stream << name(activation);
}

bool is_piecewise_linear(Activation activation) {
  return activation.function().is_piecewise_linear;
}

at::Tensor activate(const at::Tensor& z, Activation activation) {
  return activation == Activation::kIdentity ? z : activation.function().value(z);
}

void activate_(at::Tensor& z, Activation activation) {
  const auto& f = activation.function();
  if (f.value_ != nullptr) {
    f.value_(z);
  } else {
    z.copy_(f.value(z));
  }
}

at::Tensor slope(const at::Tensor& from, Activation activation) {
  const auto& f = activation.function();
  return f.slope != nullptr ? f.slope(from) : slope_by_autograd(from, f);
}

void multiply_slope_(at::Tensor& g, const at::Tensor& from, Activation activation) {
  if (activation != Activation::kIdentity) {
    g.mul_(slope(from, activation));
  }
}

}  // namespace pcxx::nn
