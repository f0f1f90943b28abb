#include <gtest/gtest.h>
#include <pcxx/inference/error_descent.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/learning/predictive_coding.h>

#include "support/networks.h"

namespace pcxx::learning {
namespace {

using nn::Activation;
using test::random_batch;
using test::random_network;
using test::relative_difference;

std::vector<nn::NetworkOptions> networks() {
  auto mixed = nn::mlp({5, 6, 6, 7, 4}, Activation::kTanh, Activation::kSigmoid).with_bias();
  mixed.layers()[1].residual(true).activation(Activation::kLeakyReLU);
  return {nn::mlp({5, 4, 6}),
          nn::mlp({4, 3}),
          nn::linear_residual(5, 3).with_bias().ensemble(2),
          nn::mlp({5, 9, 4, 6}, Activation::kReLU, Activation::kSigmoid),
          nn::mlp({5, 9, 4, 6}, Activation::kGELU, Activation::kSiLU).with_bias(),
          nn::mlp({5, 9, 4, 6}, Activation::kReLU).with_bias().ensemble(3),
          mixed,
          mixed.ensemble(2)};
}

void expect_gradients(const nn::NetworkImpl& network, const Step& step, double tolerance) {
  for (std::size_t l = 1; l <= network.size(); ++l) {
    const auto& layer = network.dense(l);
    const auto& factors = step.layers[l - 1];
    EXPECT_TRUE(factors.weight.is_same(layer.weight));
    EXPECT_LT(relative_difference(-weight_direction(factors), layer.weight.grad()), tolerance);
    if (layer.bias.defined()) {
      EXPECT_LT(relative_difference(-bias_direction(factors), layer.bias.grad()), tolerance);
    }
  }
}

// Oracle: autograd of (1/B) sum 1/2 ||y - yhat||^2.
TEST(Backpropagation, IsAutograd) {
  for (const auto& options : networks()) {
    for (const std::int64_t batch_size : {1, 6}) {
      const auto network = random_network(options);
      SCOPED_TRACE(c10::str(network));
      const auto batch = random_batch(*network, batch_size);
      const auto step = Backpropagation().factors(*network, batch);
      const auto prediction = network->forward(batch.input);
      EXPECT_LT(relative_difference(step.prediction, prediction), 1e-14);
      const auto loss =
          0.5 * (batch.target - prediction).square().sum() / static_cast<double>(batch_size);
      loss.backward();
      expect_gradients(*network, step, 1e-10);
      EXPECT_FALSE(step.report);
    }
  }
}

// Oracle: autograd of the energy in the weights, at the activities that inference ended with,
// converged or not.
TEST(PredictiveCoding, IsTheGradientOfTheEnergyInTheWeights) {
  for (const auto& options : networks()) {
    for (const std::int64_t steps : {1, 30}) {
      const auto network = random_network(options);
      SCOPED_TRACE(c10::str(network));
      const auto batch = random_batch(*network, 4);
      const auto descent = std::make_shared<inference::ErrorDescent>(
          inference::DescentOptions{.max_steps = steps, .step_size = 0.1});
      const auto step = PredictiveCoding(descent).factors(*network, batch);
      auto x = descent->infer(*network, batch).activities;
      auto energy = at::zeros({}, at::kDouble);
      for (std::size_t l = 1; l <= network->size(); ++l) {
        energy = energy + 0.5 * (x[l] - network->dense(l).forward(x[l - 1])).square().sum();
      }
      (energy / 4).backward();
      expect_gradients(*network, step, 1e-10);
      ASSERT_TRUE(step.report);
    }
  }
}

// Invariant: without a step inference is the feed-forward pass, and only the output layer learns.
TEST(PredictiveCoding, WithoutInferenceOnlyTheOutputLayerHasAnError) {
  for (const auto& options : networks()) {
    const auto network = random_network(options);
    const auto batch = random_batch(*network, 4);
    const auto descent =
        std::make_shared<inference::ErrorDescent>(inference::DescentOptions{.max_steps = 0});
    const auto step = PredictiveCoding(descent).factors(*network, batch);
    const auto bp = Backpropagation().factors(*network, batch);
    for (std::size_t l = 0; l < network->size(); ++l) {
      const auto& layer = step.layers[l];
      EXPECT_LT(relative_difference(layer.presynaptic, layer.feedforward), 1e-14);
      if (l + 1 < network->size()) {
        EXPECT_EQ(layer.error.abs().max().item<double>(), 0);
      }
    }
    EXPECT_LT(relative_difference(step.layers.back().error, bp.layers.back().error), 1e-14);
  }
}

// Oracle: Danskin's theorem. At the equilibrium the derivative of the minimal energy in the weights
// is the partial derivative, so central differences of 1/2 r^T S^-1 r give the same direction.
TEST(PredictiveCoding, DescendsTheEquilibratedEnergy) {
  const at::NoGradGuard no_grad;
  const auto network = random_network(nn::mlp({3, 4, 5, 2}));
  const auto batch = random_batch(*network, 3);
  const auto step = PredictiveCoding().factors(*network, batch);
  const auto energy = [&] {
    return PredictiveCoding().factors(*network, batch).report->mean_energy();
  };
  const double h = 1e-5;
  for (std::size_t l = 1; l <= network->size(); ++l) {
    auto flat = network->dense(l).weight.view(-1);
    const auto direction = weight_direction(step.layers[l - 1]).view(-1);
    for (std::int64_t i = 0; i < flat.numel(); ++i) {
      const auto w = flat[i].item<double>();
      flat[i].fill_(w + h);
      const double above = energy();
      flat[i].fill_(w - h);
      const double below = energy();
      flat[i].fill_(w);
      EXPECT_NEAR(-(above - below) / (2 * h), direction[i].item<double>(), 1e-8);
    }
  }
}

// Invariant: the prediction is the target-free forward pass, whatever the target.
TEST(PredictiveCoding, PredictionDoesNotSeeTheTarget) {
  const auto network = random_network(nn::mlp({5, 9, 4, 6}, Activation::kReLU));
  const auto batch = random_batch(*network, 4);
  const auto step = PredictiveCoding().factors(*network, batch);
  EXPECT_LT(relative_difference(step.prediction, network->forward(batch.input)), 1e-14);
}

// Invariant: samples enter the update through their sum only, so a batch is the mean of its
// samples.
TEST(Rules, ABatchIsTheMeanOfItsSamples) {
  const auto network = random_network(nn::mlp({5, 9, 4, 6}, Activation::kReLU));
  const auto batch = random_batch(*network, 4);
  Backpropagation bp;
  PredictiveCoding pc;
  for (LearningRule* rule : {static_cast<LearningRule*>(&bp), static_cast<LearningRule*>(&pc)}) {
    const auto whole = rule->factors(*network, batch);
    for (std::size_t l = 0; l < network->size(); ++l) {
      auto mean = at::zeros_like(whole.layers[l].weight);
      for (std::int64_t b = 0; b < 4; ++b) {
        const data::Batch one(batch.input.slice(0, b, b + 1), batch.target.slice(0, b, b + 1));
        mean = mean + weight_direction(rule->factors(*network, one).layers[l]) / 4;
      }
      EXPECT_LT(relative_difference(weight_direction(whole.layers[l]), mean), 1e-10);
    }
  }
}

}  // namespace
}  // namespace pcxx::learning
