#include <gtest/gtest.h>
#include <pcxx/data/linear_teacher.h>
#include <pcxx/inference/state_descent.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/learning/incremental.h>
#include <pcxx/learning/predictive_coding.h>
#include <pcxx/nn/conv2d.h>
#include <pcxx/nn/cross_entropy.h>
#include <pcxx/optim/rescaled.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/optim/sgd.h>

#include "support/networks.h"
#include "support/own_layers.h"

namespace pcxx::learning {
namespace {

using nn::Activation;
using test::random_batch;
using test::random_network;
using test::relative_difference;

using Tensors = std::vector<at::Tensor>;

std::vector<nn::Network> incremental_networks() {
  auto mixed = nn::mlp({5, 6, 6, 7, 4}, Activation::kTanh, Activation::kSigmoid).with_bias();
  mixed.layers()[1].residual(true).activation(Activation::kLeakyReLU);
  auto logits = nn::mlp({5, 9, 6, 4}, Activation::kSiLU).with_bias();
  logits.loss(std::make_shared<nn::CrossEntropy>());
  const auto convolution =
      nn::Conv2dOptions(1, 2, 3).size(4, 4).activation(Activation::kTanh).bias(true);
  const auto images = nn::mlp({16, 8, 5, 3}, Activation::kTanh).with_layer(1, [=](auto, auto) {
    return std::make_shared<nn::Conv2d>(convolution);
  });
  return {random_network(nn::mlp({5, 4, 6})),
          random_network(nn::mlp({4, 3})),
          random_network(mixed),
          random_network(mixed.ensemble(2)),
          random_network(logits),
          random_network(images),
          test::gated_network()};
}

data::Batch incremental_batch(const nn::NetworkImpl& network, std::int64_t batch_size,
                              std::uint64_t seed = 1) {
  auto batch = random_batch(network, batch_size, seed);
  if (network.loss().is_of_logits()) batch.target = at::softmax(3 * batch.target, -1);
  return batch;
}

nn::Network twin_of(const nn::NetworkImpl& network) {
  return nn::Network(std::dynamic_pointer_cast<nn::NetworkImpl>(network.clone()));
}

// The energy of a batch, differentiable in hidden activities and parameters.
at::Tensor whole_energy(const nn::NetworkImpl& network, const data::Batch& batch,
                        const Tensors& hidden) {
  auto energy = at::zeros({}, at::kDouble);
  for (std::size_t l = 1; l <= network.size(); ++l) {
    const auto prediction = network.layer(l).prediction(l == 1 ? batch.input : hidden[l - 2]);
    if (l < network.size()) {
      energy = energy + 0.5 * (hidden[l - 1] - prediction).square().sum();
    } else if (network.loss().is_squared_error()) {
      energy = energy + 0.5 * (batch.target - prediction).square().sum();
    } else {
      energy = energy - (batch.target * at::log_softmax(prediction, -1)).sum();
    }
  }
  return energy;
}

// Hidden activities at the feed-forward pass.
Tensors first_activities(const nn::NetworkImpl& network, const data::Batch& batch) {
  Tensors hidden;
  auto x = batch.input;
  for (std::size_t l = 1; l < network.size(); ++l) {
    x = network.layer(l).prediction(x).detach();
    hidden.push_back(x.clone().requires_grad_());
  }
  return hidden;
}

// The algorithm by autograd: in each pass all step down the energy at once.
void learn_by_autograd_(const nn::NetworkImpl& network, const data::Batch& batch,
                        const IncrementalOptions& options, double rate) {
  auto hidden = first_activities(network, batch);
  auto parameters = network.parameters();
  for (std::int64_t t = 0; t < options.passes; ++t) {
    Tensors all = hidden;
    all.insert(all.end(), parameters.begin(), parameters.end());
    const auto gradients = torch::autograd::grad({whole_energy(network, batch, hidden)}, all);
    const at::NoGradGuard no_grad;
    for (std::size_t i = 0; i < all.size(); ++i) {
      const bool state = i < hidden.size();
      all[i].sub_(gradients[i],
                  state ? options.step_size : rate / static_cast<double>(batch.samples));
    }
  }
}

void learn_(const nn::NetworkImpl& network, LearningRule& rule, optim::Rescaled& optimizer,
            const data::Batch& batch) {
  for (std::int64_t i = 0; i < rule.steps_per_batch(); ++i) {
    optimizer.step(rule.factors(network, batch));
  }
}

optim::Rescaled sgd(const nn::NetworkImpl& network, double rate) {
  return {torch::optim::SGD(network.parameters(), rate), std::make_unique<optim::Plain>()};
}

// Oracle: autograd of the energy, several batches one after the other: none leaves anything behind.
TEST(IncrementalPredictiveCoding, DescendsTheEnergyInActivitiesAndWeightsAtOnce) {
  for (const auto& start : incremental_networks()) {
    for (const std::int64_t passes : {1, 2, 5}) {
      SCOPED_TRACE(c10::str(start, passes));
      const IncrementalOptions options{.passes = passes, .step_size = 0.15};
      const auto network = twin_of(*start);
      const auto expected = twin_of(*start);
      IncrementalPredictiveCoding rule(options);
      auto optimizer = sgd(*network, 0.1);
      for (const std::uint64_t seed : {1, 2}) {
        const auto batch = incremental_batch(*network, 4, seed);
        learn_(*network, rule, optimizer, batch);
        learn_by_autograd_(*expected, batch, options, 0.1);
      }
      for (const auto& parameter : expected->named_parameters()) {
        const auto before = start->named_parameters()[parameter.key()];
        const auto moved = network->named_parameters()[parameter.key()] - before;
        EXPECT_LT(relative_difference(moved, parameter.value() - before), 1e-10) << parameter.key();
      }
    }
  }
}

// Oracle: state descent of so many steps, where the weights stand still.
TEST(IncrementalPredictiveCoding, IsStateDescentBetweenTheStepsOfTheWeights) {
  const auto network = random_network(nn::mlp({5, 9, 6, 4}, Activation::kTanh).with_bias());
  const auto batch = random_batch(*network, 4);
  IncrementalPredictiveCoding rule({.passes = 6, .step_size = 0.1});
  for (std::int64_t t = 0; t < 6; ++t) {
    const auto step = rule.factors(*network, batch);
    const auto descent = std::make_shared<inference::StateDescent>(inference::DescentOptions{
        .max_steps = t, .step_size = 0.1, .tolerance = 0, .energy_tolerance = 0});
    const auto expected = PredictiveCoding(descent).factors(*network, batch);
    for (std::size_t l = 0; l < 3; ++l) {
      EXPECT_LT(relative_difference(step.layers[l].error, expected.layers[l].error), 1e-12);
      EXPECT_LT(relative_difference(step.layers[l].presynaptic, expected.layers[l].presynaptic),
                1e-12);
      EXPECT_TRUE(at::equal(step.layers[l].feedforward, expected.layers[l].feedforward));
    }
    EXPECT_TRUE(at::equal(step.prediction, expected.prediction));
    EXPECT_TRUE(at::allclose(step.report->energy, expected.report->energy, 1e-12));
  }
}

// Closed form: errors reach one layer further down with every pass, and the first is
// backpropagation's at the output.
TEST(IncrementalPredictiveCoding, TeachesOneLayerMoreInEveryPass) {
  const auto network = random_network(nn::mlp({5, 6, 7, 8, 4}, Activation::kTanh));
  const auto batch = random_batch(*network, 4);
  IncrementalPredictiveCoding rule({.passes = 4, .step_size = 0.1});
  const auto bp = Backpropagation().factors(*network, batch);
  for (std::size_t t = 0; t < 4; ++t) {
    const auto step = rule.factors(*network, batch);
    if (t == 0) {
      EXPECT_LT(relative_difference(step.layers[3].error, bp.layers[3].error), 1e-14);
    }
    for (std::size_t l = 0; l < 4; ++l) {
      EXPECT_EQ(step.layers[l].error.abs().max().item<double>() > 0, l + t >= 3) << l << " " << t;
    }
  }
}

// Oracle: each member as a network of its own.
TEST(IncrementalPredictiveCoding, LearnsInAnEnsembleAsAlone) {
  const auto options = nn::mlp({5, 9, 4}, Activation::kTanh).with_bias();
  const auto ensemble = random_network(options.ensemble(3));
  const auto batch = random_batch(*ensemble, 4);
  IncrementalPredictiveCoding together;
  IncrementalPredictiveCoding alone;
  for (std::int64_t t = 0; t < together.steps_per_batch(); ++t) {
    const auto step = together.factors(*ensemble, batch);
    EXPECT_EQ(step.report->residual.sizes(), (std::vector<std::int64_t>{3, 4}));
    if (t + 1 < together.steps_per_batch()) continue;
    const data::Batch second(batch.input[1], batch.target[1]);
    Step single;
    for (std::int64_t i = 0; i <= t; ++i)
      single = alone.factors(*test::member(*ensemble, 1), second);
    for (std::size_t l = 0; l < 2; ++l) {
      EXPECT_LT(relative_difference(step.layers[l].error[1], single.layers[l].error), 1e-13);
      EXPECT_LT(relative_difference(step.layers[l].presynaptic[1], single.layers[l].presynaptic),
                1e-13);
    }
  }
}

// Oracle: the gradient of the energy in the hidden activities, by autograd, where the weights have
// moved meanwhile.
TEST(IncrementalPredictiveCoding, ReportsHowFarActivitiesAreFromRest) {
  const auto network = random_network(nn::mlp({5, 9, 6, 4}, Activation::kTanh));
  const auto batch = random_batch(*network, 3);
  const IncrementalOptions options{.passes = 3, .step_size = 0.1};
  IncrementalPredictiveCoding rule(options);
  auto optimizer = sgd(*network, 0.1);
  auto hidden = first_activities(*network, batch);
  at::Tensor first;
  for (std::int64_t t = 0; t < 3; ++t) {
    const auto gradients = torch::autograd::grad({whole_energy(*network, batch, hidden)}, hidden);
    const auto norm = (gradients[0].square().sum(-1) + gradients[1].square().sum(-1)).sqrt();
    if (t == 0) first = norm;
    const auto step = rule.factors(*network, batch);
    EXPECT_TRUE(at::allclose(step.report->residual, norm / first, 1e-10));
    EXPECT_NEAR(step.report->energy.sum().item<double>(),
                whole_energy(*network, batch, hidden).item<double>(), 1e-12);
    EXPECT_EQ(step.report->max_steps(), t + 1);
    EXPECT_FALSE(step.report->all_converged());
    EXPECT_FALSE(step.report->any_unstable());
    optimizer.step(step);
    const at::NoGradGuard no_grad;
    for (std::size_t i = 0; i < 2; ++i) hidden[i].sub_(gradients[i], options.step_size);
  }
}

// Contract: in the midst of a batch no other one is taken, not even of the same shape; after it any
// is. The report of activities that nothing pulls has a residual of 0.
TEST(IncrementalPredictiveCoding, StaysWithItsBatch) {
  const auto network = random_network(nn::mlp({5, 9, 4}, Activation::kTanh));
  const auto batch = random_batch(*network, 4);
  IncrementalPredictiveCoding rule({.passes = 3});
  rule.factors(*network, batch);
  EXPECT_THROW(rule.factors(*network, random_batch(*network, 5)), c10::Error);
  EXPECT_THROW(rule.factors(*network, random_batch(*network, 4, 2)), c10::Error);
  for (int i = 0; i < 2; ++i) rule.factors(*network, batch);
  EXPECT_EQ(rule.factors(*network, random_batch(*network, 5)).report->max_steps(), 1);
  EXPECT_TRUE(rule.state().empty());

  const data::Batch learnt(batch.input, network->forward(batch.input).detach());
  EXPECT_EQ(IncrementalPredictiveCoding().factors(*network, learnt).report->max_residual(), 0);
  EXPECT_THROW(IncrementalPredictiveCoding({.passes = 0}), c10::Error);
  EXPECT_THROW(IncrementalPredictiveCoding({.step_size = 0}), c10::Error);
}

// What is left of the error of a teacher's map after so many batches.
double part_left_over(LearningRule& rule, double rate) {
  const auto network = random_network(nn::mlp({6, 10, 6}));
  data::LinearTeacher teacher(data::LinearTeacherOptions(6, 6), 1,
                              at::TensorOptions().dtype(at::kDouble));
  const auto held_out = teacher.held_out(200);
  const auto error = [&] {
    const at::NoGradGuard no_grad;
    return (network->forward(held_out.input) - held_out.target).square().mean().item<double>();
  };
  const double before = error();
  auto optimizer = sgd(*network, rate);
  for (int t = 0; t < 150; ++t) learn_(*network, rule, optimizer, teacher.next(8));
  return error() / before;
}

// Invariant: it learns the map, as predictive coding does from as many batches.
TEST(IncrementalPredictiveCoding, LearnsAsPredictiveCodingDoes) {
  IncrementalPredictiveCoding incremental;
  PredictiveCoding settled;
  const double ours = part_left_over(incremental, 0.05);
  const double theirs = part_left_over(settled, 0.2);
  std::cout << "left over: ipc " << ours << ", pc " << theirs << "\n";
  EXPECT_LT(ours, 1e-6);
  EXPECT_LT(theirs, 1e-6);
}

}  // namespace
}  // namespace pcxx::learning
