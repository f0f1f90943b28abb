#include <ATen/ATen.h>
#include <pcxx/nn/conditioning.h>

#include <cmath>

namespace pcxx::nn {

at::Tensor with_condition_number(const at::Tensor& weight, double kappa) {
  TORCH_CHECK(kappa >= 1 && std::isfinite(kappa),
              "a condition number is finite and at least 1, not ", kappa);
  const at::NoGradGuard no_grad;
  const auto rank = std::min(weight.size(-2), weight.size(-1));
  if (rank == 1) return weight.clone();

  const auto [u, sigma, vh] = at::linalg_svd(weight.to(at::kDouble), false);
  const auto spectrum = at::linspace(kappa, 1, rank, sigma.options());
  const auto scale = sigma.norm(2, -1, true) / spectrum.norm();
  return at::matmul(u * (spectrum * scale).unsqueeze(-2), vh).to(weight.scalar_type());
}

void set_condition_number_(NetworkImpl& network, double kappa) {
  const at::NoGradGuard no_grad;
  for (std::size_t l = 1; l <= network.size(); ++l) {
    if (auto weight = network.layer(l).affine().weight; weight.defined()) {
      const auto matrix = weight.dim() > 3 ? weight.flatten(1) : weight;
      weight.copy_(with_condition_number(matrix, kappa).view(weight.sizes()));
    }
  }
}

at::Tensor condition_number(const at::Tensor& weight) {
  const at::NoGradGuard no_grad;
  const auto sigma = at::linalg_svdvals(weight.to(at::kDouble));
  return sigma.select(-1, 0) / sigma.select(-1, -1);
}

}  // namespace pcxx::nn
