#include <ATen/ATen.h>
#include <pcxx/metrics/reconstruction.h>
#include <pcxx/nn/feedforward.h>

#include <algorithm>
#include <cstdint>

namespace pcxx::metrics {
namespace {

at::Tensor as_values(const at::Tensor& data, const nn::NetworkImpl& network) {
  auto values = data.to(network.tensor_options().requires_grad(false));
  return data.scalar_type() == at::kByte ? values.div_(255) : values;
}

}  // namespace

at::Tensor mean_error(const nn::NetworkImpl& network, const nn::Loss& loss,
                      const at::Tensor& inputs, const at::Tensor& targets, std::int64_t chunk) {
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
    const auto target = as_values(targets.slice(0, begin, end), network);
    const auto pass = nn::feedforward(network, as_values(inputs.slice(0, begin, end), network));
    const auto errors = loss.sum_of_errors(pass.prediction(), target);
    sum = sum.defined() ? sum.add_(errors) : errors;
  }
  return sum.div_(static_cast<double>(samples * loss.error_columns(network.out_features())));
}

at::Tensor mean_squared_error(const nn::NetworkImpl& network, const at::Tensor& inputs,
                              const at::Tensor& targets, std::int64_t chunk) {
  return mean_error(network, *nn::squared_error(), inputs, targets, chunk);
}

at::Tensor reconstruction_error(const nn::NetworkImpl& network, const at::Tensor& images,
                                std::int64_t chunk) {
  return mean_squared_error(network, images, images, chunk);
}

}  // namespace pcxx::metrics
