#include <gtest/gtest.h>
#include <pcxx/nn/feedforward.h>

#include "nn/by_hand.h"
#include "support/networks.h"

namespace pcxx::nn {
namespace {

using test::networks_of_every_kind;
using test::random_batch;
using test::random_network;
using test::relative_difference;

// Oracle: the recursion, number by number, and Network::forward.
TEST(Feedforward, IsTheRecursion) {
  for (const auto& options : networks_of_every_kind()) {
    const auto network = random_network(options);
    SCOPED_TRACE(c10::str(network));
    const auto input = random_batch(*network, 3).input;
    const auto before = input.clone();
    const auto pass = feedforward(*network, input);
    const auto expected = test::by_hand(*network, input);
    ASSERT_EQ(pass.activities.size(), network->size() + 1);
    ASSERT_EQ(pass.outputs.size(), network->size() + 1);
    EXPECT_TRUE(at::equal(pass.activities[0], input));
    EXPECT_FALSE(pass.outputs[0].output.defined());
    for (std::size_t l = 1; l <= network->size(); ++l) {
      EXPECT_EQ(pass.activities[l].sizes(), expected[l - 1].sizes());
      EXPECT_LT(relative_difference(pass.activities[l], expected[l - 1]), 1e-14);
    }
    EXPECT_TRUE(pass.prediction().is_same(pass.activities.back()));
    EXPECT_TRUE(at::equal(pass.prediction(), network->forward(input)));
    EXPECT_TRUE(at::equal(input, before));
  }
}

// Oracle: the definition of a_l. It is the activity itself, not a copy, unless the layer is
// residual.
TEST(Feedforward, KeepsTheOutputsOfTheNonlinearities) {
  for (const auto& options : networks_of_every_kind()) {
    const auto network = random_network(options);
    const auto pass = feedforward(*network, random_batch(*network, 3).input);
    for (std::size_t l = 1; l <= network->size(); ++l) {
      const auto& layer = network->dense(l);
      const bool residual = layer.options.residual();
      if (!layer.keeps_output()) {
        EXPECT_TRUE(at::equal(preactivation(layer, pass.activities[l - 1]), pass.outputs[l]));
        continue;
      }
      EXPECT_EQ(pass.outputs[l].output.is_same(pass.activities[l]), !residual);
      const auto below = residual ? pass.activities[l - 1] : at::zeros({}, at::kDouble);
      EXPECT_LT(relative_difference(pass.outputs[l] + below, pass.activities[l]), 1e-14);
      const auto z = preactivation(layer, pass.activities[l - 1]);
      EXPECT_TRUE(at::equal(activate(z, layer.options.activation()), pass.outputs[l]));
    }
  }
}

// Oracle: contract, no autograd, although the parameters require gradients.
TEST(Feedforward, RecordsNoGraph) {
  const auto network = random_network(mlp({4, 5, 3}, Activation::kTanh).with_bias());
  const auto input = random_batch(*network, 2).input.requires_grad_(true);
  const auto pass = feedforward(*network, input);
  for (std::size_t l = 1; l <= network->size(); ++l) {
    EXPECT_FALSE(pass.activities[l].requires_grad());
  }
  EXPECT_FALSE(preactivation(network->dense(1), input).requires_grad());
  EXPECT_TRUE(network->forward(input).requires_grad());
}

// Oracle: the product written out, for an input of each member and one shared by all.
TEST(Preactivation, IsWeightTimesInputPlusBias) {
  const auto network = random_network(mlp({4, 3}, Activation::kTanh).with_bias().ensemble(2));
  const auto& layer = network->dense(1);
  const auto x = random_batch(*network, 5).input;
  const auto expected = at::einsum("roi,rbi->rbo", {layer.weight, x}) + layer.bias.view({2, 1, 3});
  EXPECT_LT(relative_difference(preactivation(layer, x), expected), 1e-14);
  EXPECT_LT(relative_difference(preactivation(layer, x[1])[1], expected[1]), 1e-14);
}

// Oracle: a shared input given to every member by hand.
TEST(Feedforward, SharesAnInputAmongMembers) {
  const auto network = random_network(mlp({4, 6, 3}, Activation::kReLU).ensemble(3));
  const auto x = random_batch(*network, 5).input[0];
  const auto shared = feedforward(*network, x);
  const auto repeated = feedforward(*network, at::stack({x, x, x}));
  for (std::size_t l = 0; l <= network->size(); ++l) {
    EXPECT_EQ(shared.activities[l].sizes(), repeated.activities[l].sizes());
    EXPECT_LT(relative_difference(shared.activities[l], repeated.activities[l]), 1e-14);
  }
}

}  // namespace
}  // namespace pcxx::nn
