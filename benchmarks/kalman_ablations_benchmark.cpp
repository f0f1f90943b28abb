// What each part of Kalman predictive coding is worth, and what was tried in place of it: the rule
// for one sample at a time, with a part replaced, on ten tasks; mean over the seeds and standard
// deviation. The library's own rule comes first, by either narrowing, then the same with
// R = 0.3 mean(r^2), and that once more written out here, as are those below it.
//
//   kalman_ablations_benchmark DATA_FOLDER SEEDS [PART_OF_A_NAME]
//
// With a part of a name, only the rules whose names have it.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <pcxx/pcxx.h>
#include <torch/optim/sgd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>

namespace {

using namespace pcxx;

constexpr double kRho = 0.3;
constexpr double kDecay = 0.98;

// What narrows the covariance: Q -= share (Q xhat) (Q xhat)^T.
enum class Shrink {
  kCertainty,    // c m / n
  kNone,         // 0
  kComplete,     // 1 / (R + s): the sample told the layer what its output should have been
  kGeometric,    // their geometric mean
  kInnovation,   // between the two, the nearer to complete the smaller r^T S^-1 r is than expected
  kTransfer,     // what the coupled filter takes away of the uncertainty at the next sample
  kForgetting,   // c m / n, and Q grows by 1 / (1 - 1 / 2n) at every sample while tr Q < 1
  kOneVariance,  // c m / n of Q = q I, of which only the mean is kept
};

// Where the errors come from.
enum class Errors {
  kEquilibrium,      // with variances s
  kUnitPrecisions,   // with variances 1, as in plain predictive coding
  kBackpropagation,  // g = J^T r over the mean of S's diagonal
};

struct Variant {
  Shrink shrink = Shrink::kCertainty;
  Errors errors = Errors::kEquilibrium;
};

at::Tensor with_bias_unit(const at::Tensor& x, const at::Tensor& bias) {
  return bias.defined() ? at::cat({x, at::ones({x.size(0), 1}, x.options())}, -1) : x;
}

// J_l of the layers, [n_L, n_l]: row k is the signal of output k.
std::vector<at::Tensor> jacobians(const nn::NetworkImpl& network, const nn::Feedforward& pass) {
  std::vector<at::Tensor> found(network.size());
  auto signal = at::eye(pass.prediction().size(-1), pass.prediction().options());
  for (auto l = network.size(); l >= 1; --l) {
    const auto& layer = network.dense(l);
    nn::multiply_slope_(signal, pass.outputs[l], layer.options.activation());
    found[l - 1] = signal;
    signal = signal.mm(layer.weight);
  }
  return found;
}

// What one sample says of a layer.
struct Sample {
  at::Tensor jacobian;  // J
  at::Tensor activity;  // xhat of the layer below
  at::Tensor spread;    // Q xhat
  double leverage;      // s
};

class KalmanVariant final : public learning::LearningRule {
 public:
  explicit KalmanVariant(Variant variant) : variant_(variant) {}

  std::string_view name() const override { return "kalman_variant"; }

  learning::Step factors(const nn::NetworkImpl& network, const data::Batch& batch) override {
    const at::NoGradGuard no_grad;
    const auto pass = nn::feedforward(network, batch.input);
    const auto residual = (batch.target - pass.prediction()).squeeze(0);
    start(network, residual.options());
    observe(residual);
    const auto samples = look(network, pass);
    const auto inverse = precision(samples, residual);
    if (variant_.shrink == Shrink::kTransfer) compare(samples);
    learning::Step step{.layers = {}, .own = {}, .prediction = pass.prediction(), .report = {}};
    for (std::size_t l = 1; l <= network.size(); ++l) {
      step.own.push_back(learn(network, l, samples[l - 1], inverse, residual));
    }
    last_ = samples;
    last_inverse_ = inverse;
    return step;
  }

 private:
  void start(const nn::NetworkImpl& network, at::TensorOptions options) {
    if (!covariances_.empty()) return;
    for (std::size_t l = 1; l <= network.size(); ++l) {
      const auto& layer = network.dense(l);
      const auto n = layer.weight.size(-1);
      covariances_.push_back(
          at::eye(n + (layer.bias.defined() ? 1 : 0), options).div_(static_cast<double>(n)));
    }
    kept_.assign(network.size(), 0);
    taken_.assign(network.size(), 0);
  }

