#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <pcxx/linalg/products.h>

#include <algorithm>

#include "learning/kalman_equilibrium.h"
#include "linalg/information.h"
#include "linalg/posterior.h"

namespace pcxx::learning {
namespace {

// Samples whose matrices are worked on together, so that they stay in the processor's cache.
constexpr std::int64_t kChunk = 16;
// Products are fastest with a multiple of these.
constexpr std::int64_t kRows = 8;

// The units of each sample that pass something on (f' is not 0), [.., B, a], and others until all
// samples have as many. All of them, in their order, in a residual layer.
at::Tensor passing_units(const nn::DenseImpl& layer, const at::Tensor& slope,
                         const at::Tensor& output) {
  const auto n = output.size(-1);
  if (slope.defined() && !layer.options.residual()) {
    const auto passes = slope.ne(0);
    const auto passing = std::max<std::int64_t>(1, passes.sum(-1).max().item<std::int64_t>());
    const auto most = (passing + kRows - 1) / kRows * kRows;
    if (most < n) {
      const auto order = std::get<1>(passes.sort(/*stable=*/true, -1, /*descending=*/true));
      return order.narrow(-1, 0, most);
    }
  }
  return at::arange(n, output.options().dtype(at::kLong)).expand(output.sizes());
}

// The equilibrium of some samples. Of the layer below the outputs, `last_`, only the passing units
// take part: ReLU halves each side of its matrices.
class BelowOutput {
 public:
  // With the weight of the outputs transposed, [n_{L-1}, n_L].
  BelowOutput(const KalmanInput& input, const at::Tensor& transposed)
      : input_(input), transposed_(transposed), last_(input.network.size() - 1) {
    for (std::size_t l = 1; l <= last_ + 1; ++l) {
      const auto& layer = input.network.dense(l);
      slopes_.push_back(nn::slope(input.pass.outputs[l], layer.options.activation()));
    }
    units_ = passing_units(input.network.dense(last_), slope(last_), input.pass.outputs[last_]);
    if (slope(last_).defined()) slopes_[last_ - 1] = slope(last_).gather(-1, units_);
    for (std::size_t l = 1; l <= last_; ++l)
      jacobians_.push_back(l > 1 ? jacobian(l) : at::Tensor());
  }

  KalmanEquilibrium settle() {
    const auto outputs = last_ + 1;
    const auto& residual = input_.residual;
    const auto& weight = input_.network.dense(outputs).weight;
    const auto& f = slope(outputs);
    // S = D + F V Gamma V^T F, D = R I + s_L F^2.
    const auto squared = f.defined() ? f.square() : at::ones_like(residual);
    const auto noise = input_.noise.unsqueeze(-1).unsqueeze(-1);
    const auto diagonal = at::addcmul(noise, input_.leverages[last_].unsqueeze(-1), squared);
    const auto weights = squared / diagonal;  // of the outputs in V^T F D^-1 F V
    const auto gamma = covariance();
    const auto scaled = residual / diagonal;
    const auto at_hidden =
        linalg::backward_product(f.defined() ? scaled * f : scaled, weight).gather(-1, units_);
    const auto solved =
        linalg::posterior(linalg::information(transposed_, units_, weights), gamma, at_hidden);
    // J^T S^-1 J and J^T v at the hidden activity.
    const auto left = solved.narrow(-1, 0, gamma.size(-1));
    const auto signal = solved.select(-1, gamma.size(-1));

    KalmanEquilibrium result;
    result.signals.resize(outputs);
    result.traces.resize(outputs);
    const auto moved = everywhere((gamma * signal.unsqueeze(-2)).sum(-1));
    auto change = linalg::forward_product(moved, weight);
    if (f.defined()) change.mul_(f);
    result.value = (residual - change) / diagonal;
    result.signals[last_] = f.defined() ? result.value * f : result.value;
    pull_back(input_, last_, everywhere(signal), result);
    result.traces[last_] = output_trace(weights, (left * gamma).sum({-2, -1}));
    traces_below(left, result);
    return result;
  }

 private:
  const at::Tensor& slope(std::size_t l) const { return slopes_[l - 1]; }

  // Of the passing units, [.., B, a], as of all of them.
  at::Tensor everywhere(const at::Tensor& x) const {
    return at::zeros_like(input_.pass.outputs[last_]).scatter_(-1, units_, x);
  }

  // d xhat_l / d xhat_{l-1}, [.., B, n_l, n_{l-1}].
  at::Tensor jacobian(std::size_t l) const {
    const auto& layer = input_.network.dense(l);
    at::Tensor j;
    if (l == last_) {
      j = linalg::rows(layer.weight, units_);
    } else {
      auto shape = input_.pass.outputs[l].output.sizes().vec();
      shape.push_back(layer.weight.size(-1));
      j = layer.weight.unsqueeze(-3).expand(shape);
    }
    if (slope(l).defined()) j = j * slope(l).unsqueeze(-1);
    if (!layer.options.residual()) return j;
    return j + at::eye(j.size(-1), j.options());
  }

  // Variance of each unit of layer l that comes from its own weights, [.., B, n_l].
  at::Tensor own_variance(std::size_t l) const {
    const auto s = input_.leverages[l - 1].unsqueeze(-1);
    if (slope(l).defined()) return s * slope(l).square();
    return s.expand_as(l == last_ ? units_ : input_.pass.outputs[l].output);
  }

