#include <gtest/gtest.h>
#include <pcxx/nn/dense.h>

#include "nn/by_hand.h"
#include "support/networks.h"

namespace pcxx::nn {
namespace {

using Sizes = std::vector<std::int64_t>;

// Oracle: the header's shapes; everything starts at zero and is trainable.
TEST(Dense, AllocatesZeros) {
  const Dense single(DenseOptions(3, 2).bias(true));
  EXPECT_EQ(single->weight.sizes(), Sizes({2, 3}));
  EXPECT_EQ(single->bias.sizes(), Sizes({2}));
  const Dense ensemble(DenseOptions(3, 2).bias(true).members(4));
  EXPECT_EQ(ensemble->weight.sizes(), Sizes({4, 2, 3}));
  EXPECT_EQ(ensemble->bias.sizes(), Sizes({4, 2}));
  for (const auto* layer : {&single, &ensemble}) {
    for (const auto& parameter : (*layer)->parameters()) {
      EXPECT_EQ(parameter.abs().sum().item<double>(), 0);
      EXPECT_TRUE(parameter.requires_grad());
    }
  }
}

// Oracle: the header's defaults.
TEST(Dense, HasNoBiasUnlessAsked) {
  const Dense layer(3, 2);
  EXPECT_FALSE(layer->bias.defined());
  EXPECT_EQ(layer->parameters().size(), 1U);
  EXPECT_EQ(layer->options.activation(), Activation::kIdentity);
  EXPECT_FALSE(layer->options.residual());
  EXPECT_FALSE(layer->options.members());
}

// Oracle: the formula out = f(W x + b) (+ x), number by number, for all options. A shared input
// [B, n] serves every member.
TEST(Dense, IsItsFormula) {
  for (const auto activation : test::kActivations) {
    for (const bool bias : {false, true}) {
      for (const bool residual : {false, true}) {
        for (const std::optional<std::int64_t> members : {std::optional<std::int64_t>(), {3}}) {
          const auto options = DenseOptions(4, 4)
                                   .activation(activation)
                                   .bias(bias)
                                   .residual(residual)
                                   .members(members);
          const auto network = test::random_network(NetworkOptions({options}));
          SCOPED_TRACE(c10::str(network));
          const auto& layer = network->layer(1);
          const auto own = test::random_batch(*network, 2).input;
          const auto shared = members ? own[0] : own;
          for (const auto& x : {own, shared}) {
            EXPECT_LT(test::relative_difference(layer.forward(x), test::by_hand(*network, x)[0]),
                      1e-14);
          }
        }
      }
    }
  }
}

// Oracle: contract.
TEST(Dense, RejectsImpossibleOptions) {
  EXPECT_THROW(Dense(0, 2), c10::Error);
  EXPECT_THROW(Dense(2, -1), c10::Error);
  EXPECT_THROW(Dense(DenseOptions(2, 3).residual(true)), c10::Error);
  EXPECT_THROW(Dense(DenseOptions(2, 3).members(0)), c10::Error);
  const Dense layer(3, 2);
  EXPECT_THROW(layer->forward(torch::zeros({5, 2})), c10::Error);
}

// Oracle: text written by hand.
TEST(Dense, PrintsItsOptions) {
  EXPECT_EQ(c10::str(Dense(3, 2)), "pcxx::nn::Dense(3 -> 2, identity)");
  const Dense full(
      DenseOptions(4, 4).activation(Activation::kLeakyReLU).bias(true).residual(true).members(5));
  EXPECT_EQ(c10::str(full), "pcxx::nn::Dense(4 -> 4, leaky_relu, bias, residual, members=5)");
}

}  // namespace
}  // namespace pcxx::nn
