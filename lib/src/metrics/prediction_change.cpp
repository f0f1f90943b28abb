#include <ATen/ATen.h>
#include <pcxx/metrics/prediction_change.h>

#include <cmath>

namespace pcxx::metrics {
namespace {

void check(const nn::NetworkImpl& network, const nn::Feedforward& pass, const Update& update) {
  TORCH_CHECK(pass.activities.size() == network.size() + 1, "a feed-forward pass of ",
              pass.activities.size(), " activities does not belong to ", network.size(), " layers");
  TORCH_CHECK(update.weights.size() == network.size(), "an update of ", update.weights.size(),
              " weights does not fit ", network.size(), " layers");
  TORCH_CHECK(update.biases.empty() || update.biases.size() == network.size(), "an update of ",
              update.biases.size(), " biases does not fit ", network.size(), " layers");
  for (std::size_t l = 1; l <= network.size(); ++l) {
    const auto& layer = network.layer(l);
    const auto& weight = update.weights[l - 1];
    TORCH_CHECK(weight.defined() && weight.sizes() == layer.weight.sizes(), "the update of layer ",
                l, " does not have its weight's shape ", layer.weight.sizes());
    const auto bias = update.biases.empty() ? at::Tensor() : update.biases[l - 1];
    TORCH_CHECK(!bias.defined() || (layer.bias.defined() && bias.sizes() == layer.bias.sizes()),
                "the update of layer ", l, " does not have its bias's shape");
  }
}

at::Tensor bias_of(const Update& update, std::size_t l) {
  return update.biases.empty() ? at::Tensor() : update.biases[l - 1];
}

// x (W + rate D)^T + b + rate db.
at::Tensor moved_preactivation(const nn::DenseImpl& layer, const at::Tensor& x,
                               const at::Tensor& weight, const at::Tensor& bias, double rate) {
  auto z = at::matmul(x, at::add(layer.weight, weight, rate).mT());
  if (layer.bias.defined()) {
    const auto moved = bias.defined() ? at::add(layer.bias, bias, rate) : layer.bias;
    z.add_(moved.unsqueeze(-2));
  }
  return z;
}

}  // namespace

Update update_of_gradients(const nn::NetworkImpl& network) {
  const at::NoGradGuard no_grad;
  Update update;
  for (std::size_t l = 1; l <= network.size(); ++l) {
    const auto& layer = network.layer(l);
    TORCH_CHECK(layer.weight.grad().defined(), "the weight of layer ", l, " has no gradient");
    update.weights.push_back(-layer.weight.grad());
    const bool has_bias = layer.bias.defined() && layer.bias.grad().defined();
    update.biases.push_back(has_bias ? -layer.bias.grad() : at::Tensor());
  }
  return update;
}

at::Tensor first_order_change(const nn::NetworkImpl& network, const nn::Feedforward& pass,
                              const Update& update) {
  check(network, pass, update);
  const at::NoGradGuard no_grad;
  at::Tensor tangent;
  for (std::size_t l = 1; l <= network.size(); ++l) {
    const auto& layer = network.layer(l);
    auto change = at::matmul(pass.activities[l - 1], update.weights[l - 1].mT());
    if (const auto bias = bias_of(update, l); bias.defined()) change.add_(bias.unsqueeze(-2));
    if (tangent.defined()) change.add_(at::matmul(tangent, layer.weight.mT()));
    nn::multiply_slope_(change, pass.outputs[l], layer.options.activation());
    if (layer.options.residual() && tangent.defined()) change.add_(tangent);
    tangent = change;
  }
  return tangent;
}

at::Tensor finite_change(const nn::NetworkImpl& network, const nn::Feedforward& pass,
                         const Update& update, double rate) {
  check(network, pass, update);
  TORCH_CHECK(std::isfinite(rate) && rate != 0, "a finite step needs a rate, not ", rate);
  const at::NoGradGuard no_grad;
  auto x = pass.activities.front();
  for (std::size_t l = 1; l <= network.size(); ++l) {
    const auto& layer = network.layer(l);
    auto a = moved_preactivation(layer, x, update.weights[l - 1], bias_of(update, l), rate);
    nn::activate_(a, layer.options.activation());
    x = layer.options.residual() ? a.add_(x) : a;
  }
  return x.sub_(pass.prediction()).div_(rate);
}

}  // namespace pcxx::metrics
