#include <ATen/ATen.h>
#include <pcxx/core/residency.h>
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

Kept Kept::select(const at::Tensor& rows) const {
  const auto selected = [&](const at::Tensor& t) {
    return t.defined() ? t.index_select(-2, rows) : t;
  };
  Kept part(selected(output));
  for (const auto& input : inputs) part.inputs.push_back(selected(input));
  for (const auto& kept : inner) part.inner.push_back(kept.select(rows));
  return part;
}

void Layer::copy_numbers_(const Layer& from, const std::optional<torch::Device>& device) {
  const at::NoGradGuard no_grad;
  copy_numbers(named_parameters(), from.named_parameters(), device);
  copy_numbers(named_buffers(), from.named_buffers(), device);
}

void Layer::clone_(torch::nn::Module& other, const std::optional<torch::Device>& device) {
  copy_numbers_(dynamic_cast<const Layer&>(other), device);
}

void Layer::draw_member_(std::int64_t, const DrawWeight&, at::Generator generator) {
  draw_(std::move(generator));
}

at::Tensor Layer::prediction(const at::Tensor& x) const {
  const bool ensemble = x.dim() == 3;
  TORCH_CHECK(!ensemble || x.size(0) == 1, "a custom layer has one member, not ", x.size(0));
  auto y = forward(ensemble ? x.squeeze(0) : x);
  TORCH_CHECK(y.dim() == 2 && y.size(0) == x.size(-2) && y.size(1) == out_features(), "a layer of ",
              in_features(), " to ", out_features(), " features gave ", y.sizes(),
              " for a batch of shape ", x.sizes());
  return ensemble ? y.unsqueeze(0) : y;
}

LayerOutput Layer::run(const at::Tensor& x) const {
  const at::NoGradGuard no_grad;
  const auto y = prediction(x);
  return {y, y};
}

Pulled Layer::pull_back(const at::Tensor& x, const Kept&, const at::Tensor& signal,
                        Wanted wanted) const {
  const at::AutoGradMode with_grad(true);
  const auto all = parameters();
  std::vector<at::Tensor> leaves;
  if (wanted.parameters) leaves = with_gradient(all);
  const auto input = x.detach().requires_grad_(wanted.input);
  if (wanted.input) leaves.push_back(input);
  Pulled pulled;
  if (wanted.parameters) pulled.parameters.resize(all.size());
  if (leaves.empty()) return pulled;
  const auto gradients = torch::autograd::grad({prediction(input)}, leaves, {signal}, std::nullopt,
                                               /*create_graph=*/false, /*allow_unused=*/true);
  std::size_t next = 0;
  for (std::size_t i = 0; i < pulled.parameters.size(); ++i) {
    if (all[i].requires_grad()) pulled.parameters[i] = gradients[next++];
  }
  if (wanted.input) {
    pulled.input = gradients[next].defined() ? gradients[next] : at::zeros_like(x);
  }
  return pulled;
}

// Forward derivatives as the derivative of a backward pass along a dummy signal, in which that pass
// is linear.
at::Tensor Layer::push_forward(const at::Tensor& x, const Kept&, const at::Tensor& tangent,
                               const std::vector<at::Tensor>& directions) const {
  const auto all = parameters();
  TORCH_CHECK(directions.empty() || directions.size() == all.size(), "an update of ",
              directions.size(), " parameters does not fit a layer of ", all.size());
  const at::AutoGradMode with_grad(true);
  std::vector<at::Tensor> wanted;
  std::vector<at::Tensor> along;
  for (std::size_t i = 0; i < directions.size(); ++i) {
    if (!directions[i].defined() || !all[i].requires_grad()) continue;
    wanted.push_back(all[i]);
    along.push_back(directions[i]);
  }
  const auto input = x.detach().requires_grad_(tangent.defined());
  if (tangent.defined()) {
    wanted.push_back(input);
    along.push_back(tangent);
  }
  const auto y = prediction(input);
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

at::Tensor Layer::moved(const at::Tensor& x, const std::vector<at::Tensor>& directions,
                        double rate) const {
  const at::NoGradGuard no_grad;
  auto all = parameters();
  std::vector<at::Tensor> before;
  for (std::size_t i = 0; i < all.size(); ++i) {
    before.push_back(all[i].detach().clone());
    if (directions[i].defined()) all[i].add_(directions[i], rate);
  }
  auto y = prediction(x).clone();
  for (std::size_t i = 0; i < all.size(); ++i) all[i].copy_(before[i]);
  return y;
}

void Layer::copy_members_(const Layer& from, const at::Tensor&) {
  const at::NoGradGuard no_grad;
  const auto values = from.parameters();
  auto all = parameters();
  for (std::size_t i = 0; i < all.size(); ++i) all[i].copy_(values[i]);
}

void Layer::check_device(c10::Device device, std::size_t l) const {
  for (const auto& parameter : named_parameters()) {
    check_residency(parameter.value(), device, "the ", parameter.key(), " of layer ", l);
  }
}

}  // namespace pcxx::nn