  // Gamma: covariance of the last hidden activity that comes from the weights of layers 1..last.
  at::Tensor covariance() const {
    if (last_ == 1) return own_variance(1).diag_embed();
    const auto root = jacobians_[1] * own_variance(1).sqrt().unsqueeze(-2);
    auto gamma = linalg::gram(root);
    for (std::size_t l = 2;; ++l) {
      gamma.diagonal(0, -2, -1).add_(own_variance(l));
      if (l == last_) return gamma;
      const auto& j = jacobians_[l];
      gamma = linalg::product(linalg::product(j, gamma), j.mT());
    }
  }

  // tr(J_L^T S^-1 J_L) from the weights of the outputs, and what the hidden layers explain of it in
  // their mean.
  at::Tensor output_trace(const at::Tensor& weights, const at::Tensor& explained) const {
    const auto& weight = input_.network.dense(last_ + 1).weight;
    const auto lengths = weights * weight.square().sum(-1).unsqueeze(-2);
    const auto mean = (lengths * weights).sum(-1) / lengths.sum(-1).clamp_min(1e-30);
    return weights.sum(-1) - mean * explained;
  }

  // tr(J_l^T S^-1 J_l) of the hidden layers, from J^T S^-1 J at the last one's activity.
  void traces_below(at::Tensor information, KalmanEquilibrium& result) const {
    const auto trace = [&](std::size_t l, const at::Tensor& diagonal) {
      const auto& f = slope(l);
      result.traces[l - 1] = (f.defined() ? diagonal * f.square() : diagonal).sum(-1);
    };
    for (std::size_t l = last_; l > 1; --l) {
      trace(l, information.diagonal(0, -2, -1));
      const auto& j = jacobians_[l - 1];
      const auto half = linalg::product(information, j);
      if (l == 2) return trace(1, (half * j).sum(-2));
      information = linalg::product(j.mT(), half);
    }
    trace(1, information.diagonal(0, -2, -1));
  }

  const KalmanInput& input_;
  const at::Tensor& transposed_;
  std::size_t last_;
  std::vector<at::Tensor> slopes_;
  at::Tensor units_;
  std::vector<at::Tensor> jacobians_;
};

// Samples `which` [.., b] of x [.., B, n].
at::Tensor samples_of(const at::Tensor& x, const at::Tensor& which) {
  if (x.dim() == 2) return x.index_select(0, which);
  return at::take_along_dim(x, which.unsqueeze(-1), -2);
}

KalmanEquilibrium settle_samples(const KalmanInput& input, const at::Tensor& transposed,
                                 const at::Tensor& which) {
  nn::Feedforward pass;
  for (const at::Tensor& a : input.pass.outputs) {
    pass.outputs.push_back(a.defined() ? samples_of(a, which) : a);
  }
  KalmanInput part{input.network, pass, samples_of(input.residual, which), {}, input.noise};
  for (const auto& s : input.leverages) part.leverages.push_back(s.gather(-1, which));
  return BelowOutput(part, transposed).settle();
}

// A permutation of the samples, [.., B], sorted by how many units of the last hidden layer are
// active.
at::Tensor by_passing_units(const KalmanInput& input) {
  const auto last = input.network.size() - 1;
  const auto& activation = input.network.dense(last).options.activation();
  const auto slope = nn::slope(input.pass.outputs[last], activation);
  const auto passing =
      slope.defined() ? slope.ne(0).sum(-1) : at::zeros_like(input.leverages[0], at::kLong);
  return passing.argsort(/*stable=*/true, -1, /*descending=*/true);
}

KalmanEquilibrium joined(const std::vector<KalmanEquilibrium>& parts) {
  const auto join = [&](std::int64_t dimension, const auto& field) {
    std::vector<at::Tensor> tensors;
    for (const auto& part : parts) tensors.push_back(field(part));
    return at::cat(tensors, dimension);
  };
  KalmanEquilibrium whole;
  for (std::size_t i = 0; i < parts[0].signals.size(); ++i) {
    whole.signals.push_back(join(-2, [i](const auto& part) { return part.signals[i]; }));
    whole.traces.push_back(join(-1, [i](const auto& part) { return part.traces[i]; }));
  }
  whole.value = join(-2, [](const auto& part) { return part.value; });
  return whole;
}

// The samples in the order that they had before by_passing_units.
void restore(KalmanEquilibrium& whole, const at::Tensor& order) {
  const auto back = order.argsort(std::int64_t{-1});
  for (auto& signal : whole.signals) signal = samples_of(signal, back);
  for (auto& trace : whole.traces) trace = trace.gather(-1, back);
  whole.value = samples_of(whole.value, back);
}

}  // namespace

KalmanEquilibrium settle_below_output(const KalmanInput& input) {
  const auto& layer = input.network.dense(input.network.size());
  TORCH_CHECK(input.network.size() > 1 && !layer.options.residual(),
              "there is no layer below to settle at");
  const auto transposed = layer.weight.mT().contiguous();
  const auto count = input.residual.size(-2);
  const auto chunk = input.residual.is_cpu() ? kChunk : count;
  if (count <= chunk) return BelowOutput(input, transposed).settle();
  const auto order = by_passing_units(input);
  std::vector<KalmanEquilibrium> parts(static_cast<std::size_t>((count + chunk - 1) / chunk));
  at::parallel_for(
      0, static_cast<std::int64_t>(parts.size()), 1, [&](std::int64_t first, std::int64_t last) {
        const at::NoGradGuard no_grad;
        for (auto i = first; i < last; ++i) {
          const auto which = order.narrow(-1, i * chunk, std::min(chunk, count - i * chunk));
          parts[static_cast<std::size_t>(i)] = settle_samples(input, transposed, which);
        }
      });
  auto whole = joined(parts);
  restore(whole, order);
  return whole;
}

}  // namespace pcxx::learning
