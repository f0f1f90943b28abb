#include "support/own_layers.h"

#include <gtest/gtest.h>
#include <pcxx/inference/error_descent.h>
#include <pcxx/inference/lbfgs.h>
#include <pcxx/inference/state_descent.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/learning/predictive_coding.h>

#include "support/networks.h"

namespace pcxx::learning {
namespace {

using nn::Activation;
using test::gated_network;
using test::random_batch;
using test::random_network;
using test::relative_difference;

const inference::DescentOptions kPrecise{
    .max_steps = 5000, .tolerance = 1e-12, .energy_tolerance = 0};

PredictiveCoding precise_predictive_coding() {
  return PredictiveCoding(std::make_shared<inference::Lbfgs>(kPrecise));
}

// Of every parameter, by autograd of a loss that is made of the network's parameters.
void expect_descent(const nn::NetworkImpl& network, const Step& step, double tolerance) {
  ASSERT_EQ(step.layers.size(), 2U);
  ASSERT_EQ(step.own.size(), 1U);
  EXPECT_EQ(step.own[0].layer, 2U);
  std::size_t dense = 0;
  for (const std::size_t l : {1U, 3U}) {
    const auto& layer = network.dense(l);
    const auto& factors = step.layers[dense++];
    EXPECT_TRUE(factors.weight.is_same(layer.weight));
    EXPECT_LT(relative_difference(-weight_direction(factors), layer.weight.grad()), tolerance) << l;
    EXPECT_LT(relative_difference(-bias_direction(factors), layer.bias.grad()), tolerance) << l;
  }
  const auto& own = step.own[0];
  ASSERT_EQ(own.parameters.size(), 3U);
  for (std::size_t i = 0; i < own.parameters.size(); ++i) {
    EXPECT_LT(relative_difference(-own.directions[i], own.parameters[i].grad()), tolerance) << i;
  }
}

// Oracle: autograd of (1/B) sum 1/2 ||y - yhat||^2.
TEST(OwnLayers, LearnByBackpropagationLikeAutograd) {
  for (const std::int64_t batch_size : {1, 6}) {
    const auto network = gated_network();
    const auto batch = random_batch(*network, batch_size);
    const auto step = Backpropagation().factors(*network, batch);
    const auto errors = batch.target - network->forward(batch.input);
    (0.5 * errors.square().sum() / static_cast<double>(batch_size)).backward();
    expect_descent(*network, step, 1e-12);
  }
}

// Oracle: autograd of E / B, with the equilibrium's activities held fixed.
TEST(OwnLayers, LearnByPredictiveCodingLikeTheEnergy) {
  const auto network = gated_network();
  const auto batch = random_batch(*network, 6);
  const auto step = precise_predictive_coding().factors(*network, batch);
  ASSERT_TRUE(step.report && step.report->all_converged());
  const auto activities = inference::Lbfgs(kPrecise).infer(*network, batch).activities;
  at::Tensor energy;
  for (std::size_t l = 1; l <= network->size(); ++l) {
    const auto& below = activities[l - 1];
    const auto prediction = network->layer(l).prediction(below);
    const auto square = (activities[l] - prediction).square().sum();
    energy = energy.defined() ? energy + square : square;
  }
  (energy / (2.0 * 6)).backward();
  expect_descent(*network, step, 1e-12);
}

// Oracle: the Dense network whose layers these are, derivatives written out.
TEST(OwnLayers, LearnLikeTheDenseLayersThatTheyAre) {
  const auto dense = random_network(nn::mlp({5, 6, 4, 3}, Activation::kTanh).with_bias());
  const auto own = test::disguised(*dense);
  const auto batch = random_batch(*dense, 6);
  Backpropagation bp;
  auto pc = precise_predictive_coding();
  for (LearningRule* rule : {static_cast<LearningRule*>(&bp), static_cast<LearningRule*>(&pc)}) {
    const auto expected = rule->factors(*dense, batch);
    const auto step = rule->factors(*own, batch);
    ASSERT_EQ(step.layers.size(), 1U);
    ASSERT_EQ(step.own.size(), 2U);
    EXPECT_LT(relative_difference(step.prediction, expected.prediction), 1e-14);
    EXPECT_LT(
        relative_difference(weight_direction(step.layers[0]), weight_direction(expected.layers[2])),
        1e-8);
    for (std::size_t l = 1; l <= 2; ++l) {
      const auto& directions = step.own[l - 1].directions;
      EXPECT_LT(relative_difference(directions[0], weight_direction(expected.layers[l - 1])), 1e-8);
      EXPECT_LT(relative_difference(directions[1], bias_direction(expected.layers[l - 1])), 1e-8);
    }
  }
}

// Oracle: the single network; and at the minimum no hidden activity has a gradient.
TEST(OwnLayers, SettleInAnEnsembleOfOne) {
  const auto single = gated_network();
  const auto ensemble = gated_network(1);
  const auto batch = random_batch(*single, 6);
  const auto expected = inference::Lbfgs(kPrecise).infer(*single, batch);
  const auto state = inference::Lbfgs(kPrecise).infer(*ensemble, batch);
  EXPECT_TRUE(state.report.all_converged());
  EXPECT_EQ(state.report.energy.sizes(), (std::vector<std::int64_t>{1, 6}));
  EXPECT_LT(relative_difference(state.report.energy[0], expected.report.energy), 1e-12);
  for (std::size_t l = 1; l <= single->size(); ++l) {
    EXPECT_LT(relative_difference(state.activities[l][0], expected.activities[l]), 1e-8);
    EXPECT_LT(relative_difference(state.errors[l][0], expected.errors[l]), 1e-8);
  }
  const auto above = single->layer(2).pull_back(expected.activities[1], {}, expected.errors[2], {});
  EXPECT_LT((expected.errors[1] - above.input).abs().max().item<double>(), 1e-9);
}

// Oracle: the Dense network whose layers these are, by every iterative method.
TEST(OwnLayers, SettleByErrorAndStateDescentLikeTheDenseLayersThatTheyAre) {
  const auto dense = random_network(nn::mlp({5, 6, 4, 3}, Activation::kTanh).with_bias());
  const auto own = test::disguised(*dense);
  const auto batch = random_batch(*dense, 20);
  const inference::ErrorDescent chosen_step({.max_steps = 400});
  const inference::ErrorDescent fixed_step({.max_steps = 400, .step_size = 0.2});
  const inference::StateDescent state_descent({.max_steps = 400, .step_size = 0.1});
  const std::vector<const inference::Inference*> methods{&chosen_step, &fixed_step, &state_descent};
  for (const auto* method : methods) {
    const auto expected = method->infer(*dense, batch);
    const auto state = method->infer(*own, batch);
    EXPECT_TRUE(state.report.steps.equal(expected.report.steps)) << method->name();
    EXPECT_LT(relative_difference(state.report.energy, expected.report.energy), 1e-12);
    EXPECT_LT(relative_difference(state.report.step_size, expected.report.step_size), 1e-10);
    for (std::size_t l = 1; l <= dense->size(); ++l) {
      EXPECT_LT(relative_difference(state.errors[l], expected.errors[l]), 1e-9) << method->name();
    }
  }
}

}  // namespace
}  // namespace pcxx::learning
