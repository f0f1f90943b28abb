#include <ATen/ATen.h>
#include <fmt/format.h>
#include <pcxx/core/error.h>
#include <pcxx/core/precision.h>
#include <pcxx/core/residency.h>
#include <pcxx/learning/kalman.h>
#include <pcxx/linalg/products.h>
#include <pcxx/nn/activation.h>
#include <pcxx/nn/feedforward.h>

#include <algorithm>

#include "learning/kalman_equilibrium.h"
#include "learning/kalman_gain.h"
#include "learning/kalman_layers.h"
#include "learning/kalman_narrowing.h"
#include "learning/parts.h"
#include "nn/bias_unit.h"

namespace pcxx::learning {

namespace {

constexpr double kDecay = 0.98;  // of running means
// Of the weights, by losses whose curvature has a bound: of Dense layers, and of convolutions, whose
// evidence adds up over the locations of an image.
constexpr double kBoundedPrior = 64;
constexpr double kBoundedPatchPrior = 16;
constexpr double kFirstNoise = 0.3;   // R of the first batch, and
constexpr double kLeastNoise = 1e-4;  // its least, as parts of the mean of r^2

double least_rho(at::ScalarType dtype) {
  return dtype == at::kDouble ? kLeastRho<double> : kLeastRho<float>;
}

void narrow_(at::Tensor& covariance, const at::Tensor& right, double share) {
  linalg::gram_out(covariance, right.mT(), -share, 1);
}

// For each layer that is not linear, means over all samples: of f' and, last, of ||f'||^2,
// [.., n_l + 1].
Peers::Tensors mean_slopes(const KalmanBatch& batch) {
  Peers::Tensors sums;
  for (std::size_t l = 1; l <= batch.network.size(); ++l) {
    const auto slope =
        nn::slope(batch.pass.outputs[l], batch.network.dense(l).options.activation());
    if (!slope.defined()) continue;
    sums.push_back(at::cat({slope.sum(-2), slope.square().sum({-2, -1}).unsqueeze(-1)}, -1));
  }
  if (sums.empty()) return sums;
  auto means = batch.peers.sums(std::move(sums));
  if (!batch.is_one()) {
    for (auto& mean : means) mean = mean / static_cast<double>(batch.samples);
  }
  return means;
}

// The slice at its equilibrium.
struct Settled {
  std::vector<at::Tensor> activity;      // Xhat of each layer, with its bias unit
  at::Tensor value;                      // v
  std::vector<KalmanEvidence> evidence;  // of each layer, of all samples
};

// g, c and s of each layer, one after the other.
Peers::Tensors told_by(const KalmanEquilibrium& equilibrium, const KalmanInput& input) {
  const auto shares = rank_shares(input.network);
  Peers::Tensors told;
  for (std::size_t i = 0; i < shares.size(); ++i) {
    const auto& signal = equilibrium.signals[i];
    const auto rank = shares[i] * static_cast<double>(signal.size(-1));
    told.push_back(signal);
    told.push_back((equilibrium.traces[i] / rank).clamp_min_(0).unsqueeze(-1));
    told.push_back(input.leverages[i].unsqueeze(-1));
  }
  return told;
}

// Each layer's columns of K = Xhat Q Xhat^T that belong to the slice, as rows: it is symmetric.
Peers::Tensors grams_of(const Peers::Tensors& spreads, const std::vector<at::Tensor>& activity) {
  Peers::Tensors grams;
  for (std::size_t i = 0; i < spreads.size(); ++i) {
    grams.push_back(linalg::product(spreads[i], activity[i].mT()).mT());
  }
  return grams;
}

Settled settled(const KalmanBatch& batch, const std::vector<at::Tensor>& covariances,
                const at::Tensor& noise) {
  const auto& network = batch.network;
  KalmanInput input{network, batch.pass, batch.residual, {}, noise};
  Settled result;
  Peers::Tensors spreads;  // P = Xhat Q
  for (std::size_t l = 1; l <= network.size(); ++l) {
    const auto xhat = nn::with_bias_unit(batch.pass.activities[l - 1], network.dense(l).bias);
    spreads.push_back(linalg::product(xhat, covariances[l - 1]));
    input.leverages.push_back((spreads.back() * xhat).sum(-1).clamp_min_(0));
    result.activity.push_back(xhat);
  }
  // Each message is under way while what comes next is computed.
  const auto all_spreads = batch.peers.rows(spreads);
  const auto equilibrium = settle(input);
  const auto all_told = batch.peers.rows(told_by(equilibrium, input));
  spreads = all_spreads();
  Peers::Tensors grams(spreads.size());
  if (!batch.is_one()) grams = batch.peers.rows(grams_of(spreads, result.activity))();
  const auto told = all_told();
  for (std::size_t i = 0; i < spreads.size(); ++i) {
    const auto gram = batch.is_one() ? at::Tensor() : grams[i].mT();
    result.evidence.push_back({spreads[i], told[3 * i], told[3 * i + 1], told[3 * i + 2], gram});
  }
  result.value = equilibrium.value;
  return result;
}

// Linear change of the predictions by the steps, [.., b, n_L].
at::Tensor predicted_change(const KalmanBatch& batch, const std::vector<at::Tensor>& activity,
                            const std::vector<KalmanGain>& gains) {
  const auto& network = batch.network;
  at::Tensor change;
  for (std::size_t l = 1; l <= network.size(); ++l) {
    const auto& layer = network.dense(l);
    const auto& gain = gains[l - 1];
    // Xhat dW^T with the B x B product first.
    auto moved = linalg::product(linalg::product(activity[l - 1], gain.right.mT()), gain.left);
    if (change.defined()) moved.add_(linalg::forward_product(change, layer.weight));
    nn::multiply_slope_(moved, batch.pass.outputs[l], layer.options.activation());
    if (change.defined() && layer.options.residual()) moved.add_(change);
    change = moved;
  }
  return change;
}

// Actual change of the predictions by the steps.
at::Tensor actual_change(const KalmanBatch& batch, const std::vector<KalmanGain>& gains) {
  const auto& network = batch.network;
  auto x = batch.pass.activities.front();
  for (std::size_t l = 1; l <= network.size(); ++l) {
    const auto& layer = network.dense(l);
    const auto& gain = gains[l - 1];
    auto z = nn::preactivation(layer, x);
    const auto input = nn::with_bias_unit(x, layer.bias);
    z.add_(linalg::product(linalg::product(input, gain.right.mT()), gain.left));
    nn::activate_(z, layer.options.activation());
    x = layer.options.residual() ? x + z : z;
  }
  return x - batch.pass.prediction();
}

// All steps, and the change d that they predict, times clip(<r, d> / <d, d>, 0, 1).
at::Tensor shorten_(std::vector<KalmanGain>& gains, at::Tensor& change, const KalmanBatch& batch) {
  const auto found = batch.sums({batch.residual * change, change.square()});
  const auto fit = found[0] / found[1];
  const auto scale = at::where(fit.isnan(), at::ones_like(fit), fit.clamp(0, 1));
  const auto factor = scale.unsqueeze(-1).unsqueeze(-1);
  for (auto& gain : gains) gain.left = gain.left * factor;
  change.mul_(factor);
  return scale;
}

// From the step [n_l, n] of each layer with a weight, in their order.
Step step_of(const nn::NetworkImpl& network, const nn::Feedforward& pass,
             const std::vector<at::Tensor>& steps) {
  Step step{.layers = {}, .own = {}, .prediction = pass.prediction(), .report = std::nullopt};
  auto next = steps.begin();
  for (std::size_t l = 1; l <= network.size(); ++l) {
    const auto& layer = network.layer(l);
    if (!layer.affine().weight.defined()) continue;
    step.own.push_back({.layer = l,
                        .parameters = layer.parameters(),
                        .directions = directions_of(layer, *next++)});
  }
  return step;
}

// Whether there are the shorter ways of Dense layers and the squared error.
bool is_dense(const nn::NetworkImpl& network) {
  if (!network.loss().is_squared_error()) return false;
  for (std::size_t l = 1; l <= network.size(); ++l) {
    if (dynamic_cast<const nn::DenseImpl*>(&network.layer(l)) == nullptr) return false;
  }
  return true;
}

// Of its state.
constexpr const char* kLayers = "layers";
constexpr const char* kSlopes = "slopes";
constexpr const char* kBatches = "batches";
constexpr const char* kMeanSquare = "mean_square";
constexpr const char* kNoise = "noise";

std::string key(std::size_t layer) {
  return fmt::format("covariance{}", layer);
}

std::string slope_key(std::size_t i) {
  return fmt::format("slopes{}", i);
}

}  // namespace

KalmanPredictiveCoding::KalmanPredictiveCoding(KalmanOptions options) : options_(options) {
  TORCH_CHECK(options.noise_fraction >= 0, "noise_fraction must not be negative, not ",
              options.noise_fraction);
  TORCH_CHECK(options.prior_variance >= 0, "prior_variance must not be negative, not ",
              options.prior_variance);
}

void KalmanPredictiveCoding::start(const nn::NetworkImpl& network) {
  const bool fresh = covariances_.empty();
  std::size_t i = 0;
  for (std::size_t l = 1; l <= network.size(); ++l) {
    const auto [weight, bias] = network.layer(l).affine();
    if (!weight.defined()) continue;
    const auto inputs = weight[0].numel() / (weight.dim() == 3 ? weight.size(1) : 1);
    const auto n = inputs + (bias.defined() ? 1 : 0);
    if (fresh) {
      const auto one =
          at::eye(n, weight.options().requires_grad(false))
              .mul_(prior_variance(network.loss(), weight) / static_cast<double>(inputs));
      covariances_.push_back(network.members() ? one.repeat({*network.members(), 1, 1}) : one);
    }
    TORCH_CHECK(i < covariances_.size(), "the memory has ", covariances_.size(),
                " layers, the network more");
    const auto& q = covariances_[i++];
    TORCH_CHECK(q.dim() == (network.members() ? 3 : 2) && q.size(-1) == n && q.size(-2) == n &&
                    (q.dim() == 2 || q.size(0) == *network.members()) &&
                    q.scalar_type() == weight.scalar_type(),
                "the covariance of layer ", l, " is ", q.sizes(), ", but its weight is ",
                weight.sizes());
    check_residency(q, weight.device(), "the covariance of layer ", l);
  }
  TORCH_CHECK(i == covariances_.size(), "the memory has ", covariances_.size(),
              " layers, the network ", i);
}

double KalmanPredictiveCoding::prior_variance(const nn::Loss& loss,
                                              const at::Tensor& weight) const {
  if (options_.prior_variance > 0) return options_.prior_variance;
  if (loss.is_squared_error()) return 1;
  return weight.dim() == 4 ? kBoundedPatchPrior : kBoundedPrior;
}

// Plain means at first, which forget once they have seen 1 / (1 - decay) batches.
double KalmanPredictiveCoding::newest() const {
  return std::max(1 / static_cast<double>(batches_), 1 - kDecay);
}

void KalmanPredictiveCoding::observe(const at::Tensor& mean_square) {
  for (const auto& known : {mean_square_, noise_}) {
    TORCH_CHECK(!known.defined() || (known.sizes() == mean_square.sizes() &&
                                     known.scalar_type() == mean_square.scalar_type()),
                "the memory's noise is ", known.sizes(), ", not ", mean_square.sizes());
  }
  ++batches_;
  mean_square_ =
      mean_square_.defined() ? at::lerp(mean_square_, mean_square, newest()) : mean_square;
  if (options_.noise_fraction > 0) {
    noise_ =
        mean_square_ * std::max(options_.noise_fraction, least_rho(mean_square_.scalar_type()));
  } else if (!noise_.defined()) {
    noise_ = mean_square_ * kFirstNoise;
  }
  // Residuals of 0 tell nothing of R, by whose square the equilibrium divides.
  const double tiny = noise_.scalar_type() == at::kDouble ? 1e-150 : 1e-18;
  const auto unknown = noise_.lt(tiny);
  if (unknown.is_cpu() && !unknown.any().item<bool>()) return;
  auto guess = mean_square_ * kFirstNoise;
  guess = at::where(guess.lt(tiny), 1, guess);
  noise_ = at::where(unknown, guess, noise_);
}

void KalmanPredictiveCoding::observe_slopes(std::vector<at::Tensor> means) {
  TORCH_CHECK(slopes_.empty() || slopes_.size() == means.size(), "the memory has slopes of ",
              slopes_.size(), " layers, the network of ", means.size());
  for (std::size_t i = 0; i < slopes_.size(); ++i) {
    TORCH_CHECK(slopes_[i].sizes() == means[i].sizes(), "the slopes of the memory are ",
                slopes_[i].sizes(), ", those of the network ", means[i].sizes());
    means[i] = at::lerp(slopes_[i], means[i], newest());
  }
  slopes_ = std::move(means);
}

void KalmanPredictiveCoding::learn_noise(const at::Tensor& found) {
  noise_ = at::maximum(at::lerp(noise_, found, newest()), mean_square_ * kLeastNoise);
}

Step KalmanPredictiveCoding::factors(const nn::NetworkImpl& network, const data::Batch& batch) {
  TORCH_CHECK(batch.samples == batch.input.size(-2),
              "kpc needs the samples of a batch, not a compressed one");
  NoPeers all;
  return shared_factors(network, batch, all);
}

Step KalmanPredictiveCoding::shared_factors(const nn::NetworkImpl& network,
                                            const data::Batch& slice, Peers& peers) {
  const at::NoGradGuard no_grad;
  const auto pass = nn::feedforward(network, slice.input);
  const auto residual =
      network.residual(pass.prediction(), network.enter(slice.target, network.out_features()));
  KalmanBatch batch{network, pass, residual, peers, slice.samples};
  start(network);
  observe(batch.mean_of_outputs(batch.sums({residual.square()}).front()));
  batch.curvature = curvature_of(network, residual);
  if (batch.curvature.defined()) noise_ = at::ones_like(noise_);
  batch.noise = noise_;
  report_ = {};
  report_.noise = noise_;
  const auto steps = is_dense(network) ? learn_dense(batch) : learn_layers(batch);
  return step_of(network, pass, steps);
}

// H of the loss; undefined for the squared error.
at::Tensor KalmanPredictiveCoding::curvature_of(const nn::NetworkImpl& network,
                                                const at::Tensor& residual) const {
  const auto& loss = network.loss();
  if (loss.is_squared_error()) return {};
  const auto curvature = loss.curvature_bound(network.out_features(), residual.options());
  TORCH_CHECK(curvature.defined(), "kpc needs a bound of the loss's curvature, and ", loss.name(),
              " has none");
  TORCH_CHECK(options_.noise_fraction == 0, "noise_fraction is of the squared error: ", loss.name(),
              " says how noisy its targets are");
  return curvature;
}

std::vector<at::Tensor> KalmanPredictiveCoding::learn_layers(const KalmanBatch& batch) {
  TORCH_CHECK(options_.narrowing == Narrowing::kCertainty,
              "narrowing = constancy is for Dense layers and the squared error");
  auto lesson = learn(batch, covariances_);
  report_.leverages = std::move(lesson.leverages);
  report_.certainties = std::move(lesson.certainties);
  report_.scale = lesson.scale;
  report_.change = lesson.change;
  compare(batch, actual_change(batch, lesson.steps));
  return std::move(lesson.steps);
}

std::vector<at::Tensor> KalmanPredictiveCoding::learn_dense(const KalmanBatch& batch) {
  const auto& network = batch.network;
  const auto& residual = batch.residual;
  auto samples = settled(batch, covariances_, noise_);

  const auto shares = rank_shares(network);
  const bool by_constancy = options_.narrowing == Narrowing::kConstancy;
  Constancy constancy;
  if (by_constancy) {
    observe_slopes(mean_slopes(batch));
    constancy = constancy_of(slopes_, noise_);
  }
  std::vector<KalmanGain> gains;
  for (std::size_t i = 0; i < network.size(); ++i) {
    auto& evidence = samples.evidence[i];
    at::Tensor rows;
    if (by_constancy) rows = rows_by_constancy(evidence, shares[i], constancy);
    gains.push_back(kalman_gain(evidence));
    if (by_constancy) {
      narrow_(covariances_[i], rows, 1);
    } else {
      narrow_(covariances_[i], gains.back().right, shares[i]);
    }
    report_.leverages.push_back(evidence.leverage.mean({-2, -1}));
    report_.certainties.push_back((evidence.certainty * evidence.leverage).mean({-2, -1}));
  }
  if (batch.is_one()) {
    report_.scale = at::ones_like(noise_);
    report_.change = residual - samples.value * noise_.unsqueeze(-1).unsqueeze(-1);
  } else {
    report_.change = predicted_change(batch, samples.activity, gains);
    report_.scale = shorten_(gains, report_.change, batch);
  }
  compare(batch, actual_change(batch, gains));
  std::vector<at::Tensor> steps;
  for (const auto& gain : gains) steps.push_back(linalg::product(gain.left.mT(), gain.right));
  return steps;
}

// What the steps changed, with what was expected of them.
void KalmanPredictiveCoding::compare(const KalmanBatch& batch, const at::Tensor& actual) {
  const auto& change = report_.change;
  const auto& residual = batch.residual;
  const auto compared = batch.sums({change * actual, change.square(),
                                    residual * (residual - change) + (actual - change).square()});
  report_.linearity = compared[0] / compared[1];
  const bool learns_noise = options_.noise_fraction == 0 && batch.network.loss().is_squared_error();
  if (learns_noise) learn_noise(batch.mean_of_outputs(compared[2]));
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
  for (const auto& [name, values] : learning::measurements(report_)) {
    found[name] = values.mean().item().toDouble();
  }
  return found;
}

State KalmanPredictiveCoding::state() const {
  State state{{kLayers, as_count(static_cast<std::int64_t>(covariances_.size()))},
              {kSlopes, as_count(static_cast<std::int64_t>(slopes_.size()))},
              {kBatches, as_count(batches_)}};
  if (mean_square_.defined()) {
    state[kMeanSquare] = mean_square_;
    state[kNoise] = noise_;
  }
  for (std::size_t i = 0; i < covariances_.size(); ++i) state[key(i)] = covariances_[i];
  for (std::size_t i = 0; i < slopes_.size(); ++i) state[slope_key(i)] = slopes_[i];
  return state;
}

void KalmanPredictiveCoding::set_state(const State& state) {
  const auto layers = static_cast<std::size_t>(count_of(state, kLayers));
  TORCH_CHECK(covariances_.empty() || layers == 0 || layers == covariances_.size(),
              "the state has ", layers, " layers, not ", covariances_.size());
  const auto batches = count_of(state, kBatches);
  std::vector<at::Tensor> covariances;
  for (std::size_t i = 0; i < layers; ++i) {
    const auto& found = entry(state, key(i));
    covariances.push_back(
        entry_like(state, key(i), covariances_.empty() ? found : covariances_[i]));
  }
  const auto sloped = static_cast<std::size_t>(count_of(state, kSlopes));
  std::vector<at::Tensor> slopes;
  for (std::size_t i = 0; i < sloped; ++i) slopes.push_back(entry(state, slope_key(i)).clone());
  at::Tensor mean_square;
  at::Tensor noise;
  if (layers > 0) {
    mean_square = entry(state, kMeanSquare).clone();
    noise = entry(state, kNoise).clone();
  }
  covariances_ = std::move(covariances);
  slopes_ = std::move(slopes);
  mean_square_ = std::move(mean_square);
  noise_ = std::move(noise);
  batches_ = batches;
}

RulePart kalman_part() {
  const auto keys =
      config::OptionKeys<KalmanOptions>()
          .add(&KalmanOptions::noise_fraction,
               {.name = "noise_fraction",
                .doc = "kpc: the fraction of the mean squared residual that counts as noise of the "
                       "targets, at least what dtype resolves (1e-5, or 1e-14 in float64); 0 "
                       "leaves the noise to the rule",
                .minimum = 0,
                .old_name = "rho"})
          .add(&KalmanOptions::narrowing,
               {.name = "narrowing",
                .doc = "kpc: how fast its uncertainty narrows: by what each sample makes certain, "
                       "or the nearer to recursive least squares the less the slopes of the units "
                       "change from sample to sample, which suits linear networks as well; the "
                       "latter for Dense layers and the squared error"})
          .add(&KalmanOptions::prior_variance,
               {.name = "prior_variance",
                .doc = "kpc: the variance of the weights before the first sample, times a layer's "
                       "inputs; 0 is 1, or 64 with a loss of logits (16 in convolutions)",
                .minimum = 0});
  RulePart part;
  part.name = "kpc";
  part.options = keys.keys();
  part.fixes = {{"learning_rate", "1"}, {"schedule", "\"constant\""}, {"warmup_steps", "0"},
                {"momentum", "0"},      {"nesterov", "false"},        {"weight_decay", "0"}};
  part.make = [keys](const config::Config& model, const auto&) {
    const auto options = keys.read(model);
    const auto loss = model.has("loss") ? model.text("loss") : "squared_error";
    if (loss != "squared_error" && options.noise_fraction > 0) {
      user_error(
          "noise_fraction is for the squared error: loss = '{}' says how noisy its targets "
          "are",
          loss);
    }
    return std::make_unique<KalmanPredictiveCoding>(options);
  };
  part.dense_only = {"narrowing", "constancy"};
  part.whole_steps = true;
  part.weights_only = true;
  part.no_lanes = "kpc weighs each sample by itself";
  return part;
}

}  // namespace pcxx::learning
