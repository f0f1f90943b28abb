#include "learning/kalman_equilibrium.h"

#include <ATen/ATen.h>
#include <pcxx/nn/fused.h>
#include <pcxx/nn/products.h>

namespace pcxx::learning {
namespace {

// x [.., B] as a factor of matrices [.., B, m, n].
at::Tensor of_matrices(const at::Tensor& x) {
  return x.unsqueeze(-1).unsqueeze(-1);
}

// Matrices [.., B, k, m] times one weight [.., m, n].
at::Tensor times_weight(const at::Tensor& matrices, const at::Tensor& weight) {
  const auto k = matrices.size(-2);
  return nn::backward_product(matrices.flatten(-3, -2), weight).unflatten(-2, {-1, k});
}

// Noise [] or [R] as a factor of [.., B].
at::Tensor of_samples(const at::Tensor& noise) {
  return noise.unsqueeze(-1);
}

// g_l = J_l^T v of layers `last`..1, from the signal at the activity of layer `last`.
void pull_back(const KalmanInput& input, std::size_t last, at::Tensor signal,
               KalmanEquilibrium& result) {
  for (std::size_t l = last; l >= 1; --l) {
    const auto& layer = input.network.layer(l);
    auto& g = result.signals[l - 1];
    g = nn::fused::times_slope(signal, input.pass.outputs[l], layer.options.activation());
    if (l == 1) break;
    auto below = nn::backward_product(g, layer.weight);
    signal = layer.options.residual() ? below.add_(signal) : below;
  }
}

// J_l J_l^T of layers L..1, one after the other, [.., B or 1, n_L, n_L]; 1 where the layers above
// are linear.
class OutputGrams {
 public:
  explicit OutputGrams(const KalmanInput& input) : input_(input) {}

  at::Tensor next() {
    const auto l = l_--;
    const auto& layer = input_.network.layer(l);
    const auto slope = nn::slope(input_.pass.outputs[l], layer.options.activation());
    at::Tensor gram;
    at::Tensor jacobian;  // undefined: the identity
    if (down_.defined()) {
      jacobian = slope.defined() ? down_ * slope.unsqueeze(-2) : down_;
      gram = at::matmul(jacobian, jacobian.mT());
    } else {
      if (slope.defined()) jacobian = slope.diag_embed();
      gram = slope.defined() ? slope.square().diag_embed() : identity(layer);
    }
    if (l > 1) go_down(layer, jacobian, slope);
    return gram;
  }

 private:
  at::Tensor identity(const nn::DenseImpl& layer) const {
    auto one = at::eye(layer.weight.size(-2), layer.weight.options()).unsqueeze(0);
    return layer.weight.dim() == 3 ? one.unsqueeze(0) : one;
  }

  void go_down(const nn::DenseImpl& layer, const at::Tensor& jacobian, const at::Tensor& slope) {
    const auto above = down_;
    if (above.defined()) {
      down_ = times_weight(jacobian, layer.weight);
    } else {
      down_ = layer.weight.unsqueeze(-3);
      if (slope.defined()) down_ = down_ * slope.unsqueeze(-1);
    }
    if (layer.options.residual()) down_ = down_ + (above.defined() ? above : identity(layer));
  }

