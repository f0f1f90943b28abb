#include <gtest/gtest.h>
#include <pcxx/core/precision.h>
#include <pcxx/core/random.h>
#include <pcxx/data/linear_teacher.h>
#include <pcxx/learning/kalman.h>
#include <pcxx/metrics/prediction_change.h>
#include <pcxx/nn/init.h>
#include <pcxx/optim/rescaled.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/optim/sgd.h>

#include "learning/kalman_equilibrium.h"
#include "support/networks.h"

namespace pcxx::learning {
namespace {

using nn::Activation;
using test::random_batch;
using test::random_network;
using test::relative_difference;

optim::Rescaled make_optimizer(const nn::NetworkImpl& network) {
  return {torch::optim::SGD(network.parameters(), 1.0), std::make_unique<optim::Plain>()};
}

std::vector<nn::NetworkOptions> networks() {
  auto mixed = nn::mlp({5, 6, 6, 7, 4}, Activation::kTanh, Activation::kSigmoid).with_bias();
  mixed.layers()[1].residual(true).activation(Activation::kLeakyReLU);
  return {nn::mlp({5, 4, 6, 3}),
          nn::mlp({4, 3}),
          nn::linear_residual(5, 3).with_bias(),
          nn::mlp({5, 9, 4, 3}, Activation::kReLU),
          nn::mlp({5, 9, 4, 3}, Activation::kGELU).with_bias(),
          nn::mlp({9, 5, 4, 6, 9}, Activation::kReLU),
          nn::mlp({9, 5, 4, 6, 9}, Activation::kReLU, Activation::kSigmoid).with_bias(),
          mixed};
}

// ---- The rule as it is defined, sample by sample, with autograd and inverses --------------------

struct Sample {
  std::vector<at::Tensor> jacobians;  // J_l [n_L, n_l]
  std::vector<at::Tensor> inputs;     // xhat_{l-1}, with the bias unit
};

Sample differentiate(const nn::NetworkImpl& network, const at::Tensor& input) {
  Sample sample;
  std::vector<at::Tensor> z;
  auto x = input;
  for (std::size_t l = 1; l <= network.size(); ++l) {
    const auto& layer = network.dense(l);
    const bool bias = layer.bias.defined();
    sample.inputs.push_back((bias ? at::cat({x, at::ones({1}, x.options())}) : x).detach());
    z.push_back(at::matmul(layer.weight, x) + (bias ? layer.bias : at::zeros({1}, x.options())));
    const auto a = nn::activate(z.back(), layer.options.activation());
    x = layer.options.residual() ? x + a : a;
  }
  for (const auto& at_layer : z) {
    std::vector<at::Tensor> rows;
    for (std::int64_t i = 0; i < x.size(0); ++i) {
      rows.push_back(torch::autograd::grad({x[i]}, {at_layer}, {}, true)[0]);
    }
    sample.jacobians.push_back(at::stack(rows));
  }
  return sample;
}

at::Tensor eye(std::int64_t n) {
  return at::eye(n, at::kDouble);
}

std::vector<at::Tensor> first_covariances(const nn::NetworkOptions& options) {
  std::vector<at::Tensor> found;
  for (const auto& layer : options.layers()) {
    const auto n = layer.in_features();
    found.push_back(eye(n + (layer.bias() ? 1 : 0)) / static_cast<double>(n));
  }
  return found;
}

struct Reference {
  std::vector<at::Tensor> steps;        // of [W b]
  std::vector<at::Tensor> covariances;  // afterwards
  std::vector<at::Tensor> certainties;  // mean of c s
};

// `constancy`: o of Narrowing::kConstancy; 0 is Narrowing::kCertainty.
Reference reference(const nn::NetworkImpl& network, const data::Batch& batch,
                    const std::vector<at::Tensor>& before, double noise, double constancy = 0) {
  const auto count = batch.input.size(0);
  const auto residual = batch.target - network.forward(batch.input).detach();
  std::vector<std::vector<at::Tensor>> g(network.size());
  std::vector<std::vector<at::Tensor>> c(network.size());
  std::vector<std::vector<at::Tensor>> s(network.size());
  std::vector<std::vector<at::Tensor>> inputs(network.size());
  std::vector<Sample> samples;
  std::vector<std::int64_t> rank(network.size());
  auto narrowest = network.out_features();
  for (std::size_t l = network.size(); l >= 1; --l) {
    narrowest = std::min(narrowest, network.dense(l).options.out_features());
    rank[l - 1] = narrowest;
  }
  for (std::int64_t b = 0; b < count; ++b) {
    samples.push_back(differentiate(network, batch.input[b]));
    const auto& sample = samples.back();
    auto total = noise * eye(network.out_features());
    for (std::size_t i = 0; i < network.size(); ++i) {
      const auto& x = sample.inputs[i];
      s[i].push_back(x.dot(at::matmul(before[i], x)));
      const auto& j = sample.jacobians[i];
      total = total + s[i].back() * at::matmul(j, j.mT());
    }
    const auto inverse = at::linalg_inv(total);
    for (std::size_t i = 0; i < network.size(); ++i) {
      const auto& j = sample.jacobians[i];
      g[i].push_back(at::matmul(j.mT(), at::matmul(inverse, residual[b])));
      // A layer of dead units has 0, which the formulas divide 0 by.
      c[i].push_back(
          (at::matmul(j.mT(), at::matmul(inverse, j)).trace() / static_cast<double>(rank[i]))
              .clamp_min(1e-100));
      inputs[i].push_back(sample.inputs[i]);
    }
  }

  Reference result;
  auto change = at::zeros_like(residual);
  for (std::size_t i = 0; i < network.size(); ++i) {
    const auto x = at::stack(inputs[i]);
    const auto certainty = at::stack(c[i]);
    const auto leverage = at::stack(s[i]);
    const auto p = at::matmul(x, before[i]);
    const auto system = at::matmul(p, x.mT()) + at::diag(certainty.reciprocal() - leverage);
    const auto m = at::matmul(at::linalg_inv(system), p);
    const auto share = static_cast<double>(rank[i]) /
                       static_cast<double>(network.dense(i + 1).options.out_features());
    result.steps.push_back(at::matmul((at::stack(g[i]) / certainty.unsqueeze(-1)).mT(), m));
    const auto left = (certainty.reciprocal() - leverage).pow(1 - constancy);
    const auto narrowing = at::matmul(p, x.mT()) + at::diag(left * std::pow(noise, constancy));
    result.covariances.push_back(before[i] -
                                 std::pow(share, 1 - constancy) *
                                     at::matmul(p.mT(), at::matmul(at::linalg_inv(narrowing), p)));
    result.certainties.push_back((certainty * leverage).mean());
    for (std::int64_t b = 0; b < count; ++b) {
      change[b] += at::matmul(samples[static_cast<std::size_t>(b)].jacobians[i],
                              at::matmul(result.steps[i], x[b]));
    }
  }
  if (count > 1) {
    const auto scale = ((residual * change).sum() / change.square().sum()).clamp(0, 1);
    for (auto& step : result.steps) step = step * scale;
  }
  return result;
}

at::Tensor step_of(const Step& step, std::size_t i) {
  const auto& directions = step.own[i].directions;
  return directions.size() == 1 ? directions[0]
                                : at::cat({directions[0], directions[1].unsqueeze(-1)}, -1);
}

// Oracle: the definition, with autograd's Jacobians and explicit inverses; each batch starts from
// the covariances that the one before has left.
TEST(Kalman, IsItsDefinition) {
  for (const auto& options : networks()) {
    for (const std::int64_t batch_size : {1, 2, 7}) {
      const auto network = random_network(options);
      SCOPED_TRACE(c10::str(network, ", ", batch_size));
      const bool sigmoid = options.layers().back().activation() == Activation::kSigmoid &&
                           network->out_features() == 9;
      KalmanPredictiveCoding rule;
      auto optimizer = make_optimizer(*network);
      auto before = first_covariances(options);
      for (std::uint64_t t = 0; t < 3; ++t) {
        const auto batch = random_batch(*network, batch_size, t);
        const auto step = rule.factors(*network, batch);
        const auto expected =
            reference(*network, batch, before, rule.report().noise.item<double>());
        // The trace of a wide sigmoid output is an estimate, which its own layer's covariance and a
        // batch's steps are made of.
        for (std::size_t i = 0; i < network->size(); ++i) {
          const bool last = i + 1 == network->size();
          const double of_layer = sigmoid && last ? 0.03 : 1e-10;
          const double of_step = sigmoid && batch_size > 1 ? 0.03 : 1e-10;
          EXPECT_LT(relative_difference(step_of(step, i), expected.steps[i]), of_step);
          EXPECT_LT(relative_difference(rule.covariances()[i], expected.covariances[i]), of_layer);
          EXPECT_NEAR(rule.report().certainties[i].item<double>(),
                      expected.certainties[i].item<double>(), of_layer);
          EXPECT_LE(rule.report().certainties[i].item<double>(), 1 + 1e-12);
          before[i] = rule.covariances()[i].clone();
        }
        optimizer.step(step);
      }
    }
  }
}

// Product over the layers of ||E f'||^2 / E ||f'||^2 to the power 8, E running over `batches`, f'
// by autograd.
class Constancy {
 public:
  double observe(const nn::NetworkImpl& network, const at::Tensor& input) {
    means_.resize(network.size());
    squares_.resize(network.size());
    const double newest = std::max(1.0 / ++batches_, 0.02);
    double product = 1;
    auto x = input;
    for (std::size_t l = 1; l <= network.size(); ++l) {
      const auto& layer = network.dense(l);
      const auto z = nn::preactivation(layer, x).detach().requires_grad_();
      const auto a = nn::activate(z, layer.options.activation());
      const bool linear = layer.options.activation() == Activation::kIdentity;
      const auto f = linear ? at::ones_like(z) : torch::autograd::grad({a.sum()}, {z})[0];
      x = (layer.options.residual() ? x + a : a).detach();
      const auto mean = f.mean(0);
      const auto square = f.square().sum(-1).mean().item<double>();
      auto& kept = means_[l - 1];
      kept = kept.defined() ? kept + newest * (mean - kept) : mean;
      squares_[l - 1] += newest * (square - squares_[l - 1]);
      if (squares_[l - 1] > 0) product *= kept.square().sum().item<double>() / squares_[l - 1];
    }
    return std::pow(product, 8);
  }

