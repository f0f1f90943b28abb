#include <ATen/ATen.h>
#include <pcxx/nn/layer.h>
#include <torch/csrc/autograd/autograd.h>

namespace pcxx::nn {
namespace {

// Those that are not frozen.
std::vector<at::Tensor> with_gradient(const std::vector<at::Tensor>& parameters) {
  std::vector<at::Tensor> wanted;
  for (const auto& parameter : parameters) {
    if (parameter.requires_grad()) wanted.push_back(parameter);
  }
  return wanted;
}

// Names are those of one class; dtypes may differ.
void copy_numbers(torch::OrderedDict<std::string, at::Tensor> to,
                  const torch::OrderedDict<std::string, at::Tensor>& from,
                  const std::optional<torch::Device>& device) {
  for (auto& entry : to) {
    const auto numbers = from[entry.key()].detach();
    entry.value().set_data(device ? numbers.to(*device, numbers.scalar_type(), false, /*copy=*/true)
                                  : numbers.clone());
  }
}

}  // namespace

void Layer::clone_(torch::nn::Module& other, const std::optional<torch::Device>& device) {
  const at::NoGradGuard no_grad;
  copy_numbers(named_parameters(), other.named_parameters(), device);
  copy_numbers(named_buffers(), other.named_buffers(), device);
}

at::Tensor output(const Layer& layer, const at::Tensor& x) {
  const bool ensemble = x.dim() == 3;
  TORCH_CHECK(!ensemble || x.size(0) == 1, "a layer of one's own has one member, not ", x.size(0));
  auto y = layer.forward(ensemble ? x.squeeze(0) : x);
  TORCH_CHECK(y.dim() == 2 && y.size(0) == x.size(-2) && y.size(1) == layer.out_features(),
              "a layer", " of ", layer.in_features(), " to ", layer.out_features(),
              " features gave ", y.sizes(), " for a batch of shape ", x.sizes());
  return ensemble ? y.unsqueeze(0) : y;
}

Pulled pull_back(const Layer& layer, const at::Tensor& x, const at::Tensor& signal,
                 bool with_input) {
  const at::AutoGradMode with_grad(true);
  const auto parameters = layer.parameters();
  auto wanted = with_gradient(parameters);
  const auto input = x.detach().requires_grad_(with_input);
  if (with_input) wanted.push_back(input);
  Pulled pulled{.parameters = std::vector<at::Tensor>(parameters.size()), .input = {}};
  if (wanted.empty()) return pulled;
  const auto gradients =
      torch::autograd::grad({output(layer, input)}, wanted, {signal}, std::nullopt,
                            /*create_graph=*/false, /*allow_unused=*/true);
  std::size_t next = 0;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i].requires_grad()) pulled.parameters[i] = gradients[next++];
  }
  if (with_input) {
    pulled.input = gradients[next].defined() ? gradients[next] : at::zeros_like(x);
  }
  return pulled;
}

// Forward derivatives as the derivative of a backward pass along a dummy signal, in which that pass
// is linear.
at::Tensor push_forward(const Layer& layer, const at::Tensor& x, const at::Tensor& tangent,
                        const std::vector<at::Tensor>& directions) {
  const auto parameters = layer.parameters();
  TORCH_CHECK(directions.size() == parameters.size(), "an update of ", directions.size(),
              " parameters does not fit a layer of ", parameters.size());
  const at::AutoGradMode with_grad(true);
  std::vector<at::Tensor> wanted;
  std::vector<at::Tensor> along;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (!directions[i].defined() || !parameters[i].requires_grad()) continue;
    wanted.push_back(parameters[i]);
    along.push_back(directions[i]);
  }
  const auto input = x.detach().requires_grad_(tangent.defined());
  if (tangent.defined()) {
    wanted.push_back(input);
    along.push_back(tangent);
  }
  const auto y = output(layer, input);
  if (wanted.empty()) return at::zeros_like(y);
  const auto signal = at::zeros_like(y).requires_grad_();
  const auto pulled = torch::autograd::grad({y}, wanted, {signal}, std::nullopt,
                                            /*create_graph=*/true, /*allow_unused=*/true);
  at::Tensor sum;
  for (std::size_t i = 0; i < pulled.size(); ++i) {
    if (!pulled[i].defined()) continue;
    const auto term = (pulled[i] * along[i]).sum();
    sum = sum.defined() ? sum + term : term;
  }
  if (!sum.defined()) return at::zeros_like(y);
  return torch::autograd::grad({sum}, {signal})[0].detach();
}

}  // namespace pcxx::nn