  const KalmanInput& input_;
  std::size_t l_ = input_.network.size();
  at::Tensor down_;  // d yhat / d xhat_l of the layer to come; undefined: the identity
};

}  // namespace

KalmanEquilibrium settle_at_output(const KalmanInput& input) {
  const auto layers = input.network.size();
  OutputGrams grams(input);
  std::vector<at::Tensor> gram(layers);
  at::Tensor s;
  for (std::size_t l = layers; l >= 1; --l) {
    gram[l - 1] = grams.next();
    const auto part = gram[l - 1] * of_matrices(input.leverages[l - 1]);
    s = s.defined() ? s.add_(part) : part;
  }
  s.diagonal(0, -2, -1).add_(of_matrices(input.noise));
  const auto factor = std::get<0>(at::linalg_cholesky_ex(s));
  const auto inverse = at::cholesky_inverse(factor);

  KalmanEquilibrium result;
  result.signals.resize(layers);
  for (const auto& g : gram) result.traces.push_back((inverse * g).sum({-2, -1}));
  result.value = at::cholesky_solve(input.residual.unsqueeze(-1), factor).squeeze(-1);
  pull_back(input, layers, result.value, result);
  return result;
}

namespace {

// F of a layer as a factor of the rows of matrices [.., B, n_l, n], and of their columns.
at::Tensor scale_rows(const at::Tensor& matrices, const at::Tensor& slope) {
  return slope.defined() ? matrices * slope.unsqueeze(-1) : matrices;
}
at::Tensor scale_columns(const at::Tensor& matrices, const at::Tensor& slope) {
  return slope.defined() ? matrices * slope.unsqueeze(-2) : matrices;
}

// d xhat_l / d xhat_{l-1} times matrices [.., B, n_{l-1}, n].
at::Tensor push(const nn::DenseImpl& layer, const at::Tensor& slope, const at::Tensor& matrices) {
  auto pushed = scale_rows(at::matmul(layer.weight.unsqueeze(-3), matrices), slope);
  return layer.options.residual() ? pushed.add_(matrices) : pushed;
}

// Covariance of the activity of layer `last` that comes from the weights of layers 1..last.
at::Tensor activity_covariance(const KalmanInput& input, std::size_t last) {
  at::Tensor covariance;
  for (std::size_t l = 1; l <= last; ++l) {
    const auto& layer = input.network.layer(l);
    const auto slope = nn::slope(input.pass.outputs[l], layer.options.activation());
    auto own = input.leverages[l - 1].unsqueeze(-1).expand_as(input.pass.outputs[l]);
    if (slope.defined()) own = own * slope.square();
    if (covariance.defined()) {
      covariance = push(layer, slope, push(layer, slope, covariance).mT());
      covariance.diagonal(0, -2, -1).add_(own);
    } else {
      covariance = own.diag_embed();
    }
  }
  return covariance;
}

// tr(J_l^T S^-1 J_l) of layers `last`..1, from the information J^T S^-1 J at the activity of layer
// `last`.
void traces_below(const KalmanInput& input, std::size_t last, at::Tensor information,
                  KalmanEquilibrium& result) {
  for (std::size_t l = last; l >= 1; --l) {
    const auto& layer = input.network.layer(l);
    const auto slope = nn::slope(input.pass.outputs[l], layer.options.activation());
    const auto diagonal = information.diagonal(0, -2, -1);
    result.traces[l - 1] = (slope.defined() ? diagonal * slope.square() : diagonal).sum(-1);
    if (l == 1) break;
    const auto pull = [&](const at::Tensor& matrices) {
      auto pulled = times_weight(scale_columns(matrices, slope), layer.weight);
      return layer.options.residual() ? pulled.add_(matrices) : pulled;
    };
    information = pull(pull(information).mT());
  }
}

// tr(J_L^T S^-1 J_L) from the weights of the outputs, and what the hidden layers explain of it in
// their mean.
at::Tensor output_trace(const nn::DenseImpl& layer, const at::Tensor& weights,
                        const at::Tensor& explained) {
  const auto lengths = weights * layer.weight.square().sum(-1).unsqueeze(-2);
  const auto mean = (lengths * weights).sum(-1) / lengths.sum(-1).clamp_min(1e-30);
  return weights.sum(-1) - mean * explained;
}

}  // namespace

KalmanEquilibrium settle_below_output(const KalmanInput& input) {
  const auto layers = input.network.size();
  const auto& layer = input.network.layer(layers);
  TORCH_CHECK(layers > 1 && !layer.options.residual(), "there is no layer below to settle at");
  const auto slope = nn::slope(input.pass.outputs[layers], layer.options.activation());
  const auto& own = input.leverages[layers - 1];
  const auto noise = of_samples(input.noise).unsqueeze(-1);

  // S = D + F V Gamma V^T F, D = R I + s_L F^2.
  const auto squared = slope.defined() ? slope.square() : at::ones_like(input.residual);
  const auto diagonal = noise + own.unsqueeze(-1) * squared;
  const auto weights = squared / diagonal;  // of the outputs in V^T F D^-1 F V
  const auto gamma = activity_covariance(input, layers - 1);
  const auto root = layer.weight.unsqueeze(-3) * weights.sqrt().unsqueeze(-1);
  const auto information = at::matmul(root.mT(), root);

  const auto n = layer.weight.size(-1);
  auto system = at::matmul(information, gamma);
  system.diagonal(0, -2, -1).add_(1);
  const auto scaled = input.residual / diagonal;
  const auto at_hidden =
      nn::backward_product(slope.defined() ? scaled * slope : scaled, layer.weight);
  const auto right = at::cat({information, at_hidden.unsqueeze(-1)}, -1);
  const auto solved = std::get<0>(at::linalg_solve_ex(system, right));
  auto left = solved.narrow(-1, 0, n);
  left = (left + left.mT()).mul_(0.5);
  const auto signal = solved.select(-1, n);

  KalmanEquilibrium result;
  result.signals.resize(layers);
  result.traces.resize(layers);
  const auto hidden_change = at::matmul(gamma, signal.unsqueeze(-1)).squeeze(-1);
  auto change = nn::forward_product(hidden_change, layer.weight);
  if (slope.defined()) change.mul_(slope);
  result.value = (input.residual - change) / diagonal;
  result.signals[layers - 1] = slope.defined() ? result.value * slope : result.value;
  pull_back(input, layers - 1, signal, result);
  traces_below(input, layers - 1, left, result);

  const auto explained = (left * gamma).sum({-2, -1});
  result.traces[layers - 1] = output_trace(layer, weights, explained);
  return result;
}

KalmanEquilibrium settle(const KalmanInput& input) {
  const auto& last = input.network.layer(input.network.size());
  const bool wide = last.weight.size(-2) > last.weight.size(-1);
  return input.network.size() > 1 && wide ? settle_below_output(input) : settle_at_output(input);
}

}  // namespace pcxx::learning
