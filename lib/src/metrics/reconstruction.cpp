#include <ATen/ATen.h>
#include <pcxx/metrics/reconstruction.h>
#include <pcxx/nn/feedforward.h>

#include <algorithm>
#include <cstdint>
#include <numeric>

namespace pcxx::metrics {
namespace {

at::Tensor as_values(const at::Tensor& data, const nn::NetworkImpl& network) {
  auto values = data.to(network.tensor_options().requires_grad(false));
  return data.scalar_type() == at::kByte ? values.div_(255) : values;
}

template <typename T>
double sum_of_squares(const T* x, std::int64_t n) {
  constexpr std::int64_t kLanes = 8;  // at a time, which the compiler keeps in vectors
  double sums[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) sums[lane] += x[i + lane] * x[i + lane];
  }
  for (std::int64_t lane = 0; i < n; ++i, ++lane) sums[lane] += x[i] * x[i];
  return std::accumulate(sums, sums + kLanes, 0.0);
}

// Over the last two dimensions, [] or [R], in float64.
at::Tensor sum_of_squares(const at::Tensor& x) {
  const bool loops = x.is_cpu() && x.is_contiguous() &&
                     (x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble);
  if (!loops) return x.square().sum({-2, -1}, /*keepdim=*/false, at::kDouble);
  auto sums = at::empty(x.sizes().slice(0, x.dim() - 2), x.options().dtype(at::kDouble));
  const auto n = x.size(-2) * x.size(-1);
  for (std::int64_t r = 0; r < sums.numel(); ++r) {
    sums.mutable_data_ptr<double>()[r] =
        x.scalar_type() == at::kFloat ? sum_of_squares(x.const_data_ptr<float>() + r * n, n)
                                      : sum_of_squares(x.const_data_ptr<double>() + r * n, n);
  }
  return sums;
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
    const auto target = as_values(targets.slice(0, begin, end), network);
    const auto pass = nn::feedforward(network, as_values(inputs.slice(0, begin, end), network));
    const auto squares = sum_of_squares(pass.prediction() - target);
    sum = sum.defined() ? sum.add_(squares) : squares;
  }
  return sum.div_(static_cast<double>(samples * network.out_features()));
}

at::Tensor reconstruction_error(const nn::NetworkImpl& network, const at::Tensor& images,
                                std::int64_t chunk) {
  return mean_squared_error(network, images, images, chunk);
}

}  // namespace pcxx::metrics
