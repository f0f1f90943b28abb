#include "learning/kalman_equilibrium.h"

#include <ATen/ATen.h>
#include <pcxx/linalg/products.h>
#include <pcxx/nn/fused.h>

namespace pcxx::learning {

void pull_back(const KalmanInput& input, std::size_t last, at::Tensor signal,
               KalmanEquilibrium& result) {
  for (std::size_t l = last; l >= 1; --l) {
    const auto& layer = input.network.dense(l);
    auto& g = result.signals[l - 1];
    g = nn::fused::times_slope(signal, input.pass.outputs[l], layer.options.activation());
    if (l == 1) break;
    auto below = linalg::backward_product(g, layer.weight);
    signal = layer.options.residual() ? below.add_(signal) : below;
  }
}

namespace {

// x [.., B] as a factor of matrices [.., B, m, n].
at::Tensor of_matrices(const at::Tensor& x) {
  return x.unsqueeze(-1).unsqueeze(-1);
}

// Matrices [.., B, k, m] times one weight [.., m, n].
at::Tensor times_weight(const at::Tensor& matrices, const at::Tensor& weight) {
  const auto k = matrices.size(-2);
  return linalg::backward_product(matrices.flatten(-3, -2), weight).unflatten(-2, {-1, k});
}

// J_l J_l^T of layers L..1, one after the other, [.., B or 1, n_L, n_L]; 1 where the layers above
// are linear.
class OutputGrams {
 public:
  explicit OutputGrams(const KalmanInput& input) : input_(input) {}

  at::Tensor next() {
    const auto l = l_--;
    const auto& layer = input_.network.dense(l);
    const auto slope = nn::slope(input_.pass.outputs[l], layer.options.activation());
    at::Tensor gram;
    at::Tensor jacobian;  // undefined: the identity
    if (down_.defined()) {
      jacobian = slope.defined() ? down_ * slope.unsqueeze(-2) : down_;
      gram = linalg::gram(jacobian);
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

KalmanEquilibrium settle(const KalmanInput& input) {
  const auto& last = input.network.dense(input.network.size());
  const bool wide = last.weight.size(-2) > last.weight.size(-1);
  return input.network.size() > 1 && wide ? settle_below_output(input) : settle_at_output(input);
}

}  // namespace pcxx::learning
