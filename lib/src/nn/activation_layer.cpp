#include <ATen/ATen.h>
#include <pcxx/nn/activation_layer.h>
#include <pcxx/nn/fused.h>

#include <algorithm>

#include "nn/layer_parts.h"

namespace pcxx::nn {

void ActivationLayer::pretty_print(std::ostream& stream) const {
  stream << "pcxx::nn::ActivationLayer(" << in_features() << ", " << nn::name(activation_) << ")";
}

std::string ActivationLayer::description() const {
  return c10::str("activation(function=", nn::name(activation_), ")");
}

// A tensor of its own for the identity too.
at::Tensor ActivationLayer::forward(const at::Tensor& x) const {
  return activation_ == Activation::kIdentity ? x.clone() : activate(x, activation_);
}

LayerOutput ActivationLayer::run(const at::Tensor& x) const {
  const at::NoGradGuard no_grad;
  const auto a = forward(x);
  return {activation_.function().slope_of_output ? a : x, a};
}

Pulled ActivationLayer::pull_back(const at::Tensor&, const Kept& kept, const at::Tensor& signal,
                                  Wanted wanted) const {
  const at::NoGradGuard no_grad;
  if (!wanted.input) return {};
  if (activation_ == Activation::kIdentity) return {.input = signal.clone()};
  return {.input = fused::times_slope(signal, kept, activation_)};
}

at::Tensor ActivationLayer::push_forward(const at::Tensor&, const Kept& kept,
                                         const at::Tensor& tangent,
                                         const std::vector<at::Tensor>&) const {
  const at::NoGradGuard no_grad;
  if (!tangent.defined()) return at::zeros_like(kept.output);
  auto change = tangent.clone();
  multiply_slope_(change, kept, activation_);
  return change;
}

at::Tensor ActivationLayer::moved(const at::Tensor& x, const std::vector<at::Tensor>&,
                                  double) const {
  const at::NoGradGuard no_grad;
  return forward(x);
}

bool ActivationLayer::is_piecewise_linear() const {
  return nn::is_piecewise_linear(activation_);
}

namespace {

struct ActivationKeys {
  Activation function = Activation::kReLU;
};

// The first is the default, which is to do something.
NamedActivations relu_first(NamedActivations activations) {
  std::stable_partition(activations.begin(), activations.end(),
                        [](const auto& named) { return named.second == Activation::kReLU; });
  return activations;
}

}  // namespace

LayerKind activation_kind(const NamedActivations& activations) {
  const auto keys = config::OptionKeys<ActivationKeys>().add(
      &ActivationKeys::function, {.name = "function"}, relu_first(activations));
  LayerKind kind;
  kind.name = "activation";
  kind.doc = "f(x), number by number";
  kind.keeps_width = true;
  kind.options = keys.keys();
  kind.make = [keys](const config::Config& own, const LayerPlace& at) -> StackedLayer {
    return {.dense = DenseOptions(at.below, at.below),
            .maker = [f = keys.read(own).function](
                         std::int64_t n,
                         std::int64_t) { return std::make_shared<ActivationLayer>(n, f); },
            .image = at.image};
  };
  return kind;
}

}  // namespace pcxx::nn
