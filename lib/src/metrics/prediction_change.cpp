#include <ATen/ATen.h>
#include <pcxx/metrics/prediction_change.h>

#include <cmath>

namespace pcxx::metrics {
namespace {

// Where it is a matrix [C_out, n] or [1, C_out, n] of a convolution's weight [C_out, ..].
at::Tensor as_weight(const at::Tensor& direction, const at::Tensor& weight) {
  const bool matrix = weight.dim() > 3 && direction.dim() >= 2 && direction.dim() <= 3 &&
                      direction.size(-2) == weight.size(0) && direction.numel() == weight.numel();
  return matrix ? direction.reshape(weight.sizes()) : direction;
}

// A bias is [1, C_out] in an ensemble of one.
at::Tensor as_bias(const at::Tensor& direction, const at::Tensor& bias) {
  if (!direction.defined() || !bias.defined() || direction.dim() == bias.dim()) return direction;
  return direction.dim() == 2 && direction.size(0) == 1 ? direction.squeeze(0) : direction;
}

// Of the parameters of layer l, in their order.
std::vector<at::Tensor> directions_of(const nn::NetworkImpl& network, const Update& update,
                                      std::size_t l) {
  if (update.weights[l - 1].defined()) {
    const auto [weight, bias] = network.layer(l).affine();
    std::vector<at::Tensor> directions{as_weight(update.weights[l - 1], weight)};
    const auto moved = update.biases.empty() ? at::Tensor() : update.biases[l - 1];
    if (bias.defined() || moved.defined()) directions.push_back(as_bias(moved, bias));
    return directions;
  }
  TORCH_CHECK(update.own.size() == update.weights.size(), "the update of layer ", l,
              " has neither a weight nor other parameters");
  return update.own[l - 1];
}

void check(const nn::NetworkImpl& network, const nn::Feedforward& pass, const Update& update) {
  TORCH_CHECK(pass.activities.size() == network.size() + 1, "a feed-forward pass of ",
              pass.activities.size(), " activities does not belong to ", network.size(), " layers");
  TORCH_CHECK(update.weights.size() == network.size(), "an update of ", update.weights.size(),
              " weights does not fit ", network.size(), " layers");
  TORCH_CHECK(update.biases.empty() || update.biases.size() == network.size(), "an update of ",
              update.biases.size(), " biases does not fit ", network.size(), " layers");
  for (std::size_t l = 1; l <= network.size(); ++l) {
    const auto parameters = network.layer(l).named_parameters();
    const auto directions = directions_of(network, update, l);
    for (std::size_t i = 0; i < directions.size(); ++i) {
      TORCH_CHECK(!directions[i].defined() ||
                      (i < parameters.size() && directions[i].sizes() == parameters[i]->sizes()),
                  "the update of layer ", l, " does not have its parameters' shapes");
    }
  }
}

}  // namespace

Update update_of_gradients(const nn::NetworkImpl& network) {
  const at::NoGradGuard no_grad;
  const auto descent = [](const at::Tensor& parameter) {
    return parameter.defined() && parameter.grad().defined() ? -parameter.grad() : at::Tensor();
  };
  Update update;
  for (std::size_t l = 1; l <= network.size(); ++l) {
    const auto [weight, bias] = network.layer(l).affine();
    TORCH_CHECK(!weight.defined() || weight.grad().defined(), "the weight of layer ", l,
                " has no gradient");
    update.weights.push_back(descent(weight));
    update.biases.push_back(descent(bias));
    if (weight.defined()) continue;
    update.own.resize(network.size());
    for (const auto& parameter : network.layer(l).parameters()) {
      update.own[l - 1].push_back(descent(parameter));
    }
  }
  return update;
}

at::Tensor first_order_change(const nn::NetworkImpl& network, const nn::Feedforward& pass,
                              const Update& update) {
  check(network, pass, update);
  const at::NoGradGuard no_grad;
  at::Tensor tangent;
  for (std::size_t l = 1; l <= network.size(); ++l) {
    tangent = network.layer(l).push_forward(pass.activities[l - 1], pass.outputs[l], tangent,
                                            directions_of(network, update, l));
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
    x = network.layer(l).moved(x, directions_of(network, update, l), rate);
  }
  return (x - pass.prediction()).div_(rate);
}

}  // namespace pcxx::metrics