  // R = rho mean(r^2), a running mean: the form that has no use for the actual change.
  void observe(const at::Tensor& residual) {
    newest_ = std::max(1 / static_cast<double>(++count_), 1 - kDecay);
    mean_square_ += newest_ * (residual.square().mean().item<double>() - mean_square_);
    noise_ = kRho * mean_square_;
  }

  std::vector<Sample> look(const nn::NetworkImpl& network, const nn::Feedforward& pass) const {
    auto jacobian = jacobians(network, pass);
    std::vector<Sample> samples;
    for (std::size_t i = 0; i < network.size(); ++i) {
      const auto x = with_bias_unit(pass.activities[i], network.dense(i + 1).bias).squeeze(0);
      const auto spread = covariances_[i].mv(x);
      samples.push_back({jacobian[i], x, spread, std::max(spread.dot(x).item<double>(), 1e-30)});
    }
    return samples;
  }

  // Variance of the layer's error in the equilibrium.
  double variance(const Sample& sample) const {
    return variant_.errors == Errors::kUnitPrecisions ? 1 : sample.leverage;
  }

  // S^-1, or its stand-in.
  at::Tensor precision(const std::vector<Sample>& samples, const at::Tensor& residual) {
    const auto one = at::eye(residual.size(0), residual.options());
    auto s = one * noise_;
    for (const auto& sample : samples) {
      s.add_(sample.jacobian.mm(sample.jacobian.t()), variance(sample));
    }
    if (variant_.errors == Errors::kBackpropagation) s = one * s.diagonal().mean();
    const auto inverse = at::linalg_inv(s);
    const auto innovation =
        residual.dot(inverse.mv(residual)).item<double>() / static_cast<double>(residual.size(0));
    innovation_ += newest_ * (innovation - innovation_);
    return inverse;
  }

  // The shares of the layers' leverages that the last sample should have taken, from this one.
  void compare(const std::vector<Sample>& samples) {
    if (last_.empty()) return;
    double total = 0;
    auto covariance = at::zeros_like(last_inverse_);
    std::vector<double> shared;
    for (std::size_t i = 0; i < samples.size(); ++i) {
      const auto& now = samples[i];
      shared.push_back(now.activity.dot(last_[i].spread).item<double>());
      covariance.add_(last_[i].jacobian.mm(now.jacobian.t()), shared[i]);
      total += now.leverage * now.jacobian.square().sum().item<double>();
    }
    const auto explained = last_inverse_.mm(covariance);
    for (std::size_t i = 0; i < samples.size(); ++i) {
      const auto& now = samples[i];
      const auto overlap = last_[i].jacobian.mm(now.jacobian.t());
      const auto taken = shared[i] * (overlap * explained).sum().item<double>() / total;
      const auto kept = shared[i] * shared[i] / last_[i].leverage *
                        now.jacobian.square().sum().item<double>() / total;
      taken_[i] += newest_ * (taken - taken_[i]);
      kept_[i] += newest_ * (kept - kept_[i]);
    }
  }

  learning::OwnDirections learn(const nn::NetworkImpl& network, std::size_t l, const Sample& sample,
                                const at::Tensor& inverse, const at::Tensor& residual) {
    const auto& layer = network.dense(l);
    // The layer's error over its leverage; what the equilibrium says of it in units of leverage.
    const auto scale = variance(sample) / sample.leverage;
    const auto signal = sample.jacobian.t().mv(inverse.mv(residual)) * scale;
    const auto trace = (sample.jacobian * inverse.mm(sample.jacobian)).sum().item<double>() * scale;
    const auto direction = at::outer(signal, sample.spread);
    narrow_(l - 1, sample, trace / static_cast<double>(layer.weight.size(-2)));
    learning::OwnDirections own{.layer = l, .parameters = layer.parameters(), .directions = {}};
    const auto n = layer.weight.size(-1);
    own.directions.push_back(direction.narrow(-1, 0, n));
    if (layer.bias.defined()) own.directions.push_back(direction.select(-1, n));
    return own;
  }

