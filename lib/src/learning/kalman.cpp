#include <ATen/ATen.h>
#include <fmt/format.h>
#include <pcxx/core/residency.h>
#include <pcxx/learning/kalman.h>
#include <pcxx/nn/activation.h>
#include <pcxx/nn/feedforward.h>
#include <pcxx/nn/products.h>
#include <torch/serialize/archive.h>

#include <algorithm>
#include <limits>

#include "learning/kalman_equilibrium.h"
#include "nn/bias_unit.h"

namespace pcxx::learning {
namespace {

constexpr double kDecay = 0.98;       // of running means
constexpr double kFirstNoise = 0.3;   // R of the first batch, and
constexpr double kLeastNoise = 1e-4;  // its least, as parts of the mean of r^2

// m_l / n_l of each layer.
std::vector<double> rank_shares(const nn::NetworkImpl& network) {
  std::vector<double> shares(network.size());
  auto narrowest = std::numeric_limits<std::int64_t>::max();
  for (std::size_t l = network.size(); l >= 1; --l) {
    const auto n = network.layer(l).options.out_features();
    narrowest = std::min(narrowest, n);
    shares[l - 1] = static_cast<double>(narrowest) / static_cast<double>(n);
  }
  return shares;
}

// Step and rank-B narrowing of one layer: W += left^T right, Q -= share right^T right.
struct Gain {
  at::Tensor left;   // [.., B, n_l]
  at::Tensor right;  // [.., B, n]
};

// P = Xhat Q, c, g of the layer.
Gain gain_of_one(const at::Tensor& p, const at::Tensor& certainty, const at::Tensor& signal) {
  const auto root = certainty.sqrt().unsqueeze(-1);
  const auto inverse = at::where(root.gt(0), root.reciprocal(), at::zeros_like(root));
  return {signal * inverse, p * root};
}

// The same for a batch. With C = diag(c), (K + 1/C - diag(s))^-1 = C^1/2 N^-1 C^1/2 for
// N = I + C^1/2 (K - diag(s)) C^1/2, of which a layer that no sample reaches (c = 0) is no special
// case.
Gain gain_of_batch(const at::Tensor& p, const at::Tensor& xhat, const at::Tensor& certainty,
                   const at::Tensor& signal) {
  auto gain = gain_of_one(p, certainty, signal);
  const auto root = certainty.sqrt().unsqueeze(-1);
  auto system = nn::product(p, xhat.mT());
  system.mul_(root).mul_(root.mT());
  // Identical samples whose noise rounds away would leave it singular.
  const double ridge = xhat.scalar_type() == at::kDouble ? 1e-14 : 1e-6;
  system.diagonal(0, -2, -1).fill_(1 + ridge * static_cast<double>(xhat.size(-2)));
  const auto factor = std::get<0>(at::linalg_cholesky_ex(system));
  const auto one = at::eye(system.size(-1), system.options()).expand_as(system);
  const auto inverse = at::linalg_solve_triangular(factor, one, /*upper=*/false);
  return {nn::product(inverse, gain.left), nn::product(inverse, gain.right)};
}

void narrow_(at::Tensor& covariance, const at::Tensor& right, double share) {
  nn::product_out(covariance, right.mT(), right, -share, 1);
}

// Linear change of the predictions by the steps, [.., B, n_L].
at::Tensor predicted_change(const nn::NetworkImpl& network, const nn::Feedforward& pass,
                            const std::vector<at::Tensor>& activity,
                            const std::vector<Gain>& gains) {
  at::Tensor change;
  for (std::size_t l = 1; l <= network.size(); ++l) {
    const auto& layer = network.layer(l);
    const auto& gain = gains[l - 1];
    // Xhat dW^T with the B x B product first.
    auto moved = nn::product(nn::product(activity[l - 1], gain.right.mT()), gain.left);
    if (change.defined()) moved.add_(nn::forward_product(change, layer.weight));
    nn::multiply_slope_(moved, pass.outputs[l], layer.options.activation());
    if (change.defined() && layer.options.residual()) moved.add_(change);
    change = moved;
  }
  return change;
}

// Actual change of the predictions by the steps.
at::Tensor actual_change(const nn::NetworkImpl& network, const nn::Feedforward& pass,
                         const std::vector<Gain>& gains) {
  auto x = pass.activities.front();
  for (std::size_t l = 1; l <= network.size(); ++l) {
    const auto& layer = network.layer(l);
    const auto& gain = gains[l - 1];
    auto z = nn::preactivation(layer, x);
    const auto input = nn::with_bias_unit(x, layer.bias);
    z.add_(nn::product(nn::product(input, gain.right.mT()), gain.left));
    nn::activate_(z, layer.options.activation());
    x = layer.options.residual() ? x + z : z;
  }
  return x - pass.prediction();
}

// All steps, and the change d that they predict, times clip(<r, d> / <d, d>, 0, 1).
at::Tensor shorten_(std::vector<Gain>& gains, at::Tensor& change, const at::Tensor& residual) {
  const auto fit = (residual * change).sum({-2, -1}) / change.square().sum({-2, -1});
  const auto scale = at::where(fit.isnan(), at::ones_like(fit), fit.clamp(0, 1));
  const auto factor = scale.unsqueeze(-1).unsqueeze(-1);
  for (auto& gain : gains) gain.left = gain.left * factor;
  change.mul_(factor);
  return scale;
}

Step step_of(const nn::NetworkImpl& network, const nn::Feedforward& pass,
             const std::vector<Gain>& gains) {
  Step step{.layers = {}, .own = {}, .prediction = pass.prediction(), .report = std::nullopt};
  for (std::size_t l = 1; l <= network.size(); ++l) {
    const auto& layer = network.layer(l);
    const auto direction = nn::product(gains[l - 1].left.mT(), gains[l - 1].right);
    OwnDirections own{.layer = l, .parameters = {layer.weight}, .directions = {direction}};
    if (layer.bias.defined()) {
      const auto n = layer.weight.size(-1);
      own.directions = {direction.narrow(-1, 0, n), direction.select(-1, n)};
      own.parameters.push_back(layer.bias);
    }
    step.own.push_back(std::move(own));
  }
  return step;
}

std::string key(std::size_t layer) {
  return fmt::format("covariance{}", layer);
}

}  // namespace

KalmanPredictiveCoding::KalmanPredictiveCoding(KalmanOptions options) : options_(options) {
  TORCH_CHECK(options.rho >= 0, "rho must not be negative, not ", options.rho);
}

void KalmanPredictiveCoding::start(const nn::NetworkImpl& network) {
  const bool fresh = covariances_.empty();
  TORCH_CHECK(fresh || covariances_.size() == network.size(), "the memory has ",
              covariances_.size(), " layers, the network ", network.size());
  for (std::size_t l = 1; l <= network.size(); ++l) {
    const auto& layer = network.layer(l);
    const auto n = layer.weight.size(-1) + (layer.bias.defined() ? 1 : 0);
    if (fresh) {
      const auto one = at::eye(n, layer.weight.options().requires_grad(false))
                           .div_(static_cast<double>(layer.weight.size(-1)));
      covariances_.push_back(layer.weight.dim() == 3 ? one.repeat({layer.weight.size(0), 1, 1})
                                                     : one);
    }
    const auto& q = covariances_[l - 1];
    TORCH_CHECK(q.size(-1) == n && q.dim() == layer.weight.dim() &&
                    (q.dim() == 2 || q.size(0) == layer.weight.size(0)),
                "the covariance of layer ", l, " is ", q.sizes(), ", but its weight is ",
                layer.weight.sizes());
    check_residency(q, layer.weight.device(), "the covariance of layer ", l);
  }
}

// Plain means at first, which forget once they have seen 1 / (1 - decay) batches.
double KalmanPredictiveCoding::newest() const {
  return std::max(1 / static_cast<double>(batches_), 1 - kDecay);
}

void KalmanPredictiveCoding::observe(const at::Tensor& residual) {
  const auto mean = residual.square().mean({-2, -1});
  ++batches_;
  mean_square_ = mean_square_.defined() ? at::lerp(mean_square_, mean, newest()) : mean;
  if (options_.rho > 0) {
    noise_ = mean_square_ * options_.rho;
  } else if (!noise_.defined()) {
    noise_ = mean_square_ * kFirstNoise;
  }
}

void KalmanPredictiveCoding::learn_noise(const at::Tensor& residual, const at::Tensor& change,
                                         const at::Tensor& actual) {
  const auto found = (residual * (residual - change) + (actual - change).square()).mean({-2, -1});
  noise_ = at::maximum(at::lerp(noise_, found, newest()), mean_square_ * kLeastNoise);
}

Step KalmanPredictiveCoding::factors(const nn::NetworkImpl& network, const data::Batch& batch) {
  const at::NoGradGuard no_grad;
  TORCH_CHECK(network.is_dense(), "kpc trains Dense layers only");
  TORCH_CHECK(batch.samples == batch.input.size(-2),
              "kpc needs the samples of a batch, not a compressed one");
  const auto pass = nn::feedforward(network, batch.input);
  const auto residual = network.enter(batch.target, network.out_features()) - pass.prediction();
  start(network);
  observe(residual);

  const auto layers = network.size();
  KalmanInput input{network, pass, residual, {}, noise_};
  std::vector<at::Tensor> activity;
  std::vector<at::Tensor> spread;  // P = Xhat Q
  for (std::size_t l = 1; l <= layers; ++l) {
    activity.push_back(nn::with_bias_unit(pass.activities[l - 1], network.layer(l).bias));
    spread.push_back(nn::product(activity.back(), covariances_[l - 1]));
    input.leverages.push_back((spread.back() * activity.back()).sum(-1).clamp_min_(0));
  }
  const auto equilibrium = settle(input);

  const auto shares = rank_shares(network);
  const bool alone = residual.size(-2) == 1;
  std::vector<Gain> gains;
  report_ = {};
  report_.noise = input.noise;
  for (std::size_t l = 1; l <= layers; ++l) {
    const auto rank = shares[l - 1] * static_cast<double>(network.layer(l).weight.size(-2));
    const auto certainty = (equilibrium.traces[l - 1] / rank).clamp_min_(0);
    const auto& signal = equilibrium.signals[l - 1];
    gains.push_back(alone ? gain_of_one(spread[l - 1], certainty, signal)
                          : gain_of_batch(spread[l - 1], activity[l - 1], certainty, signal));
    narrow_(covariances_[l - 1], gains.back().right, shares[l - 1]);
    report_.leverages.push_back(input.leverages[l - 1].mean(-1));
    report_.certainties.push_back((certainty * input.leverages[l - 1]).mean(-1));
  }
  if (alone) {
    report_.scale = at::ones_like(input.noise);
    report_.change = residual - equilibrium.value * input.noise.unsqueeze(-1).unsqueeze(-1);
  } else {
    report_.change = predicted_change(network, pass, activity, gains);
    report_.scale = shorten_(gains, report_.change, residual);
  }
  const auto actual = actual_change(network, pass, gains);
  report_.linearity =
      (report_.change * actual).sum({-2, -1}) / report_.change.square().sum({-2, -1});
  if (options_.rho == 0) learn_noise(residual, report_.change, actual);
  return step_of(network, pass, gains);
}

std::map<std::string, at::Tensor> measurements(const KalmanReport& report) {
  if (!report.noise.defined()) return {};
  std::map<std::string, at::Tensor> found{{"kpc_noise", report.noise},
                                          {"kpc_scale", report.scale},
                                          {"kpc_linearity", report.linearity}};
  for (std::size_t i = 0; i < report.leverages.size(); ++i) {
    found[fmt::format("kpc_leverage{}", i + 1)] = report.leverages[i];
    found[fmt::format("kpc_certainty{}", i + 1)] = report.certainties[i];
  }
  return found;
}

std::map<std::string, double> KalmanPredictiveCoding::diagnostics() const {
  std::map<std::string, double> found;
  for (const auto& [name, values] : measurements(report_)) {
    found[name] = values.mean().item().toDouble();
  }
  return found;
}

void KalmanPredictiveCoding::save(torch::serialize::OutputArchive& archive) const {
  archive.write("layers", at::full({}, static_cast<std::int64_t>(covariances_.size()), at::kLong));
  archive.write("batches", at::full({}, batches_, at::kLong));
  if (mean_square_.defined()) {
    archive.write("mean_square", mean_square_);
    archive.write("noise", noise_);
  }
  for (std::size_t i = 0; i < covariances_.size(); ++i) archive.write(key(i), covariances_[i]);
}

void KalmanPredictiveCoding::load(torch::serialize::InputArchive& archive) {
  at::Tensor layers;
  at::Tensor batches;
  TORCH_CHECK(archive.try_read("layers", layers) && archive.try_read("batches", batches),
              "the archive holds no Kalman predictive coding");
  std::vector<at::Tensor> loaded(static_cast<std::size_t>(layers.item<std::int64_t>()));
  TORCH_CHECK(covariances_.empty() || loaded.empty() || loaded.size() == covariances_.size(),
              "the archive holds ", loaded.size(), " layers, not ", covariances_.size());
  for (std::size_t i = 0; i < loaded.size(); ++i) {
    archive.read(key(i), loaded[i]);
    if (covariances_.empty()) continue;
    const auto& here = covariances_[i];
    TORCH_CHECK(loaded[i].sizes() == here.sizes() && loaded[i].scalar_type() == here.scalar_type(),
                "the covariance of layer ", i + 1, " is ", loaded[i].sizes(), " ",
                loaded[i].dtype(), ", not ", here.sizes(), " ", here.dtype());
  }
  at::Tensor mean_square;
  at::Tensor noise;
  if (!loaded.empty()) {
    archive.read("mean_square", mean_square);
    archive.read("noise", noise);
  }
  covariances_ = std::move(loaded);
  mean_square_ = std::move(mean_square);
  noise_ = std::move(noise);
  batches_ = batches.item<std::int64_t>();
}

}  // namespace pcxx::learning
