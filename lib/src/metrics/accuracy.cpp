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

// The largest output of every sample, in chunks of samples: of which class, and whether no output
// is NaN, which LibTorch takes for the largest of all.
template <typename Take>
void for_each_chunk(const nn::NetworkImpl& network, const at::Tensor& inputs,
                    const at::Tensor& labels, std::int64_t chunk, const Take& take) {
  check(network, inputs, labels);
  TORCH_CHECK(chunk > 0, "a chunk holds at least one sample, not ", chunk);
  const at::NoGradGuard no_grad;
  const auto options = network.tensor_options().requires_grad(false);
  const auto samples = inputs.size(0);
  for (std::int64_t begin = 0; begin < samples; begin += chunk) {
    const auto end = std::min(samples, begin + chunk);
    const auto prediction = network.forward(inputs.slice(0, begin, end).to(options));
    take(prediction.argmax(-1), prediction.isnan().any(-1).logical_not_(),
         labels.slice(0, begin, end).to(prediction.device()));
  }
}

}  // namespace

at::Tensor accuracy(const nn::NetworkImpl& network, const at::Tensor& inputs,
                    const at::Tensor& labels, std::int64_t chunk) {
  at::Tensor right;
  for_each_chunk(network, inputs, labels, chunk,
                 [&](const at::Tensor& found, const at::Tensor& known, const at::Tensor& wanted) {
                   const auto hit =
                       found.eq(wanted).logical_and_(known).sum(-1, false, at::kDouble);
                   right = right.defined() ? right.add_(hit) : hit;
                 });
  return right.div_(static_cast<double>(inputs.size(0)));
}

at::Tensor confusion_matrix(const nn::NetworkImpl& network, const at::Tensor& inputs,
                            const at::Tensor& labels, std::int64_t chunk) {
  TORCH_CHECK(network.members().value_or(1) == 1, "a confusion matrix is of one network, not of ",
              network.members().value_or(1));
  const auto classes = network.out_features();
  auto counts = at::zeros({classes * classes}, at::kLong);
  for_each_chunk(network, inputs, labels, chunk,
                 [&](const at::Tensor& found, const at::Tensor& known, const at::Tensor& wanted) {
                   const auto place = wanted * classes + found.reshape(-1);
                   counts += at::bincount(place.masked_select(known.reshape(-1)).cpu(), {},
                                          classes * classes);
                 });
  return counts.view({classes, classes});
}

}  // namespace pcxx::metrics
