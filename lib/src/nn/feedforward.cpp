#include <ATen/ATen.h>
#include <pcxx/linalg/products.h>
#include <pcxx/nn/feedforward.h>

namespace pcxx::nn {

at::Tensor preactivation(const DenseImpl& layer, const at::Tensor& x) {
  const at::NoGradGuard no_grad;
  const bool shared = layer.weight.dim() == 3 && x.dim() == 2;  // one batch for all members
  auto z =
      linalg::forward_product(shared ? x.expand({layer.weight.size(0), -1, -1}) : x, layer.weight);
  if (layer.bias.defined()) {
    z.add_(layer.bias.unsqueeze(-2));
  }
  return z;
}

Feedforward feedforward(const NetworkImpl& network, const at::Tensor& input) {
  const at::NoGradGuard no_grad;
  Feedforward pass;
  pass.activities.push_back(network.enter(input, network.in_features()));
  pass.outputs.emplace_back();
  for (std::size_t l = 1; l <= network.size(); ++l) {
    auto [kept, prediction] = network.layer(l).run(pass.activities.back());
    pass.outputs.push_back(std::move(kept));
    pass.activities.push_back(std::move(prediction));
  }
  return pass;
}

}  // namespace pcxx::nn
