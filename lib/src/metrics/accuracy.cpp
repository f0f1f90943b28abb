#include <ATen/ATen.h>
#include <pcxx/metrics/accuracy.h>

#include <algorithm>

namespace pcxx::metrics {
namespace {

void check(const nn::NetworkImpl& network, const at::Tensor& inputs, const at::Tensor& labels) {
  TORCH_CHECK(inputs.dim() == 2 && inputs.size(1) == network.in_features(), "expected inputs [N, ",
              network.in_features(), "], not of shape ", inputs.sizes());
  TORCH_CHECK(labels.dim() == 1 && labels.size(0) == inputs.size(0), "expected labels [",
              inputs.size(0), "], not of shape ", labels.sizes());
  TORCH_CHECK(labels.scalar_type() == at::kLong, "labels are int64, not ", labels.scalar_type());
  TORCH_CHECK(inputs.size(0) > 0, "a fraction of the samples needs at least one");
  const auto lowest = labels.min().item<std::int64_t>();
  const auto highest = labels.max().item<std::int64_t>();
  TORCH_CHECK(lowest >= 0 && highest < network.out_features(), "labels from ", lowest, " to ",
              highest, " for ", network.out_features(), " outputs");
}

}  // namespace

at::Tensor accuracy(const nn::NetworkImpl& network, const at::Tensor& inputs,
                    const at::Tensor& labels, std::int64_t chunk) {
  check(network, inputs, labels);
  TORCH_CHECK(chunk > 0, "a chunk holds at least one sample, not ", chunk);
  const at::NoGradGuard no_grad;

  const auto options = network.tensor_options().requires_grad(false);
  const auto samples = inputs.size(0);
  at::Tensor right;
  for (std::int64_t begin = 0; begin < samples; begin += chunk) {
    const auto end = std::min(samples, begin + chunk);
    const auto prediction = network.forward(inputs.slice(0, begin, end).to(options));
    // LibTorch takes a NaN for the largest of all.
    const auto hit = prediction.argmax(-1)
                         .eq(labels.slice(0, begin, end).to(prediction.device()))
                         .logical_and_(prediction.isnan().any(-1).logical_not_())
                         .sum(-1, false, at::kDouble);
    right = right.defined() ? right.add_(hit) : hit;
  }
  return right.div_(static_cast<double>(samples));
}

}  // namespace pcxx::metrics
