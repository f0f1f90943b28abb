#include <pcxx/nn/sequential.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/linear.h>

namespace pcxx::nn {
namespace {

// nullopt where the module is no activation of a network.
std::optional<Activation> activation_of(const torch::nn::Module& module) {
  if (module.as<torch::nn::Identity>() != nullptr) return Activation::kIdentity;
  if (module.as<torch::nn::ReLU>() != nullptr) return Activation::kReLU;
  if (module.as<torch::nn::Sigmoid>() != nullptr) return Activation::kSigmoid;
  if (module.as<torch::nn::Tanh>() != nullptr) return Activation::kTanh;
  if (module.as<torch::nn::SiLU>() != nullptr) return Activation::kSiLU;
  const auto* gelu = module.as<torch::nn::GELU>();
  if (gelu != nullptr && gelu->options.approximate() == "none") return Activation::kGELU;
  const auto* leaky = module.as<torch::nn::LeakyReLU>();
  if (leaky != nullptr && leaky->options.negative_slope() == kLeakySlope) {
    return Activation::kLeakyReLU;
  }
  return std::nullopt;
}

torch::nn::AnyModule module_of(Activation activation) {
  using torch::nn::AnyModule;
  if (activation == Activation::kReLU) return AnyModule(torch::nn::ReLU());
  if (activation == Activation::kSigmoid) return AnyModule(torch::nn::Sigmoid());
  if (activation == Activation::kTanh) return AnyModule(torch::nn::Tanh());
  if (activation == Activation::kGELU) return AnyModule(torch::nn::GELU());
  if (activation == Activation::kSiLU) return AnyModule(torch::nn::SiLU());
  TORCH_CHECK(activation == Activation::kLeakyReLU, "torch::nn has no module for the activation ",
              activation);
  return AnyModule(torch::nn::LeakyReLU(torch::nn::LeakyReLUOptions().negative_slope(kLeakySlope)));
}

// The same numbers in the same memory.
void share(at::Tensor to, const at::Tensor& from) {
  if (!from.defined()) return;
  to.set_data(from.detach());
  to.set_requires_grad(from.requires_grad());
}

}  // namespace

Network from_sequential(const torch::nn::Sequential& model) {
  std::vector<DenseOptions> layers;
  std::vector<const torch::nn::LinearImpl*> linears;
  bool has_activation = true;  // of the last layer
  for (const auto& child : model->named_children()) {
    const auto& module = *child.value();
    if (const auto* linear = module.as<torch::nn::Linear>()) {
      layers.push_back(DenseOptions(linear->options.in_features(), linear->options.out_features())
                           .bias(linear->bias.defined()));
      linears.push_back(linear);
      has_activation = false;
      continue;
    }
    const auto activation = activation_of(module);
    TORCH_CHECK(activation, "module ", child.key(), " is ", c10::str(*child.value()),
                ", which a network has not");
    if (*activation == Activation::kIdentity) continue;
    TORCH_CHECK(!has_activation, "module ", child.key(), ", ", c10::str(*child.value()),
                ", does not follow a Linear layer");
    layers.back().activation(*activation);
    has_activation = true;
  }
  Network network(NetworkOptions(std::move(layers)).draw(false));
  for (std::size_t l = 1; l <= network->size(); ++l) {
    share(network->dense(l).weight, linears[l - 1]->weight);
    share(network->dense(l).bias, linears[l - 1]->bias);
  }
  network->train(model->is_training());
  return network;
}

torch::nn::Sequential to_sequential(const NetworkImpl& network) {
  TORCH_CHECK(!network.members(), "a Sequential of Linear layers is no ensemble");
  torch::nn::Sequential model;
  for (std::size_t l = 1; l <= network.size(); ++l) {
    const auto& layer = network.dense(l);
    TORCH_CHECK(!layer.options.residual(), "layer ", l, " is residual, which no Linear layer is");
    torch::nn::Linear linear(
        torch::nn::LinearOptions(layer.options.in_features(), layer.options.out_features())
            .bias(layer.options.bias()));
    share(linear->weight, layer.weight);
    share(linear->bias, layer.bias);
    model->push_back(linear);
    const auto activation = layer.options.activation();
    if (activation != Activation::kIdentity) model->push_back(module_of(activation));
  }
  model->train(network.is_training());
  return model;
}

}  // namespace pcxx::nn
