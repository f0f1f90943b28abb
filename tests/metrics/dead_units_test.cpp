#include <gtest/gtest.h>
#include <pcxx/metrics/dead_units.h>

#include "support/networks.h"

namespace pcxx::metrics {
namespace {

using nn::Activation;

double dead_of(const nn::NetworkImpl& network, const at::Tensor& x) {
  return dead_units(network, nn::feedforward(network, x)).item<double>();
}

// Oracle: units counted by hand. Of 4 + 2 hidden units the first layer's second answers to nothing,
// its third to the first sample alone, and one of the second layer's has no positive weight; the
// output, all negative, is no hidden unit.
TEST(DeadUnits, AreThoseThatAnswerToNoSample) {
  const at::NoGradGuard no_grad;
  nn::Network network(nn::mlp({2, 4, 2, 1}, Activation::kReLU, Activation::kReLU));
  const std::vector<float> first{1, 0, -1, -1, 1, -9, 0, 1};
  network->dense(1).weight.copy_(at::tensor(first).view({4, 2}));
  network->dense(2).weight.fill_(1)[1].fill_(-1);
  network->dense(3).weight.fill_(-1);
  const auto x = at::tensor(std::vector<float>{10, 1, 1, 2}).view({2, 2});
  EXPECT_DOUBLE_EQ(dead_of(*network, x), 2.0 / 6);
  EXPECT_DOUBLE_EQ(dead_of(*network, x.narrow(0, 1, 1)), 3.0 / 6);
  EXPECT_DOUBLE_EQ(dead_of(*network, at::zeros({3, 2})), 1);
}

// Oracle: the member alone; NaN without hidden ReLU units.
TEST(DeadUnits, AreMeasuredPerMember) {
  const at::NoGradGuard no_grad;
  const auto ensemble = test::random_network(nn::mlp({3, 8, 2}, Activation::kReLU).ensemble(2));
  ensemble->dense(1).weight[1].zero_();
  const auto x = test::random_batch(*ensemble, 4).input;
  const auto found = dead_units(*ensemble, nn::feedforward(*ensemble, x));
  EXPECT_EQ(found.sizes(), (std::vector<std::int64_t>{2}));
  EXPECT_EQ(found[0].item<double>(), dead_of(*test::member(*ensemble, 0), x[0]));
  EXPECT_EQ(found[1].item<double>(), 1);
  for (const auto activation :
       {Activation::kIdentity, Activation::kSigmoid, Activation::kLeakyReLU}) {
    const auto network = test::random_network(nn::mlp({3, 8, 2}, activation, Activation::kReLU));
    EXPECT_TRUE(std::isnan(dead_of(*network, x[0])));
  }
}

}  // namespace
}  // namespace pcxx::metrics