  void narrow_(std::size_t i, const Sample& sample, double certain) {
    auto& q = covariances_[i];
    const auto& p = sample.spread;
    if (variant_.shrink == Shrink::kOneVariance) {
      q.diagonal().sub_(p.dot(p) * (certain / static_cast<double>(p.size(0))));
      return;
    }
    q.addr_(p, p, 1, -share(i, sample, certain));
    if (variant_.shrink == Shrink::kForgetting && q.trace().item<double>() < 1) {
      q.div_(1 - 0.5 / static_cast<double>(p.size(0)));
    }
  }

  double share(std::size_t i, const Sample& sample, double certain) const {
    const auto complete = 1 / (noise_ + sample.leverage);
    switch (variant_.shrink) {
      case Shrink::kNone:
        return 0;
      case Shrink::kComplete:
        return complete;
      case Shrink::kGeometric:
        return std::sqrt(certain * complete);
      case Shrink::kInnovation:
        return certain + (complete - certain) * std::clamp(1 - innovation_, 0.0, 1.0);
      case Shrink::kTransfer: {
        const auto matched = kept_[i] > 0 ? std::clamp(taken_[i] / kept_[i], 0.0, 1.0) : 0;
        return std::min(std::max(matched / sample.leverage, certain), complete);
      }
      default:
        return certain;
    }
  }

