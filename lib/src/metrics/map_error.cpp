#include <ATen/ATen.h>
#include <pcxx/metrics/map_error.h>

#include <algorithm>
#include <limits>

namespace pcxx::metrics {
namespace {

at::Tensor difference(const nn::NetworkImpl& network, const at::Tensor& teacher) {
  auto map = effective_map(network);
  TORCH_CHECK((teacher.dim() == 2 || teacher.dim() == 3) && teacher.size(-1) == map.size(-1) &&
                  teacher.size(-2) == map.size(-2) &&
                  (teacher.dim() == 2 || (map.dim() == 3 && teacher.size(0) == map.size(0))),
              "a teacher of shape ", teacher.sizes(), " does not fit a map of shape ", map.sizes());
  return map.sub_(teacher.to(map.device(), map.scalar_type()));
}

}  // namespace

at::Tensor effective_map(const nn::NetworkImpl& network) {
  TORCH_CHECK(network.is_linear(), "only linear networks are a matrix");
  const at::NoGradGuard no_grad;
  at::Tensor map;
  for (std::size_t l = 1; l <= network.size(); ++l) {
    const auto& layer = network.dense(l);
    if (l > 1) {
      auto product = at::matmul(layer.weight, map);
      map = layer.options.residual() ? product.add_(map) : product;
      continue;
    }
    map = layer.weight.detach().clone();
    if (layer.options.residual()) map.diagonal(0, -2, -1).add_(1);
  }
  return map;
}

at::Tensor map_error(const nn::NetworkImpl& network, const at::Tensor& teacher) {
  const at::NoGradGuard no_grad;
  return difference(network, teacher).square_().mean({-2, -1}, false, at::kDouble);
}

at::Tensor map_error_squared_frobenius(const nn::NetworkImpl& network, const at::Tensor& teacher) {
  const at::NoGradGuard no_grad;
  return difference(network, teacher).square_().sum({-2, -1}, false, at::kDouble);
}

at::Tensor least_map_error(const at::Tensor& teacher, std::int64_t k) {
  TORCH_CHECK(k >= 0, "a map's rank is not ", k);
  TORCH_CHECK(teacher.dim() >= 2, "a teacher is a matrix, not of shape ", teacher.sizes());
  const at::NoGradGuard no_grad;
  const auto map = teacher.to(at::kDouble);
  // The decomposition refuses what is not finite, and would end a whole ensemble.
  const auto bad = at::isfinite(map).logical_not().any(-1).any(-1);
  const auto sigma = at::linalg_svdvals(map.masked_fill(bad.unsqueeze(-1).unsqueeze(-1), 0));
  const auto tail = sigma.slice(-1, std::min(k, sigma.size(-1)));
  return tail.square()
      .sum(-1)
      .div_(static_cast<double>(map.size(-2) * map.size(-1)))
      .masked_fill_(bad, std::numeric_limits<double>::quiet_NaN());
}

std::int64_t narrowest_width(const nn::NetworkImpl& network) {
  auto width = network.in_features();
  for (std::size_t l = 1; l <= network.size(); ++l) {
    width = std::min(width, network.dense(l).options.out_features());
  }
  return width;
}

at::Tensor excess_map_error(const nn::NetworkImpl& network, const at::Tensor& teacher) {
  const auto error = map_error(network, teacher);
  return error - least_map_error(teacher, narrowest_width(network)).to(error.device());
}

}  // namespace pcxx::metrics
