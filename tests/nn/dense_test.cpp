#include <gtest/gtest.h>
#include <pcxx/nn/dense.h>
#include <torch/nn/modules/linear.h>
#include <torch/utils.h>

#include "nn/by_hand.h"
#include "support/networks.h"

namespace pcxx::nn {
namespace {

using Sizes = std::vector<std::int64_t>;

// Oracle: the header's shapes; without a draw everything starts at zero, and is trainable.
TEST(Dense, AllocatesZeros) {
  const Dense single(DenseOptions(3, 2).bias(true).draw(false));
  EXPECT_EQ(single->weight.sizes(), Sizes({2, 3}));
  EXPECT_EQ(single->bias.sizes(), Sizes({2}));
  const Dense ensemble(DenseOptions(3, 2).bias(true).members(4).draw(false));
  EXPECT_EQ(ensemble->weight.sizes(), Sizes({4, 2, 3}));
  EXPECT_EQ(ensemble->bias.sizes(), Sizes({4, 2}));
  for (const auto* layer : {&single, &ensemble}) {
    for (const auto& parameter : (*layer)->parameters()) {
      EXPECT_EQ(parameter.abs().sum().item<double>(), 0);
      EXPECT_TRUE(parameter.requires_grad());
    }
  }
}

// Oracle: torch::nn::Linear without bias, drawn from the same seed.
TEST(Dense, DrawsItselfAsLinearDoes) {
  torch::manual_seed(3);
  const torch::nn::Linear linear(torch::nn::LinearOptions(7, 5).bias(false));
  torch::manual_seed(3);
  const Dense layer(DenseOptions(7, 5).bias(true));
  EXPECT_TRUE(at::allclose(layer->weight, linear->weight, 1e-6, 1e-7));
  EXPECT_EQ(layer->bias.abs().sum().item<double>(), 0);
  EXPECT_TRUE(layer->weight.requires_grad());

  const Dense ensemble(DenseOptions(16, 50).members(3));
  const auto largest = ensemble->weight.abs().amax({-2, -1});
  EXPECT_TRUE(largest.le(0.25).logical_and(largest.gt(0.24)).all().item<bool>());
  EXPECT_FALSE(at::equal(ensemble->weight[0], ensemble->weight[1]));
}

// Oracle: torch::nn::Linear with the same numbers, for the inputs that it takes and those it
// refuses.
TEST(Dense, TakesWhatLinearTakes) {
  for (const bool bias : {false, true}) {
    torch::nn::Linear linear(torch::nn::LinearOptions(4, 3).bias(bias));
    Dense layer(DenseOptions(4, 3).bias(bias));
    const at::NoGradGuard no_grad;
    layer->weight.copy_(linear->weight);
    if (bias) layer->bias.copy_(linear->bias);
    for (const auto& shape : {Sizes{4}, Sizes{2, 4}, Sizes{5, 2, 4}, Sizes{2, 3, 5, 4}}) {
      const auto x = torch::randn(shape);
      EXPECT_EQ(layer(x).sizes(), linear(x).sizes());
      EXPECT_TRUE(at::allclose(layer(x), linear(x), 1e-6, 1e-6));
    }
    for (const auto& x : {torch::zeros({2, 3}), torch::zeros({}), torch::zeros({2, 4}, at::kDouble),
                          torch::zeros({2, 4}, at::kMeta)}) {
      EXPECT_THROW(layer(x), c10::Error);
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
          const auto& layer = network->dense(1);
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