  Variant variant_;
  std::vector<at::Tensor> covariances_;
  std::vector<Sample> last_;
  at::Tensor last_inverse_;
  std::vector<double> kept_, taken_;
  double mean_square_ = 0, noise_ = 0, innovation_ = 1, newest_ = 1;
  std::int64_t count_ = 0;
};

// ---- Rules --------------------------------------------------------------------------------------

struct Entry {
  std::string name;
  std::function<std::unique_ptr<learning::LearningRule>()> rule;
};

Entry kalman(std::string name, learning::KalmanOptions options) {
  return {std::move(name),
          [options] { return std::make_unique<learning::KalmanPredictiveCoding>(options); }};
}

Entry variant(std::string name, Variant variant) {
  return {std::move(name), [variant] { return std::make_unique<KalmanVariant>(variant); }};
}

std::vector<Entry> entries() {
  constexpr auto kByConstancy = learning::Narrowing::kConstancy;
  return {kalman("kpc", {}),
          kalman("kpc, by constancy", {.narrowing = kByConstancy}),
          kalman("kpc, R = 0.3 mean(r^2)", {.noise_fraction = kRho}),
          kalman("kpc, R = 0.3 mean(r^2), by constancy",
                 {.noise_fraction = kRho, .narrowing = kByConstancy}),
          variant("the same, written out", {}),
          variant("unit precisions", {.errors = Errors::kUnitPrecisions}),
          variant("errors of backpropagation", {.errors = Errors::kBackpropagation}),
          variant("constant Q", {.shrink = Shrink::kNone}),
          variant("Q = q I", {.shrink = Shrink::kOneVariance}),
          variant("complete shrink", {.shrink = Shrink::kComplete}),
          variant("geometric mean", {.shrink = Shrink::kGeometric}),
          variant("shrink by innovation", {.shrink = Shrink::kInnovation}),
          variant("transfer-matched shrink", {.shrink = Shrink::kTransfer}),
          variant("forgetting", {.shrink = Shrink::kForgetting})};
}

// ---- Tasks --------------------------------------------------------------------------------------

struct Task {
  std::string name;
  std::function<double(learning::LearningRule&, std::uint64_t seed)> result;
};

optim::Rescaled optimizer_of(const nn::Network& network) {
  return {torch::optim::SGD(network->parameters(), 1.0), std::make_unique<optim::Plain>()};
}

nn::Network fresh_network(nn::NetworkOptions options, at::ScalarType dtype, std::uint64_t seed) {
  nn::Network network(std::move(options));
  network->to(dtype);
  nn::init::lecun_(*network, make_generator(seed, Purpose::kWeights));
  return network;
}

// Test accuracy after `steps` images.
Task classification(const std::string& folder, const std::string& dataset, std::int64_t steps) {
  const auto images = data::load_images(dataset, data::Split::kTrain, folder);
  const auto tests = data::load_images(dataset, data::Split::kTest, folder);
  const auto result = [=](learning::LearningRule& rule, std::uint64_t seed) {
    const auto network = fresh_network(
        nn::mlp({784, 128, 64, 10}, nn::Activation::kReLU).with_bias(), at::kFloat, seed);
    auto optimizer = optimizer_of(network);
    data::Minibatches minibatches(images.size(), seed);
    for (std::int64_t step = 0; step < steps; ++step) {
      optimizer.step(rule.factors(
          *network, data::classification_batch(images, minibatches.next(1), 10, at::kFloat)));
    }
    const auto test = data::classification_batch(tests, at::arange(tests.size()), 10, at::kFloat);
    return metrics::accuracy(*network, test.input, tests.labels).item<double>();
  };
  return {fmt::format("{}, {}", dataset, steps), result};
}

// Mean squared error of the prediction, noise aside, after `steps` samples.
Task regression(std::string name, const nn::NetworkOptions& options,
                const data::LinearTeacherOptions& teacher_options, std::int64_t steps) {
  const auto result = [=](learning::LearningRule& rule, std::uint64_t seed) {
    const auto network = fresh_network(options, at::kDouble, seed);
    auto optimizer = optimizer_of(network);
    data::LinearTeacher teacher(teacher_options, seed);
    for (std::int64_t step = 0; step < steps; ++step) {
      optimizer.step(rule.factors(*network, teacher.next(1)));
    }
    const auto test = teacher.held_out(1000);
    const at::NoGradGuard no_grad;
    return (network->forward(test.input) - test.target).square().mean().item<double>();
  };
  return {std::move(name), result};
}

std::vector<Task> tasks(const std::string& folder) {
  const data::LinearTeacherOptions linear(20, 20);
  const auto relu = data::LinearTeacherOptions(20, 20).targets(data::Targets::kReluTeacher);
  const std::vector<std::int64_t> deep(10, 20);
  const auto relu_network = nn::mlp({20, 100, 20}, nn::Activation::kReLU);
  return {classification(folder, "mnist", 500),
          classification(folder, "mnist", 2000),
          classification(folder, "fashion-mnist", 2000),
          regression("ReLU teacher, 1 x 100", relu_network, relu, 2000),
          regression("the same, noise 0.1", relu_network,
                     data::LinearTeacherOptions(relu).noise(0.1), 2000),
          regression("ReLU, 4 x 50", nn::mlp({20, 50, 50, 50, 50, 20}, nn::Activation::kReLU), relu,
                     2000),
          regression("ReLU, 8 x 50",
                     nn::mlp({20, 50, 50, 50, 50, 50, 50, 50, 50, 20}, nn::Activation::kReLU), relu,
                     2000),
          regression("linear, 4 x 20", nn::mlp({20, 20, 20, 20, 20, 20}), linear, 1000),
          regression("linear, 8 x 20", nn::mlp(deep), linear, 1000),
          regression("the same, noise 0.1", nn::mlp(deep),
                     data::LinearTeacherOptions(linear).noise(0.1), 1000)};
}

void compare(const std::string& folder, std::int64_t seeds, const std::string& wanted) {
  const auto all = tasks(folder);
  fmt::print("| rule |");
  for (const auto& task : all) fmt::print(" {} |", task.name);
  for (const auto& entry : entries()) {
    if (entry.name.find(wanted) == std::string::npos) continue;
    fmt::print("\n| {} |", entry.name);
    for (const auto& task : all) {
      std::vector<double> results;
      for (std::int64_t seed = 0; seed < seeds; ++seed) {
        results.push_back(task.result(*entry.rule(), static_cast<std::uint64_t>(seed)));
      }
      const auto [sd, mean] = at::std_mean(at::tensor(results, at::kDouble), 0);
      fmt::print(" {:.3g} ({:.1g}) |", mean.item<double>(), sd.item<double>());
      std::fflush(stdout);
    }
  }
  fmt::print("\n");
}

}  // namespace

int main(int argc, char** argv) try {
  const auto seeds = argc == 3 || argc == 4 ? std::strtoll(argv[2], nullptr, 10) : 0;
  if (seeds < 2) {
    fmt::print(stderr,
               "usage: kalman_ablations_benchmark DATA_FOLDER SEEDS [PART_OF_A_NAME], 2 seeds or "
               "more\n");
    return 2;
  }
  at::set_num_threads(1);
  compare(argv[1], seeds, argc == 4 ? argv[3] : "");
} catch (const std::exception& error) {
  std::fprintf(stderr, "kalman_ablations_benchmark: %s\n", error.what());
  return 2;
}
