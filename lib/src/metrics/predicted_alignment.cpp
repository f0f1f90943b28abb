#include <ATen/ATen.h>
#include <pcxx/metrics/predicted_alignment.h>

#include <limits>

namespace pcxx::metrics {
namespace {

// x M^T: the layer's linear map of row vectors.
at::Tensor apply_map(const nn::DenseImpl& layer, const at::Tensor& x) {
  auto z = at::matmul(x, layer.weight.mT());
  return layer.options.residual() ? z.add_(x) : z;
}

// P_l, l = 1..L (element l - 1).
std::vector<at::Tensor> downstream_products(const nn::NetworkImpl& network) {
  const auto depth = network.size();
  auto identity = at::eye(network.out_features(), network.tensor_options().requires_grad(false));
  if (network.members()) identity = identity.repeat({*network.members(), 1, 1});
  std::vector<at::Tensor> products(depth);
  products[depth - 1] = identity;
  for (std::size_t l = depth; l >= 2; --l) {
    const auto& layer = network.dense(l);
    auto p = at::matmul(products[l - 1], layer.weight);
    products[l - 2] = layer.options.residual() ? p.add_(products[l - 1]) : p;
  }
  return products;
}

// S^-1 r of every row, S = sum_l P_l P_l^T.
at::Tensor scaled_residual(const std::vector<at::Tensor>& products, const at::Tensor& r) {
  auto s = at::zeros_like(products.back());
  for (const auto& p : products) s.add_(at::matmul(p, p.mT()));
  const auto [factor, info] = at::linalg_cholesky_ex(s);
  auto v = at::cholesky_solve(r.mT(), factor).mT();
  return v.masked_fill(info.ne(0).unsqueeze(-1).unsqueeze(-1),
                       std::numeric_limits<double>::quiet_NaN());
}

// u_{l-1}, l = 1..L: xhat + T_{l-1} P_{l-1}^T v, by t_l = M_l t_{l-1} + P_l^T v from t_0 = 0.
std::vector<at::Tensor> settled_activities(const nn::NetworkImpl& network,
                                           const std::vector<at::Tensor>& products,
                                           const std::vector<at::Tensor>& xhat,
                                           const at::Tensor& v) {
  std::vector<at::Tensor> settled{xhat[0]};
  at::Tensor shift;
  for (std::size_t l = 1; l < network.size(); ++l) {
    auto error = at::matmul(v, products[l - 1]);
    shift = shift.defined() ? error.add_(apply_map(network.dense(l), shift)) : error;
    settled.push_back(xhat[l] + shift);
  }
  return settled;
}

// X^T Y of activities [.., B, n] as columns; a bias is one more unit fixed at 1.
at::Tensor products_of_samples(const at::Tensor& x, const at::Tensor& y, bool bias) {
  auto gram = at::matmul(x, y.mT());
  return bias ? gram.add_(1) : gram;
}

// Mean of a Gram matrix's diagonal over the batch, shaped to scale it.
at::Tensor mean_diagonal(const at::Tensor& gram, std::int64_t samples) {
  return gram.diagonal(0, -2, -1).sum(-1).div_(static_cast<double>(samples));
}

at::Tensor layer_scale(const at::Tensor& c, const at::Tensor& first, std::optional<double> floor) {
  const auto bounded = floor ? at::maximum(c, first * *floor) : c;
  return at::where(bounded.eq(0), at::zeros_like(c), bounded.reciprocal());
}

at::Tensor row_norms(const at::Tensor& x) {
  const auto largest = x.abs().amax(-1, true);
  const auto safe = at::where(largest.eq(0), at::ones_like(largest), largest);
  return (x / safe).norm(2, -1, true).mul_(safe);
}

at::Tensor layer_shares(const std::vector<at::Tensor>& layers, const at::Tensor& residual,
                        const at::Tensor& change, const at::Tensor& per_sample) {
  const auto r = residual.to(at::kDouble);
  const auto d = change.to(at::kDouble);
  const auto direction = r / row_norms(r);
  const auto length = row_norms(d);
  std::vector<at::Tensor> shares;
  for (const auto& layer : layers) {
    const auto share = (layer.to(at::kDouble) / length).mul_(direction).sum(-1);
    shares.push_back(
        share.masked_fill(per_sample.isnan(), std::numeric_limits<double>::quiet_NaN()));
  }
  return at::stack(shares);
}

}  // namespace

PredictedAlignment predict_alignment(const nn::NetworkImpl& network, const data::Batch& batch,
                                     const PredictionOptions& options) {
  TORCH_CHECK(network.is_linear(), "the closed-form prediction needs a linear network");
  const at::NoGradGuard no_grad;
  const bool pc = options.rule == PredictedRule::kPredictiveCoding;
  const auto pass = nn::feedforward(network, batch.input);
  const auto r = network.enter(batch.target, network.out_features()) - pass.prediction();
  const auto products = downstream_products(network);
  const auto v = pc ? scaled_residual(products, r) : r;
  const auto u = pc ? settled_activities(network, products, pass.activities, v) : pass.activities;

  PredictedAlignment result;
  at::Tensor first;
  for (std::size_t l = 1; l <= network.size(); ++l) {
    const bool bias = network.dense(l).bias.defined();
    const auto& p = products[l - 1];
    const auto gram = products_of_samples(u[l - 1], pass.activities[l - 1], bias);
    auto change = at::matmul(gram.mT(), at::matmul(at::matmul(v, p), p.mT()));
    change.div_(static_cast<double>(batch.samples));
    if (options.alpha) {
      const auto c = mean_diagonal(
          options.presynaptic_denominator ? products_of_samples(u[l - 1], u[l - 1], bias) : gram,
          batch.samples);
      if (l == 1) first = c;
      change.mul_(layer_scale(c, first, options.floor).unsqueeze(-1).unsqueeze(-1));
    }
    result.change = l == 1 ? change.clone() : result.change.add_(change);
    result.layers.push_back(change);
  }
  result.alignment = target_alignment(r, result.change);
  result.shares = layer_shares(result.layers, r, result.change, result.alignment.per_sample);
  return result;
}

}  // namespace pcxx::metrics
