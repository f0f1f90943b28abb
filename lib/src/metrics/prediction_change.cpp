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
  TORCH_CHECK(network.is_dense() || update.own.size() == network.size(),
              "an update without the parameters of layers that are not Dense does not fit");
  for (std::size_t l = 1; l <= network.size(); ++l) {
    if (network.own_layer(l)) continue;
    const auto& layer = network.layer(l);
    const auto& weight = update.weights[l - 1];
    TORCH_CHECK(weight.defined() && weight.sizes() == layer.weight.sizes(), "the update of layer ",
                l, " does not have its weight's shape ", layer.weight.sizes());
    const auto bias = update.biases.empty() ? at::Tensor() : update.biases[l - 1];
    TORCH_CHECK(!bias.defined() || (layer.bias.defined() && bias.sizes() == layer.bias.sizes()),
                "the update of layer ", l, " does not have its bias's shape");
  }
}

// Output of a layer of one's own with its parameters moved, which are put back as they were.
at::Tensor moved_output(const nn::Layer& layer, const at::Tensor& x,
                        const std::vector<at::Tensor>& directions, double rate) {
  auto parameters = layer.parameters();
  std::vector<at::Tensor> before;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    before.push_back(parameters[i].detach().clone());
    if (directions[i].defined()) parameters[i].add_(directions[i], rate);
  }
  auto y = nn::output(layer, x).clone();
  for (std::size_t i = 0; i < parameters.size(); ++i) parameters[i].copy_(before[i]);
  return y;
}

// Negative gradients of all parameters; undefined where there is none.
std::vector<at::Tensor> descent_of(const nn::Layer& layer) {
  std::vector<at::Tensor> directions;
  for (const auto& parameter : layer.parameters()) {
    directions.push_back(parameter.grad().defined() ? -parameter.grad() : at::Tensor());
  }
  return directions;
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
  if (!network.is_dense()) update.own.resize(network.size());
  for (std::size_t l = 1; l <= network.size(); ++l) {
    if (const auto* own = network.own_layer(l)) {
      update.weights.emplace_back();
      update.biases.emplace_back();
      update.own[l - 1] = descent_of(*own);
      continue;
    }
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
    if (const auto* own = network.own_layer(l)) {
      tangent = nn::push_forward(*own, pass.activities[l - 1], tangent, update.own[l - 1]);
      continue;
    }
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
    if (const auto* own = network.own_layer(l)) {
      x = moved_output(*own, x, update.own[l - 1], rate);
      continue;
    }
    const auto& layer = network.layer(l);
    auto a = moved_preactivation(layer, x, update.weights[l - 1], bias_of(update, l), rate);
    nn::activate_(a, layer.options.activation());
    x = layer.options.residual() ? a.add_(x) : a;
  }
  return x.sub_(pass.prediction()).div_(rate);
}

}  // namespace pcxx::metrics
