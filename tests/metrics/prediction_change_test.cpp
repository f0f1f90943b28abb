#include <gtest/gtest.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/metrics/prediction_change.h>
#include <pcxx/optim/rescaling.h>

#include <limits>

#include "support/networks.h"
#include "support/updates.h"

namespace pcxx::metrics {
namespace {

using nn::Activation;
using test::moved;
using test::random_batch;
using test::random_network;
using test::random_update;
using test::relative_difference;

nn::NetworkOptions mixed() {
  auto options = nn::mlp({5, 6, 6, 7, 4}, Activation::kTanh, Activation::kSigmoid).with_bias();
  options.layers()[1].residual(true).activation(Activation::kLeakyReLU);
  return options;
}

// First and last layer residual as well, every second layer with a bias.
nn::NetworkOptions residual() {
  auto options = nn::mlp({6, 6, 6, 6}, Activation::kTanh);
  for (auto& layer : options.layers()) layer.residual(true);
  options.layers()[1].activation(Activation::kReLU).bias(true);
  return options;
}

std::vector<nn::NetworkOptions> networks() {
  return {nn::mlp({4, 3}),
          nn::mlp({4, 3}, Activation::kTanh, Activation::kTanh).with_bias(),
          nn::mlp({5, 9, 4, 6}),
          nn::mlp({5, 9, 4, 6}, Activation::kTanh),
          nn::mlp({5, 9, 4, 6}, Activation::kSigmoid, Activation::kSigmoid).with_bias(),
          nn::mlp({5, 9, 4, 6}, Activation::kReLU, Activation::kSigmoid),
          nn::mlp({5, 9, 4, 6}, Activation::kSiLU, Activation::kGELU).with_bias(),
          nn::mlp({5, 9, 4, 6}, Activation::kLeakyReLU).ensemble(2),
          nn::linear_residual(5, 3).with_bias(),
          residual(),
          residual().ensemble(2),
          mixed(),
          mixed().ensemble(3)};
}

// Oracle: central differences of the forward pass of copies that made the step. No random
// preactivation lies within a step of a kink.
TEST(FirstOrderChange, IsTheCentralDifference) {
  for (const auto& options : networks()) {
    const auto network = random_network(options);
    SCOPED_TRACE(c10::str(network));
    const auto x = random_batch(*network, 6).input;
    const auto update = random_update(*network);
    const double h = 1e-6;
    const at::NoGradGuard no_grad;
    const auto expected =
        (moved(*network, update, h)->forward(x) - moved(*network, update, -h)->forward(x)) /
        (2 * h);
    const auto change = first_order_change(*network, nn::feedforward(*network, x), update);
    ASSERT_EQ(change.sizes(), expected.sizes());
    EXPECT_LT(relative_difference(change, expected), 1e-8);
  }
}

// Oracle: autograd. The derivative of <G, yhat> along the update is <G, change> for any G, and so
// is the sum of the gradients' products with the update.
TEST(FirstOrderChange, IsAutograd) {
  for (const auto& options : networks()) {
    auto network = random_network(options);
    SCOPED_TRACE(c10::str(network));
    const auto x = random_batch(*network, 3).input;
    const auto update = random_update(*network);
    const auto change = first_order_change(*network, nn::feedforward(*network, x), update);
    const auto flat = change.reshape({-1});
    for (std::int64_t i = 0; i < flat.numel(); ++i) {
      network->zero_grad();
      network->forward(x).reshape({-1})[i].backward();
      double expected = 0;
      for (std::size_t l = 1; l <= network->size(); ++l) {
        const auto& layer = network->dense(l);
        expected += (layer.weight.grad() * update.weights[l - 1]).sum().item<double>();
        if (!layer.bias.defined()) continue;
        expected += (layer.bias.grad() * update.biases[l - 1]).sum().item<double>();
      }
      EXPECT_NEAR(flat[i].item<double>(), expected, 1e-13 * (1 + std::abs(expected)));
    }
  }
}

// Oracle: eq. 6 and 8, sum_l P_l D_l xhat_{l-1}, with the products formed explicitly.
TEST(FirstOrderChange, OfALinearNetworkIsTheSumOverLayers) {
  for (const auto& options :
       {nn::mlp({5, 9, 4, 6}), nn::mlp({4, 3}), nn::mlp({5, 7, 7, 7, 3}).ensemble(2)}) {
    const auto network = random_network(options);
    SCOPED_TRACE(c10::str(network));
    const auto x = random_batch(*network, 4).input;
    const auto update = random_update(*network);
    const at::NoGradGuard no_grad;
    auto expected = at::zeros_like(network->forward(x));
    for (std::size_t l = 1; l <= network->size(); ++l) {
      auto columns = x.mT();
      for (std::size_t k = 1; k < l; ++k) columns = at::matmul(network->dense(k).weight, columns);
      columns = at::matmul(update.weights[l - 1], columns);
      for (std::size_t k = l + 1; k <= network->size(); ++k) {
        columns = at::matmul(network->dense(k).weight, columns);
      }
      expected += columns.mT();
    }
    const auto change = first_order_change(*network, nn::feedforward(*network, x), update);
    EXPECT_LT(relative_difference(change, expected), 1e-14);
  }
}

// Oracle: a copy of the network that makes the step.
TEST(FiniteChange, IsThatOfACopyThatMakesTheStep) {
  for (const auto& options : networks()) {
    const auto network = random_network(options);
    SCOPED_TRACE(c10::str(network));
    const auto x = random_batch(*network, 6).input;
    const auto update = random_update(*network);
    const auto pass = nn::feedforward(*network, x);
    const at::NoGradGuard no_grad;
    for (const double rate : {0.5, -0.5, 1e-2}) {
      const auto expected =
          (moved(*network, update, rate)->forward(x) - network->forward(x)) / rate;
      EXPECT_LT(relative_difference(finite_change(*network, pass, update, rate), expected), 1e-12);
    }
    const auto by_default =
        (moved(*network, update, 1e-4)->forward(x) - network->forward(x)) / 1e-4;
    EXPECT_LT(relative_difference(finite_change(*network, pass, update), by_default), 1e-10);
  }
}

// Oracle: Taylor. The distance to the first-order change shrinks in proportion to the rate, as long
// as rounding does not show; the rates are too small to carry a sample across a kink.
TEST(FiniteChange, TendsToTheFirstOrderChange) {
  for (const auto& options : networks()) {
    if (options.layers().size() == 1 && options.layers()[0].activation() == Activation::kIdentity) {
      continue;  // linear in its update: no difference to shrink
    }
    const auto network = random_network(options);
    SCOPED_TRACE(c10::str(network));
    const auto pass = nn::feedforward(*network, random_batch(*network, 6).input);
    const auto update = random_update(*network);
    const auto limit = first_order_change(*network, pass, update);
    const auto distance = [&](double rate) {
      return relative_difference(finite_change(*network, pass, update, rate), limit);
    };
    EXPECT_NEAR(distance(1e-4) / distance(1e-5), 10, 0.1);
    EXPECT_LT(distance(1e-7), 1e-5);
  }
}

// Oracle: linearity. A change of the biases alone, given beside weights that stay.
TEST(FirstOrderChange, TakesBiasesLeftOutAsUnchanged) {
  const auto network = random_network(mixed());
  const auto pass = nn::feedforward(*network, random_batch(*network, 4).input);
  const auto update = random_update(*network);
  auto biases = update;
  for (auto& weight : biases.weights) weight = at::zeros_like(weight);
  Update weights{update.weights, {}};
  const auto sum =
      first_order_change(*network, pass, weights) + first_order_change(*network, pass, biases);
  EXPECT_LT(relative_difference(first_order_change(*network, pass, update), sum), 1e-14);
  EXPECT_GT(relative_difference(first_order_change(*network, pass, weights), sum), 1e-2);
  weights.biases.resize(network->size());
  EXPECT_TRUE(at::equal(first_order_change(*network, pass, weights),
                        first_order_change(*network, pass, {update.weights, {}})));
  EXPECT_TRUE(at::equal(finite_change(*network, pass, weights),
                        finite_change(*network, pass, {update.weights, {}})));
}

// Invariant: measuring changes neither the network nor the pass nor the update.
TEST(PredictionChange, LeavesEverythingAsItIs) {
  for (const auto& options : networks()) {
    const auto network = random_network(options);
    const auto pass = nn::feedforward(*network, random_batch(*network, 4).input);
    const auto update = random_update(*network);
    const auto tensors = [&] {
      std::vector<at::Tensor> all = network->parameters();
      all.insert(all.end(), pass.activities.begin(), pass.activities.end());
      all.insert(all.end(), pass.outputs.begin() + 1, pass.outputs.end());
      all.insert(all.end(), update.weights.begin(), update.weights.end());
      for (const auto& bias : update.biases) {
        if (bias.defined()) all.push_back(bias);
      }
      return all;
    };
    std::vector<at::Tensor> before;
    for (const auto& tensor : tensors()) before.push_back(tensor.detach().clone());
    const auto first = first_order_change(*network, pass, update);
    const auto finite = finite_change(*network, pass, update);
    EXPECT_FALSE(first.requires_grad() || finite.requires_grad());
    const auto after = tensors();
    for (std::size_t i = 0; i < after.size(); ++i) EXPECT_TRUE(at::equal(after[i], before[i]));
  }
}

// Oracle: the list of directions itself.
TEST(MakeUpdate, TakesDirectionsInTheirOrder) {
  auto options = nn::mlp({5, 4, 6}, Activation::kTanh);
  options.layers()[1].bias(true);
  const auto network = random_network(options);
  const auto step = learning::Backpropagation().factors(*network, random_batch(*network, 3));
  const auto directions = optim::Plain().directions(step.layers);
  const auto update = make_update(directions);
  ASSERT_EQ(update.weights.size(), 2);
  ASSERT_EQ(update.biases.size(), 2);
  EXPECT_TRUE(at::equal(update.weights[0], directions[0].weight));
  EXPECT_TRUE(at::equal(update.weights[1], directions[1].weight));
  EXPECT_FALSE(update.biases[0].defined());
  EXPECT_TRUE(at::equal(update.biases[1], directions[1].bias));
}

TEST(PredictionChange, RefusesAnUpdateThatDoesNotFit) {
  const auto network = random_network(nn::mlp({5, 4, 6}).with_bias());
  const auto without_bias = random_network(nn::mlp({5, 4, 6}));
  const auto pass = nn::feedforward(*network, random_batch(*network, 3).input);
  const auto update = random_update(*network);
  const auto refused = [&](const nn::Network& net, const nn::Feedforward& of, const Update& bad) {
    EXPECT_THROW(first_order_change(*net, of, bad), c10::Error);
    EXPECT_THROW(finite_change(*net, of, bad), c10::Error);
  };
  auto bad = update;
  bad.weights.pop_back();
  refused(network, pass, bad);
  bad = update;
  bad.weights[1] = at::Tensor();
  refused(network, pass, bad);
  bad = update;
  bad.weights[1] = bad.weights[1].slice(0, 0, 1);
  refused(network, pass, bad);
  bad = update;
  bad.biases.pop_back();
  refused(network, pass, bad);
  bad = update;
  bad.biases[0] = bad.biases[0].slice(0, 0, 1);
  refused(network, pass, bad);
  refused(without_bias, pass, update);
  auto other = pass;
  other.activities.pop_back();
  refused(network, other, update);
  for (const double rate :
       {0.0, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_THROW(finite_change(*network, pass, update, rate), c10::Error);
  }
}

// Contract: the negative gradients, and none without them.
TEST(UpdateOfGradients, IsWhatAStepOfDescentWouldAdd) {
  auto network = test::random_network(nn::mlp({3, 4, 2}).with_bias());
  EXPECT_THROW(update_of_gradients(*network), c10::Error);
  network->forward(at::ones({2, 3}, at::kDouble)).square().sum().backward();
  const auto update = update_of_gradients(*network);
  for (std::size_t l = 1; l <= 2; ++l) {
    EXPECT_TRUE(at::equal(update.weights[l - 1], -network->dense(l).weight.grad()));
    EXPECT_TRUE(at::equal(update.biases[l - 1], -network->dense(l).bias.grad()));
  }
}

}  // namespace
}  // namespace pcxx::metrics