 private:
  std::vector<at::Tensor> means_;
  std::vector<double> squares_;
  int batches_ = 0;
};

// Oracle: the definition, with explicit inverses and autograd's slopes.
TEST(Kalman, NarrowsByConstancyAsDefined) {
  for (const auto& options :
       {nn::mlp({5, 4, 6, 3}), nn::linear_residual(5, 3).with_bias(),
        nn::mlp({5, 6, 4}, Activation::kTanh), nn::mlp({5, 9, 4, 3}, Activation::kReLU).with_bias(),
        nn::mlp({9, 5, 4, 6, 9}, Activation::kTanh)}) {
    for (const std::int64_t batch_size : {1, 2, 7}) {
      const auto network = random_network(options);
      SCOPED_TRACE(c10::str(network, ", ", batch_size));
      KalmanPredictiveCoding rule({.narrowing = Narrowing::kConstancy});
      auto optimizer = make_optimizer(*network);
      Constancy constancy;
      auto before = first_covariances(options);
      for (std::uint64_t t = 0; t < 4; ++t) {
        const auto batch = random_batch(*network, batch_size, t);
        const double o = constancy.observe(*network, batch.input);
        const auto step = rule.factors(*network, batch);
        const auto expected =
            reference(*network, batch, before, rule.report().noise.item<double>(), o);
        for (std::size_t i = 0; i < network->size(); ++i) {
          EXPECT_LT(relative_difference(step_of(step, i), expected.steps[i]), 1e-10);
          EXPECT_LT(relative_difference(rule.covariances()[i], expected.covariances[i]), 1e-10);
          before[i] = rule.covariances()[i].clone();
        }
        optimizer.step(step);
      }
    }
  }
}

// Oracle: recursive least squares of each layer, Q^-1 += Xhat^T Xhat / R, in linear networks.
TEST(Kalman, NarrowsLinearNetworksAsLeastSquaresDo) {
  for (const std::int64_t batch_size : {1, 5}) {
    const auto network = random_network(nn::mlp({6, 5, 7, 4}));
    KalmanPredictiveCoding rule({.narrowing = Narrowing::kConstancy});
    auto optimizer = make_optimizer(*network);
    std::vector<at::Tensor> information(network->size());
    for (std::uint64_t t = 0; t < 5; ++t) {
      const auto batch = random_batch(*network, batch_size, t);
      const auto pass = nn::feedforward(*network, batch.input);
      const auto step = rule.factors(*network, batch);
      for (std::size_t i = 0; i < network->size(); ++i) {
        const auto x = pass.activities[i].detach();
        const auto n = x.size(-1);
        if (t == 0) information[i] = eye(n) * n;
        information[i] = information[i] + at::matmul(x.mT(), x) / rule.report().noise;
        EXPECT_LT(relative_difference(rule.covariances()[i], at::linalg_inv(information[i])),
                  1e-10);
      }
      optimizer.step(step);
    }
  }
}

// Oracle: the same samples learnt by certainty, a part of whose error is left.
TEST(Kalman, LearnsDeepLinearNetworksByConstancy) {
  const auto options = nn::mlp({20, 20, 20, 20, 20, 20});
  data::LinearTeacher teacher(data::LinearTeacherOptions(20, 20), 3);
  std::vector<data::Batch> batches;
  for (int t = 0; t < 1000; ++t) batches.push_back(teacher.next(1));
  const auto test = teacher.held_out(100);
  const auto error = [&](Narrowing narrowing) {
    nn::Network network(options);
    network->to(at::kDouble);
    nn::init::norm_preserving_(*network, make_generator(3, Purpose::kWeights));
    KalmanPredictiveCoding rule({.narrowing = narrowing});
    auto optimizer = make_optimizer(*network);
    for (const auto& batch : batches) optimizer.step(rule.factors(*network, batch));
    return (test.target - network->forward(test.input)).square().mean().item<double>();
  };
  EXPECT_LT(error(Narrowing::kConstancy), 1e-3 * error(Narrowing::kCertainty));
}

// Oracle: Bayesian linear regression in information form, with the noise that the rule estimates.
TEST(Kalman, IsRecursiveLeastSquaresInOneLayer) {
  for (const std::int64_t batch_size : {1, 5}) {
    for (const bool bias : {false, true}) {
      SCOPED_TRACE(c10::str(batch_size, " ", bias));
      auto options = nn::mlp({6, 3});
      if (bias) options = options.with_bias();
      const auto network = random_network(options);
      const auto& layer = network->dense(1);
      const auto weights = [&] {
        return bias ? at::cat({layer.weight, layer.bias.unsqueeze(-1)}, -1) : layer.weight;
      };
      const auto n = bias ? 7 : 6;
      auto information = eye(n) * 6;
      auto moment = at::matmul(weights().detach(), information);
      KalmanPredictiveCoding rule;
      auto optimizer = make_optimizer(*network);
      for (std::uint64_t t = 0; t < 40; ++t) {
        const auto batch = random_batch(*network, batch_size, t);
        optimizer.step(rule.factors(*network, batch));
        const auto noise = rule.report().noise;
        const auto x =
            bias ? at::cat({batch.input, at::ones({batch_size, 1}, at::kDouble)}, -1) : batch.input;
        information = information + at::matmul(x.mT(), x) / noise;
        moment = moment + at::matmul(batch.target.mT(), x) / noise;
        const auto covariance = at::linalg_inv(information);
        EXPECT_LT(relative_difference(rule.covariances()[0], covariance), 1e-10);
        EXPECT_LT(relative_difference(weights(), at::matmul(moment, covariance)), 1e-10);
      }
    }
  }
}

// Oracle: least squares for the energy sum_l |delta_l|^2 / s_l + |r - sum_l J_l delta_l|^2 / R; the
// step makes W_l xhat move by delta_l.
TEST(Kalman, StepsToTheMinimumOfTheWeightedEnergy) {
  for (const auto& options : networks()) {
    const auto network = random_network(options);
    SCOPED_TRACE(c10::str(network));
    const auto batch = random_batch(*network, 1);
    KalmanPredictiveCoding rule;
    const auto step = rule.factors(*network, batch);
    const auto noise = rule.report().noise.item<double>();
    const auto sample = differentiate(*network, batch.input[0]);
    std::vector<at::Tensor> precisions;
    for (std::size_t i = 0; i < network->size(); ++i) {
      precisions.push_back(at::full({sample.jacobians[i].size(1)},
                                    1 / std::sqrt(rule.report().leverages[i].item<double>()),
                                    at::kDouble));
    }
    const auto jacobian = at::cat(sample.jacobians, 1);
    const auto prior = at::diag(at::cat(precisions));
    const auto system = at::cat({prior, jacobian / std::sqrt(noise)});
    const auto residual = batch.target[0] - network->forward(batch.input)[0].detach();
    const auto right =
        at::cat({at::zeros({prior.size(0)}, at::kDouble), residual / std::sqrt(noise)});
    const auto best = std::get<0>(at::linalg_lstsq(system, right.unsqueeze(-1), {}, "gelsd"));
    std::int64_t first = 0;
    for (std::size_t i = 0; i < network->size(); ++i) {
      const auto moved = at::matmul(step_of(step, i), sample.inputs[i]);
      const auto delta = best.select(1, 0).narrow(0, first, moved.size(0));
      EXPECT_LT(relative_difference(moved, delta), 1e-9);
      first += moved.size(0);
    }
  }
}

// Oracle: forward-mode differentiation of the network along the step.
TEST(Kalman, PredictsTheLinearChange) {
  for (const auto& options : networks()) {
    for (const std::int64_t batch_size : {1, 7}) {
      const auto network = random_network(options);
      SCOPED_TRACE(c10::str(network, ", ", batch_size));
      const auto batch = random_batch(*network, batch_size);
      KalmanPredictiveCoding rule;
      const auto step = rule.factors(*network, batch);
      metrics::Update update;
      for (const auto& own : step.own) {
        update.weights.push_back(own.directions[0]);
        update.biases.push_back(own.directions.size() > 1 ? own.directions[1] : at::Tensor());
      }
      const auto change =
          metrics::first_order_change(*network, nn::feedforward(*network, batch.input), update);
      EXPECT_LT(relative_difference(rule.report().change, change), 1e-10);
    }
  }
}

// Oracle: the mean of all batches up to the fiftieth, then each new one counts 0.02.
TEST(Kalman, NoiseIsAPartOfTheMeanSquaredResidual) {
  const auto network = random_network(nn::mlp({5, 3}));
  KalmanPredictiveCoding rule({.noise_fraction = 0.7});
  double sum = 0;
  double mean = 0;
  for (int t = 1; t <= 80; ++t) {
    const auto batch = random_batch(*network, 4, static_cast<std::uint64_t>(t));
    const auto now = (batch.target - network->forward(batch.input)).square().mean().item<double>();
    sum += now;
    mean = t <= 50 ? sum / t : 0.98 * mean + 0.02 * now;
    rule.factors(*network, batch);
    EXPECT_NEAR(rule.report().noise.item<double>(), 0.7 * mean, 1e-12);
  }
}

// Oracle: forward passes before and after the step that the optimizer makes.
TEST(Kalman, LinearityComparesPredictedAndActualChange) {
  for (const auto& options : networks()) {
    const auto network = random_network(options.ensemble(2));
    SCOPED_TRACE(c10::str(network));
    for (const std::int64_t batch_size : {1, 4}) {
      const auto batch = random_batch(*network, batch_size);
      KalmanPredictiveCoding rule;
      auto optimizer = make_optimizer(*network);
      const auto before = network->forward(batch.input).detach();
      optimizer.step(rule.factors(*network, batch));
      const auto actual = network->forward(batch.input).detach() - before;
      const auto& change = rule.report().change;
      const auto expected = (change * actual).sum({-2, -1}) / change.square().sum({-2, -1});
      // No change, as through dead units: no number.
      EXPECT_TRUE(at::allclose(rule.report().linearity, expected, 1e-10, 0, /*equal_nan=*/true));
    }
  }
}

// Oracle: the definition from forward passes: a mean of mean(r (r - d)) + mean((a - d)^2) over the
// batches, of which each new one counts 1/50 from the fiftieth on.
TEST(Kalman, NoiseIsWhatTheStepsLeave) {
  const auto network = random_network(nn::mlp({5, 4, 3}, Activation::kTanh));
  KalmanPredictiveCoding rule;
  auto optimizer = make_optimizer(*network);
  double noise = 0;
  for (int t = 1; t <= 60; ++t) {
    const auto batch = random_batch(*network, 2, static_cast<std::uint64_t>(t));
    const auto before = network->forward(batch.input).detach();
    optimizer.step(rule.factors(*network, batch));
    if (t > 1) {
      EXPECT_NEAR(rule.report().noise.item<double>(), noise, 1e-12);
    }
    const auto residual = batch.target - before;
    const auto& change = rule.report().change;
    const auto error = network->forward(batch.input).detach() - before - change;
    const auto found = (residual * (residual - change) + error.square()).mean().item<double>();
    noise += (found - noise) / std::min(t, 50);
  }
}

// Oracle: one way to settle is the other's, of fewer samples than are worked on at a time and more.
TEST(Kalman, SettlesAlikeAtTheOutputAndBelow) {
  for (const auto output : {Activation::kIdentity, Activation::kSigmoid}) {
    for (const auto hidden : {Activation::kReLU, Activation::kTanh, Activation::kIdentity}) {
      auto options = nn::mlp({7, 6, 6, 3, 20, 30}, hidden, output);
      options.layers()[1].residual(true);
      for (const auto& [ensemble, batch_size] :
           {std::pair{false, 4}, {true, 4}, {false, 37}, {true, 37}}) {
        const auto network = random_network(ensemble ? options.ensemble(2) : options);
        SCOPED_TRACE(c10::str(network, " of ", batch_size));
        const auto batch = random_batch(*network, batch_size);
        const auto pass = nn::feedforward(*network, batch.input);
        KalmanInput input{
            *network,
            pass,
            batch.target - pass.prediction(),
            {},
            ensemble ? at::tensor({0.2, 0.4}, at::kDouble) : at::scalar_tensor(0.3, at::kDouble)};
        for (std::size_t l = 1; l <= network->size(); ++l) {
          input.leverages.push_back(pass.activities[l - 1].square().mean(-1));
        }
        const auto dense = settle_at_output(input);
        const auto thin = settle_below_output(input);
        EXPECT_LT(relative_difference(thin.value, dense.value), 1e-11);
        for (std::size_t i = 0; i < network->size(); ++i) {
          EXPECT_LT(relative_difference(thin.signals[i], dense.signals[i]), 1e-11);
          const bool estimate = i + 1 == network->size() && output == Activation::kSigmoid;
          EXPECT_LT(relative_difference(thin.traces[i], dense.traces[i]), estimate ? 0.01 : 1e-11);
        }
      }
    }
  }
}

class KalmanNarrowing : public ::testing::TestWithParam<Narrowing> {};
INSTANTIATE_TEST_SUITE_P(Both, KalmanNarrowing,
                         ::testing::Values(Narrowing::kCertainty, Narrowing::kConstancy));

// Invariants: symmetric, no negative eigenvalue, over many steps.
TEST_P(KalmanNarrowing, CovariancesStayPositive) {
  for (const std::int64_t batch_size : {1, 4}) {
    const auto network = random_network(nn::mlp({6, 8, 3}, Activation::kReLU).with_bias());
    KalmanPredictiveCoding rule({.narrowing = GetParam()});
    auto optimizer = make_optimizer(*network);
    for (std::uint64_t t = 0; t < 10000; ++t) {
      optimizer.step(rule.factors(*network, random_batch(*network, batch_size, t)));
    }
    for (const auto& q : rule.covariances()) {
      EXPECT_LT(relative_difference(q, q.mT()), 1e-12);
      const auto eigenvalues = at::linalg_eigvalsh(q);
      EXPECT_GE(eigenvalues.min().item<double>(), -1e-12 * eigenvalues.max().item<double>());
      EXPECT_TRUE(eigenvalues.isfinite().all().item<bool>());
    }
  }
}

// Contract: a prediction that is right from the start teaches nothing and breaks nothing, even
// where one of the samples reaches no hidden unit.
TEST_P(KalmanNarrowing, StaysFiniteWithNothingToLearn) {
  const auto network = random_network(nn::mlp({3, 4, 2}, Activation::kReLU).with_bias());
  network->dense(1).weight.data().fill_(1);
  network->dense(1).bias.data().zero_();
  const auto one = at::ones({1, 3}, at::kDouble);
  const auto input = at::cat({one, -one});
  const data::Batch batch(input, nn::feedforward(*network, input).prediction().detach());
  KalmanPredictiveCoding rule({.narrowing = GetParam()});
  for (int t = 0; t < 3; ++t) {
    const auto step = rule.factors(*network, batch);
    for (std::size_t i = 0; i < network->size(); ++i) {
      EXPECT_EQ(step_of(step, i).abs().max().item<double>(), 0);
      EXPECT_TRUE(rule.covariances()[i].isfinite().all().item<bool>());
    }
  }
}

// Oracle: the member alone, and no NaN. The first member has no active unit below its output and a
// residual of 0, at first; the second learns. The least rho leaves of a sample that is seen twice
// little but rounding, which differs.
TEST_P(KalmanNarrowing, DeadLayersBreakNothing) {
  const std::vector<nn::NetworkOptions> all{
      nn::mlp({5, 4, 3}), nn::mlp({5, 6, 6, 4}, Activation::kReLU),
      nn::mlp({4, 6, 3, 9}, Activation::kReLU, Activation::kSigmoid)};
  for (const auto& options : all) {
    for (const auto dtype : {at::kDouble, at::kFloat}) {
      for (const double rho : {0.0, 1e-30, 1e-2}) {
        for (const std::int64_t batch_size : {1, 5}) {
          auto network = random_network(options.ensemble(2));
          network->dense(1).weight.data()[0].zero_();
          auto alone = test::member(*network, 1);
          network->to(dtype);
          alone->to(dtype);
          auto batch = random_batch(*network, batch_size);
          batch.input[0][0].zero_();
          batch.target[0] = nn::feedforward(*network, batch.input).prediction()[0].detach();
          KalmanPredictiveCoding rule({.noise_fraction = rho, .narrowing = GetParam()});
          KalmanPredictiveCoding single({.noise_fraction = rho, .narrowing = GetParam()});
          for (int t = 0; t < 4; ++t) {
            SCOPED_TRACE(c10::str(network, " ", dtype, " rho ", rho, " B ", batch_size, " t ", t));
            if (t == 2) batch.target[0] += 0.5;
            const auto step = rule.factors(*network, batch);
            const auto expected =
                single.factors(*alone, data::Batch(batch.input[1], batch.target[1]));
            for (std::size_t i = 0; i < network->size(); ++i) {
              const auto found = step_of(step, i);
              EXPECT_TRUE(found.isfinite().all().item<bool>());
              EXPECT_TRUE(rule.covariances()[i].isfinite().all().item<bool>());
              EXPECT_TRUE(t >= 2 || found[0].abs().max().item<double>() == 0);
              if (rho == 1e-30 && t > 0) continue;
              EXPECT_LT(relative_difference(found[1], step_of(expected, i)),
                        dtype == at::kDouble ? 1e-8 : 1e-2);
            }
          }
        }
      }
    }
  }
}

// Oracle: the least rho that the dtype can use, which takes the place of any smaller one, to the
// bit; with it, 500 batches of a teacher's end better than they began.
TEST_P(KalmanNarrowing, ATinyRhoCountsAsTheLeast) {
  for (const auto dtype : {at::kDouble, at::kFloat}) {
    const double least = dtype == at::kDouble ? kLeastRho<double> : kLeastRho<float>;
    for (const std::int64_t batch_size : {1, 16}) {
      SCOPED_TRACE(c10::str(dtype, " B ", batch_size));
      auto network = random_network(nn::mlp({6, 6, 6, 6}), 1);
      const auto teacher = random_network(nn::mlp({6, 6}), 2);
      network->to(dtype);
      const auto copy = std::dynamic_pointer_cast<nn::NetworkImpl>(network->clone());
      KalmanPredictiveCoding rule({.noise_fraction = 1e-30, .narrowing = GetParam()});
      KalmanPredictiveCoding expected({.noise_fraction = least, .narrowing = GetParam()});
      auto optimizer = make_optimizer(*network);
      auto optimizer_of_copy = make_optimizer(*copy);
      std::vector<double> errors;
      for (std::uint64_t t = 0; t < 500; ++t) {
        auto batch = random_batch(*teacher, batch_size, t);
        batch.target = teacher->forward(batch.input).detach();
        batch = {batch.input.to(dtype), batch.target.to(dtype)};
        const auto step = rule.factors(*network, batch);
        errors.push_back((batch.target - step.prediction).square().mean().item<double>());
        optimizer.step(step);
        if (t < 20) optimizer_of_copy.step(expected.factors(*copy, batch));
        if (t == 19) {
          for (std::size_t l = 1; l <= network->size(); ++l) {
            EXPECT_TRUE(at::equal(network->dense(l).weight, copy->dense(l).weight));
          }
        }
      }
      EXPECT_LT(errors.back(), 0.1 * errors.front());
    }
  }
}

// Oracle: each member by itself.
TEST_P(KalmanNarrowing, MembersOfAnEnsembleDoNotMix) {
  for (const auto& options : networks()) {
    for (const std::int64_t batch_size : {1, 3}) {
      const auto network = random_network(options.ensemble(2));
      SCOPED_TRACE(c10::str(network, ", ", batch_size));
      const auto batch = random_batch(*network, batch_size);
      KalmanPredictiveCoding together({.narrowing = GetParam()});
      const auto step = together.factors(*network, batch);
      for (std::int64_t r = 0; r < 2; ++r) {
        KalmanPredictiveCoding rule({.narrowing = GetParam()});
        const auto alone =
            rule.factors(*test::member(*network, r), data::Batch(batch.input[r], batch.target[r]));
        for (std::size_t i = 0; i < network->size(); ++i) {
          EXPECT_LT(relative_difference(step_of(step, i)[r], step_of(alone, i)), 1e-10);
          EXPECT_LT(relative_difference(together.covariances()[i][r], rule.covariances()[i]),
                    1e-12);
        }
      }
    }
  }
}

// Oracle: a run that was not interrupted, to the last bit.
TEST_P(KalmanNarrowing, GoesOnFromItsState) {
  const auto options = nn::mlp({5, 6, 3}, Activation::kTanh).with_bias();
  const auto whole = random_network(options);
  KalmanPredictiveCoding rule({.narrowing = GetParam()});
  auto optimizer = make_optimizer(*whole);
  for (std::uint64_t t = 0; t < 3; ++t) {
    optimizer.step(rule.factors(*whole, random_batch(*whole, 4, t)));
  }
  const auto copy = std::dynamic_pointer_cast<nn::NetworkImpl>(whole->clone());
  KalmanPredictiveCoding other({.narrowing = GetParam()});
  other.set_state(rule.state());
  auto others = make_optimizer(*copy);
  for (std::uint64_t t = 3; t < 6; ++t) {
    const auto batch = random_batch(*whole, 4, t);
    optimizer.step(rule.factors(*whole, batch));
    others.step(other.factors(*copy, batch));
  }
  for (std::size_t l = 1; l <= whole->size(); ++l) {
    EXPECT_TRUE(at::equal(whole->dense(l).weight, copy->dense(l).weight));
    EXPECT_TRUE(at::equal(whole->dense(l).bias, copy->dense(l).bias));
    EXPECT_TRUE(at::equal(rule.covariances()[l - 1], other.covariances()[l - 1]));
  }
  EXPECT_EQ(rule.diagnostics(), other.diagnostics());
}

// The example of docs/kalman.md. Oracle: a ReLU teacher of the network's own shape is learnt.
TEST(Kalman, LearnsInFiveLines) {
  const auto options = nn::mlp({8, 16, 4}, Activation::kReLU);
  const auto teacher = random_network(options, 1);
  const auto net = random_network(options, 2);
  std::vector<data::Batch> batches;
  for (std::uint64_t t = 0; t < 200; ++t) {
    auto batch = random_batch(*net, 4, t);
    batch.target = teacher->forward(batch.input).detach();
    batches.push_back(batch);
  }
  const auto error = [&] {
    const auto& batch = batches.front();
    return (batch.target - net->forward(batch.input)).square().mean().item<double>();
  };
  const auto before = error();
  learning::KalmanPredictiveCoding rule;
  optim::Rescaled optimizer(torch::optim::SGD(net->parameters(), 1.0),
                            std::make_unique<optim::Plain>());
  for (const auto& batch : batches) optimizer.step(rule.factors(*net, batch));
  EXPECT_LT(error(), 0.05 * before);
}

// Contract: what does not fit is refused.
TEST(Kalman, RefusesWhatDoesNotFit) {
  const auto network = random_network(nn::mlp({5, 6, 3}));
  KalmanPredictiveCoding rule;
  rule.factors(*network, random_batch(*network, 2));
  EXPECT_THROW(rule.factors(*random_network(nn::mlp({5, 7, 3})), random_batch(*network, 2)),
               c10::Error);
  auto compressed = random_batch(*network, 2);
  compressed.samples = 8;
  EXPECT_THROW(rule.factors(*network, compressed), c10::Error);
  EXPECT_THROW(KalmanPredictiveCoding({.noise_fraction = -1}), c10::Error);
  const auto wider = random_network(nn::mlp({5, 7, 3}));
  KalmanPredictiveCoding other;
  other.factors(*wider, random_batch(*wider, 2));
  EXPECT_THROW(other.set_state(rule.state()), c10::Error);
}

// Contract: a state in which one tensor is missing, or has other sizes or another dtype, is refused
// at once or with the next batch, and never read beyond its end.
TEST_P(KalmanNarrowing, RefusesAStateWithAnotherTensor) {
  const auto network = random_network(nn::mlp({5, 6, 3}, Activation::kTanh));
  const auto batch = random_batch(*network, 2);
  KalmanPredictiveCoding rule({.narrowing = GetParam()});
  rule.factors(*network, batch);
  const auto state = rule.state();
  const auto refused = [&](const State& wrong) {
    KalmanPredictiveCoding other({.narrowing = GetParam()});
    EXPECT_THROW(
        {
          other.set_state(wrong);
          other.factors(*network, batch);
        },
        c10::Error);
  };
  for (const auto& [name, tensor] : state) {
    SCOPED_TRACE(name);
    auto wrong = state;
    wrong.erase(name);
    refused(wrong);
    wrong = state;
    wrong[name] = tensor.dim() == 0 ? tensor.repeat({2}) : at::cat({tensor, tensor});
    refused(wrong);
    wrong[name] = tensor.to(at::kFloat);
    refused(wrong);
  }
}

}  // namespace
}  // namespace pcxx::learning
