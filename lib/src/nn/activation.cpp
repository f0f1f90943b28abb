#include <ATen/ATen.h>
#include <pcxx/nn/activation.h>

namespace pcxx::nn {
std::string_view name(Activation activation) {
  return name_of(activation);
}

bool is_piecewise_linear(Activation activation) {
  return activation != Activation::kSigmoid && activation != Activation::kTanh;
}

at::Tensor activate(const at::Tensor& z, Activation activation) {
  switch (activation) {
    case Activation::kIdentity:
      return z;
    case Activation::kReLU:
      return at::relu(z);
    case Activation::kSigmoid:
      return at::sigmoid(z);
    case Activation::kTanh:
      return at::tanh(z);
    case Activation::kLeakyReLU:
      return at::leaky_relu(z, kLeakySlope);
  }
  TORCH_CHECK(false, "unknown activation ", static_cast<int>(activation));
}

void activate_(at::Tensor& z, Activation activation) {
  switch (activation) {
    case Activation::kIdentity:
      return;
    case Activation::kReLU:
      at::relu_(z);
      return;
    case Activation::kSigmoid:
      at::sigmoid_(z);
      return;
    case Activation::kTanh:
      at::tanh_(z);
      return;
    case Activation::kLeakyReLU:
      at::leaky_relu_(z, kLeakySlope);
      return;
  }
}

at::Tensor slope(const at::Tensor& a, Activation activation) {
  switch (activation) {
    case Activation::kIdentity:
      return {};
    case Activation::kReLU:
      return a.gt(0).to(a.scalar_type());
    case Activation::kSigmoid:
      return a * (1 - a);
    case Activation::kTanh:
      return 1 - a * a;
    case Activation::kLeakyReLU:
      return a.gt(0).to(a.scalar_type()).mul_(1 - kLeakySlope).add_(kLeakySlope);
  }
  TORCH_CHECK(false, "unknown activation ", static_cast<int>(activation));
}

void multiply_slope_(at::Tensor& g, const at::Tensor& a, Activation activation) {
  if (activation != Activation::kIdentity) {
    g.mul_(slope(a, activation));
  }
}

}  // namespace pcxx::nn
