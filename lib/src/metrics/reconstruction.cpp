#include <ATen/ATen.h>
#include <pcxx/metrics/reconstruction.h>
#include <pcxx/nn/feedforward.h>
#include <pcxx/nn/fused.h>

#include <algorithm>

namespace pcxx::metrics {
namespace {

at::Tensor as_values(const at::Tensor& data, const nn::NetworkImpl& network) {
  auto values = data.to(network.tensor_options().requires_grad(false));
  return data.scalar_type() == at::kByte ? values.div_(255) : values;
}

// ||yhat - y||^2 of every sample, [B] or [R, B].
at::Tensor squared_errors(const nn::NetworkImpl& network, const at::Tensor& inputs,
                          const at::Tensor& targets) {
  auto activity = network.enter(inputs, network.in_features());
  for (std::size_t l = 1; l < network.size(); ++l) {
    activity = nn::layer_output(network, l, activity).prediction;
  }
  const auto target = network.enter(targets, network.out_features()).contiguous();
  if (network.own_layer(network.size())) {
    const auto prediction = nn::layer_output(network, network.size(), activity).prediction;
    return (prediction - target).square_().sum(-1);
  }
  const auto& top = network.layer(network.size());
  const auto below = top.options.residual() ? activity.contiguous() : at::Tensor();
  auto output = nn::preactivation(top, activity);
  auto squares = at::empty(output.sizes().slice(0, output.dim() - 1), output.options());
  at::Tensor no_slopes;
  nn::fused::output_error(output, target, below, top.options.activation(), output, no_slopes,
                          squares);
  return squares;
}

}  // namespace

at::Tensor mean_squared_error(const nn::NetworkImpl& network, const at::Tensor& inputs,
                              const at::Tensor& targets, std::int64_t chunk) {
  TORCH_CHECK(inputs.dim() == 2 && inputs.size(1) == network.in_features(), "expected inputs [N, ",
              network.in_features(), "], not of shape ", inputs.sizes());
  TORCH_CHECK(targets.dim() == 2 && targets.size(1) == network.out_features() &&
                  targets.size(0) == inputs.size(0),
              "expected targets [", inputs.size(0), ", ", network.out_features(),
              "], not of shape ", targets.sizes());
  TORCH_CHECK(inputs.size(0) > 0, "a mean over samples needs at least one");
  TORCH_CHECK(chunk > 0, "a chunk holds at least one sample, not ", chunk);
  const at::NoGradGuard no_grad;

  const auto samples = inputs.size(0);
  at::Tensor sum;
  for (std::int64_t begin = 0; begin < samples; begin += chunk) {
    const auto end = std::min(samples, begin + chunk);
    const auto squares = squared_errors(network, as_values(inputs.slice(0, begin, end), network),
                                        as_values(targets.slice(0, begin, end), network))
                             .sum({-1}, false, at::kDouble);
    sum = sum.defined() ? sum.add_(squares) : squares;
  }
  return sum.div_(static_cast<double>(samples * network.out_features()));
}

at::Tensor reconstruction_error(const nn::NetworkImpl& network, const at::Tensor& images,
                                std::int64_t chunk) {
  return mean_squared_error(network, images, images, chunk);
}

}  // namespace pcxx::metrics
