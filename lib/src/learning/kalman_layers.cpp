#include "learning/kalman_layers.h"

#include <ATen/ATen.h>
#include <pcxx/linalg/products.h>

#include <algorithm>
#include <limits>

#include "learning/kalman_gain.h"
#include "nn/bias_unit.h"

namespace pcxx::learning {
namespace {

// A layer with a weight [n_l, n]; n counts the bias unit. A convolution has a row of units for
// each of its P locations, and n_l is its channels. P is 1 in other layers.
//
//   l         its number
//   outputs   n_l
//   units     Xhat, [.., B, P, n]
//   jacobian  J_l: of every output of the network by every one of the layer's, before the
//             nonlinearity; [.., B, n_L, P, n_l]
struct KalmanLayer {
  std::size_t l = 0;
  std::int64_t outputs = 0;
  at::Tensor units;
  at::Tensor jacobian;
};

// x [.., B] as a factor of matrices [.., B, m, n].
at::Tensor as_factor(const at::Tensor& x) {
  return x.unsqueeze(-1).unsqueeze(-1);
}

at::Tensor symmetric(const at::Tensor& x) {
  return (x + x.mT()).mul_(0.5);
}

KalmanLayer layer_of(const nn::NetworkImpl& network, const nn::Feedforward& pass, std::size_t l,
                     const at::Tensor& errors) {
  const auto [weight, bias] = network.layer(l).affine();
  const auto& below = pass.activities[l - 1];
  const auto samples = below.size(-2);
  const auto units = nn::with_bias_unit(network.layer(l).units(below), bias);
  const auto locations = units.size(-2) / samples;
  return {.l = l,
          .outputs = errors.size(-1),
          .units = units.unflatten(-2, {samples, locations}),
          .jacobian = errors.unflatten(-2, {samples, network.out_features(), locations})};
}

// Of the layers with a weight, in their order.
std::vector<KalmanLayer> kalman_layers(const nn::NetworkImpl& network,
                                       const nn::Feedforward& pass) {
  const auto outputs = network.out_features();
  const auto samples = pass.prediction().size(-2);
  const auto which =
      at::arange(samples, pass.prediction().options().dtype(at::kLong)).repeat_interleave(outputs);
  auto shape = pass.prediction().sizes().vec();
  shape[shape.size() - 2] = samples * outputs;
  auto signal =
      at::eye(outputs, pass.prediction().options()).repeat({samples, 1}).expand(shape).contiguous();
  std::vector<KalmanLayer> layers;
  for (std::size_t l = network.size(); l >= 1; --l) {
    const auto& layer = network.layer(l);
    const auto below = pass.activities[l - 1].index_select(-2, which);
    auto pulled = layer.pull_back(below, pass.outputs[l].select(which), signal, {.input = l > 1});
    TORCH_CHECK(pulled.error.defined() || layer.parameters().empty(), "kpc cannot learn layer ", l,
                ": its parameters are not those of one weight");
    if (pulled.error.defined()) layers.push_back(layer_of(network, pass, l, pulled.error));
    signal = std::move(pulled.input);
  }
  std::reverse(layers.begin(), layers.end());
  return layers;
}

// Gradient of every output in the weight, [.., B, n_L n_l, n]: J^T of each channel times the units.
at::Tensor gradients(const KalmanLayer& layer) {
  return at::matmul(layer.jacobian.mT().flatten(-3, -2), layer.units);
}

// A layer's share of the output's covariance, [.., B, n_L, n_L], and what it is made of: leverages
// s [.., B, P], and in a convolution the gradients G and G Q.
struct Spread {
  at::Tensor units;  // Xhat Q, [.., B, P, n]
  at::Tensor leverages;
  at::Tensor gradients;  // [.., B, n_L, n_l n]; undefined where P is 1
  at::Tensor covariance;
};

Spread spread_of(const KalmanLayer& layer, const at::Tensor& q) {
  Spread spread;
  spread.units = at::matmul(layer.units, q.unsqueeze(-3));
  spread.leverages = (spread.units * layer.units).sum(-1).clamp_min_(0);
  if (layer.units.size(-2) == 1) {
    const auto j = layer.jacobian.squeeze(-2);
    spread.covariance = at::matmul(j, j.mT()) * spread.leverages.unsqueeze(-1);
    return spread;
  }
  const auto by_channel = gradients(layer);
  const auto per_output = std::vector<std::int64_t>{layer.jacobian.size(-3), -1};
  spread.gradients = by_channel.unflatten(-2, per_output).flatten(-2);
  const auto spread_gradients =
      at::matmul(by_channel, q.unsqueeze(-3)).unflatten(-2, per_output).flatten(-2);
  spread.covariance = at::matmul(spread.gradients, spread_gradients.mT());
  return spread;
}

// (Gamma + H^-1)^-1 [.., B, n_L, n_L], and v = (I + H Gamma)^-1 r [.., B, n_L]; for the squared
// error (Gamma + R I)^-1 and that times r.
struct Weighed {
  at::Tensor information;
  at::Tensor value;
};

Weighed weigh(const KalmanBatch& batch, at::Tensor gamma) {
  const auto right = batch.residual.unsqueeze(-1);
  const auto one = at::eye(gamma.size(-1), gamma.options());
  if (!batch.curvature.defined()) {
    gamma.diagonal(0, -2, -1).add_(batch.noise.unsqueeze(-1).unsqueeze(-1));
    const auto factor = std::get<0>(at::linalg_cholesky_ex(gamma));
    return {at::cholesky_inverse(factor), at::cholesky_solve(right, factor).squeeze(-1)};
  }
  const auto system = at::matmul(batch.curvature, gamma).add_(one);
  const auto both = at::cat({batch.curvature.expand_as(gamma), right}, -1);
  const auto solved = at::linalg_solve(system, both);
  const auto n = gamma.size(-1);
  return {symmetric(solved.narrow(-1, 0, n)), solved.select(-1, n)};
}

// Means over all samples, [] or [R].
at::Tensor mean_of(const KalmanBatch& batch, const at::Tensor& values) {
  return batch.peers.sums({values.mean(-1).sum(-1)}).front() / static_cast<double>(batch.samples);
}

// The step of a layer with one row of units a sample, which are weighed against each other by rows
// (kalman_gain.h).
at::Tensor learn_rows(const KalmanBatch& batch, const KalmanLayer& layer, const Spread& spread,
                      const Weighed& weighed, double share, at::Tensor& q, KalmanLesson& lesson) {
  const auto j = layer.jacobian.squeeze(-2);
  const auto signal = at::matmul(weighed.value.unsqueeze(-2), j).squeeze(-2);
  const auto trace = (at::matmul(weighed.information, j) * j).sum({-2, -1}, /*keepdim=*/false);
  const auto certainty =
      (trace / (share * static_cast<double>(layer.outputs))).clamp_min_(0).unsqueeze(-1);
  const auto mine = spread.units.squeeze(-2);
  const auto all = batch.peers.rows({mine, signal, certainty, spread.leverages})();
  KalmanEvidence evidence{all[0], all[1], all[2], all[3], {}};
  if (!batch.is_one()) {
    const auto columns = at::matmul(all[0], layer.units.squeeze(-2).mT()).mT();
    evidence.gram = batch.peers.rows({columns})().front().mT().contiguous();
  }
  lesson.leverages.push_back(evidence.leverage.mean({-2, -1}));
  lesson.certainties.push_back((evidence.certainty * evidence.leverage).mean({-2, -1}));
  const auto gain = kalman_gain(evidence);
  linalg::gram_out(q, gain.right.mT(), -share, 1);
  return linalg::product(gain.left.mT(), gain.right);
}

// The step of a convolution. Of each sample, A = 1/m sum_c G_c^T (Gamma + H^-1)^-1 G_c is what it
// tells of a row of weights that are known by Q: alone it makes Q - Q A Q of that, and moves the
// rows by v^T G_c Q. As much would do evidence of information Lambda = A (I - Q A)^-1 and of vector
// v^T G_c (I - Q A)^-1, which add up over samples.
at::Tensor learn_patches(const KalmanBatch& batch, const KalmanLayer& layer, const Spread& spread,
                         const Weighed& weighed, double share, at::Tensor& q,
                         KalmanLesson& lesson) {
  const auto n = layer.units.size(-1);
  const auto outputs = layer.outputs;
  const auto pulled = at::matmul(weighed.value.unsqueeze(-2), spread.gradients)
                          .squeeze(-2)
                          .unflatten(-1, {outputs, n});
  const auto informed =
      at::matmul(weighed.information, spread.gradients).unflatten(-1, {outputs, n}).flatten(-3, -2);
  const auto told = spread.gradients.unflatten(-1, {outputs, n}).flatten(-3, -2);
  const auto a =
      symmetric(at::matmul(told.mT(), informed)) / (share * static_cast<double>(outputs));
  const auto learnt = at::matmul(q.unsqueeze(-3), a);  // Q A
  lesson.leverages.push_back(mean_of(batch, spread.leverages));
  lesson.certainties.push_back(
      mean_of(batch, learnt.diagonal(0, -2, -1).sum(-1, /*keepdim=*/true)));
  if (batch.is_one()) {
    const auto step = at::matmul(pulled.squeeze(-3), q);
    q.sub_(symmetric(at::matmul(learnt.squeeze(-3), q)), share);
    return step;
  }
  const auto one = at::eye(n, q.options());
  const auto evidence =
      at::linalg_solve(one - learnt, at::cat({pulled, a}, -2), /*left=*/false).sum(-3);
  const auto sum = batch.peers.sums({evidence}).front();
  const auto information = symmetric(sum.narrow(-2, outputs, n));
  const auto known =
      symmetric(at::linalg_solve(one + at::matmul(information, q), q, /*left=*/false));
  q.lerp_(known, share);
  return at::matmul(sum.narrow(-2, 0, outputs), known);
}

// The number of a weight's rows, n_l.
std::int64_t rows_of(const at::Tensor& weight) {
  return weight.dim() == 4 ? weight.size(0) : weight.size(-2);
}

// Steps, and the change d that they predict, times clip(<r, d> / <d, H d>, 0, 1).
void shorten(const KalmanBatch& batch, KalmanLesson& lesson) {
  const auto& d = lesson.change;
  const auto curved = batch.curvature.defined() ? at::matmul(d, batch.curvature) : d;
  const auto found = batch.sums({batch.residual * d, d * curved});
  const auto fit = found[0] / found[1];
  lesson.scale = at::where(fit.isnan(), at::ones_like(fit), fit.clamp(0, 1));
  const auto factor = as_factor(lesson.scale);
  for (auto& step : lesson.steps) step.mul_(factor);
  lesson.change = d * factor;
}

at::Tensor predicted_change(const KalmanBatch& batch, const std::vector<KalmanLayer>& layers,
                            const std::vector<at::Tensor>& steps) {
  at::Tensor change;
  std::size_t next = 0;
  for (std::size_t l = 1; l <= batch.network.size(); ++l) {
    const auto& layer = batch.network.layer(l);
    std::vector<at::Tensor> directions;
    if (next < layers.size() && layers[next].l == l) {
      directions = directions_of(layer, steps[next++]);
    }
    change =
        layer.push_forward(batch.pass.activities[l - 1], batch.pass.outputs[l], change, directions);
  }
  return change;
}

}  // namespace

Peers::Tensors KalmanBatch::sums(Peers::Tensors values) const {
  for (auto& value : values) value = value.sum({-2, -1});
  return peers.sums(std::move(values));
}

at::Tensor KalmanBatch::mean_of_outputs(const at::Tensor& sum) const {
  return sum / static_cast<double>(samples * residual.size(-1));
}

std::vector<double> rank_shares(const nn::NetworkImpl& network) {
  std::vector<double> shares;
  auto narrowest = std::numeric_limits<std::int64_t>::max();
  for (std::size_t l = network.size(); l >= 1; --l) {
    const auto& layer = network.layer(l);
    if (const auto weight = layer.affine().weight; weight.defined()) {
      const auto rows = rows_of(weight);
      shares.push_back(static_cast<double>(std::min(narrowest, rows)) / static_cast<double>(rows));
    }
    narrowest = std::min(narrowest, layer.out_features());
  }
  std::reverse(shares.begin(), shares.end());
  return shares;
}

std::vector<at::Tensor> directions_of(const nn::Layer& layer, const at::Tensor& step) {
  const auto [weight, bias] = layer.affine();
  const auto n = step.size(-1);
  if (!bias.defined()) return {step.reshape(weight.sizes())};
  return {step.narrow(-1, 0, n - 1).reshape(weight.sizes()),
          step.select(-1, n - 1).reshape(bias.sizes())};
}

KalmanLesson learn(const KalmanBatch& batch, std::vector<at::Tensor>& covariances) {
  const auto layers = kalman_layers(batch.network, batch.pass);
  const auto shares = rank_shares(batch.network);
  std::vector<Spread> spreads;
  at::Tensor gamma;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    spreads.push_back(spread_of(layers[i], covariances[i]));
    const auto& part = spreads.back().covariance;
    gamma = gamma.defined() ? gamma + part : part;
  }
  const auto weighed = weigh(batch, gamma.clone());
  KalmanLesson lesson;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const auto& learn_layer = spreads[i].gradients.defined() ? learn_patches : learn_rows;
    lesson.steps.push_back(
        learn_layer(batch, layers[i], spreads[i], weighed, shares[i], covariances[i], lesson));
  }
  if (batch.is_one()) {
    lesson.scale = at::ones_like(batch.noise);
    lesson.change = at::matmul(gamma, weighed.value.unsqueeze(-1)).squeeze(-1);
    return lesson;
  }
  lesson.change = predicted_change(batch, layers, lesson.steps);
  shorten(batch, lesson);
  return lesson;
}

at::Tensor actual_change(const KalmanBatch& batch, const std::vector<at::Tensor>& steps) {
  auto x = batch.pass.activities.front();
  std::size_t next = 0;
  for (std::size_t l = 1; l <= batch.network.size(); ++l) {
    const auto& layer = batch.network.layer(l);
    std::vector<at::Tensor> directions;
    if (layer.affine().weight.defined()) directions = directions_of(layer, steps[next++]);
    x = layer.moved(x, directions, 1);
  }
  return x - batch.pass.prediction();
}

}  // namespace pcxx::learning
