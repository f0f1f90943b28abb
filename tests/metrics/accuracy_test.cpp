#include <gtest/gtest.h>
#include <pcxx/metrics/accuracy.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "support/networks.h"

namespace pcxx::metrics {
namespace {

using nn::Activation;
using test::random_network;

at::Tensor random_inputs(std::int64_t samples, std::int64_t features, std::uint64_t seed) {
  auto generator = make_generator(seed, Purpose::kInputs);
  return at::empty({samples, features}, at::kDouble).normal_(0, 1, generator);
}

at::Tensor some_labels(std::int64_t samples, std::int64_t classes) {
  return at::arange(samples, at::kLong).mul(7).remainder(classes);
}

// One layer with these rows of weights.
nn::Network linear(const at::Tensor& weight) {
  const at::NoGradGuard no_grad;
  nn::Network network(nn::mlp({weight.size(1), weight.size(0)}));
  network->to(at::kDouble);
  network->dense(1).weight.copy_(weight);
  return network;
}

// The definition, one sample and one output at a time; of equal outputs the first is the largest.
double counted(const at::Tensor& prediction, const at::Tensor& labels) {
  const auto outputs = prediction.accessor<double, 2>();
  const auto label = labels.accessor<std::int64_t, 1>();
  int right = 0;
  for (std::int64_t i = 0; i < outputs.size(0); ++i) {
    bool largest = true;
    for (std::int64_t k = 0; k < outputs.size(1); ++k) {
      const double lead = outputs[i][label[i]] - outputs[i][k];
      largest = largest && (k < label[i] ? lead > 0 : lead >= 0);
    }
    right += largest ? 1 : 0;
  }
  return static_cast<double>(right) / static_cast<double>(outputs.size(0));
}

// Oracle: every output compared with the label's, in a loop.
TEST(Accuracy, IsThePartWhoseLargestOutputIsTheLabels) {
  for (const auto& options : {nn::mlp({5, 4, 3}, Activation::kReLU),
                              nn::mlp({5, 7, 6}, Activation::kTanh).with_bias(), nn::mlp({5, 2})}) {
    const auto network = random_network(options);
    const auto x = random_inputs(200, 5, 1);
    const auto labels = some_labels(200, network->out_features());
    const auto result = accuracy(*network, x, labels);
    EXPECT_EQ(result.dim(), 0);
    EXPECT_EQ(result.scalar_type(), at::kDouble);
    EXPECT_FALSE(result.requires_grad());
    const double expected = counted(network->forward(x).detach(), labels);
    EXPECT_GT(expected, 0.05);
    EXPECT_LT(expected, 0.95);
    EXPECT_DOUBLE_EQ(result.item<double>(), expected);
  }
}

// Oracle: a network that copies its inputs, so that the outputs are written down here.
TEST(Accuracy, OfOutputsByHand) {
  const auto copy = linear(at::eye(3, at::kDouble));
  const auto outputs =
      at::tensor({0.1, 0.9, 0.2, 5.0, -1.0, 4.9, -3.0, -2.0, -1.0, 0.0, 0.2, 0.1}, at::kDouble)
          .view({4, 3});
  const auto right = [&](const std::vector<std::int64_t>& labels) {
    return accuracy(*copy, outputs, at::tensor(labels, at::kLong)).item<double>();
  };
  EXPECT_EQ(right({1, 0, 2, 1}), 1);
  EXPECT_EQ(right({1, 2, 2, 1}), 0.75);
  EXPECT_EQ(right({1, 2, 1, 1}), 0.5);
  EXPECT_EQ(right({0, 1, 0, 2}), 0);
}

// Oracle: each member on its own.
TEST(Accuracy, OfAnEnsembleIsThatOfItsMembers) {
  const auto ensemble = random_network(nn::mlp({5, 4, 3}, Activation::kReLU).ensemble(4));
  const auto x = random_inputs(60, 5, 1);
  const auto labels = some_labels(60, 3);
  const auto all = accuracy(*ensemble, x, labels);
  ASSERT_EQ(all.sizes(), at::IntArrayRef({4}));
  for (std::int64_t r = 0; r < 4; ++r) {
    const auto one = accuracy(*test::member(*ensemble, r), x, labels);
    EXPECT_EQ(all[r].item<double>(), one.item<double>());
  }
  EXPECT_GT(all.max().item<double>(), all.min().item<double>());
}

// Invariant: the size of the chunks, whether it divides the samples or exceeds them.
TEST(Accuracy, DoesNotDependOnTheChunk) {
  const auto network = random_network(nn::mlp({5, 4, 3}, Activation::kReLU).ensemble(2));
  const auto x = random_inputs(10, 5, 2);
  const auto labels = some_labels(10, 3);
  const auto expected = accuracy(*network, x, labels);
  for (const std::int64_t chunk : {1, 2, 3, 7, 10, 11}) {
    EXPECT_TRUE(at::equal(accuracy(*network, x, labels, chunk), expected)) << chunk;
  }
}

// Oracle: the rule that the first of equal outputs is the largest. A network that says nothing is
// right where the label is 0.
TEST(Accuracy, TakesTheFirstOfEqualOutputs) {
  const auto silent = linear(at::zeros({4, 5}, at::kDouble));
  const auto labels = some_labels(8, 4);
  EXPECT_EQ(accuracy(*silent, random_inputs(8, 5, 1), labels).item<double>(), 0.25);
}

// Oracle: the rule that a NaN makes a sample wrong, wherever it stands; infinite outputs compare
// like others.
TEST(Accuracy, CountsNaNAsWrong) {
  const auto copy = linear(at::eye(2, at::kDouble));
  const double nan = std::nan("");
  const auto of = [&](double a, double b, std::int64_t label) {
    return accuracy(*copy, at::tensor({a, b}, at::kDouble).view({1, 2}), at::tensor({label}))
        .item<double>();
  };
  for (const std::int64_t label : {0, 1}) {
    EXPECT_EQ(of(nan, 1, label), 0);
    EXPECT_EQ(of(1, nan, label), 0);
    EXPECT_EQ(of(nan, nan, label), 0);
  }
  // 0 * inf is NaN in the product: the infinity has to come from the weights.
  const auto huge = linear(at::tensor({1e300, 1.0}, at::kDouble).view({2, 1}));
  const auto x = at::full({1, 1}, 1e300, at::kDouble);
  EXPECT_EQ(accuracy(*huge, x, at::tensor({std::int64_t{0}})).item<double>(), 1);
  EXPECT_EQ(accuracy(*huge, x, at::tensor({std::int64_t{1}})).item<double>(), 0);
}

// Oracle: the same in the network's precision.
TEST(Accuracy, TakesInputsOfAnyPrecision) {
  auto network = random_network(nn::mlp({5, 4, 3}, Activation::kReLU));
  network->to(at::kFloat);
  const auto x = random_inputs(50, 5, 3);
  const auto labels = some_labels(50, 3);
  EXPECT_TRUE(
      at::equal(accuracy(*network, x, labels), accuracy(*network, x.to(at::kFloat), labels)));
}

TEST(Accuracy, RefusesWhatDoesNotFit) {
  const auto network = random_network(nn::mlp({5, 4, 3}));
  const auto x = random_inputs(7, 5, 1);
  const auto labels = some_labels(7, 3);
  EXPECT_THROW(accuracy(*network, x.slice(1, 0, 4), labels), c10::Error);
  EXPECT_THROW(accuracy(*network, x.unsqueeze(0), labels), c10::Error);
  EXPECT_THROW(accuracy(*network, x, labels.slice(0, 0, 6)), c10::Error);
  EXPECT_THROW(accuracy(*network, x, labels.unsqueeze(1)), c10::Error);
  EXPECT_THROW(accuracy(*network, x, labels.to(at::kDouble)), c10::Error);
  EXPECT_THROW(accuracy(*network, x, labels + 1), c10::Error);
  EXPECT_THROW(accuracy(*network, x, labels - 1), c10::Error);
  EXPECT_THROW(accuracy(*network, x.slice(0, 0, 0), labels.slice(0, 0, 0)), c10::Error);
  EXPECT_THROW(accuracy(*network, x, labels, 0), c10::Error);
  EXPECT_THROW(accuracy(*network, x, labels, -5), c10::Error);
}

// Oracle: the outputs of a network that is a table, counted by hand; NaN is in no column.
TEST(ConfusionMatrix, CountsByHand) {
  const auto network = linear(at::eye(3, at::kDouble));
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto x = at::tensor({2.0, 1.0, 0.0,   // class 0
                             0.0, 5.0, 1.0,   // class 1
                             0.0, 0.0, 1.0,   // class 2
                             3.0, 3.0, 0.0,   // of equal ones the first: 0
                             nan, 0.0, 9.0},  // none
                            at::kDouble)
                     .view({5, 3});
  const auto labels = at::tensor({0, 1, 1, 1, 2}, at::kLong);
  const auto expected = at::tensor({1, 0, 0, 1, 1, 1, 0, 0, 0}, at::kLong).view({3, 3});
  for (const std::int64_t chunk : {1, 2, 1000}) {
    EXPECT_TRUE(confusion_matrix(*network, x, labels, chunk).equal(expected)) << chunk;
  }
}

// Invariant: rows sum to the samples of their labels, and the diagonal to the accuracy.
TEST(ConfusionMatrix, HasTheAccuracyOnItsDiagonal) {
  for (const bool ensemble : {false, true}) {
    const auto options = nn::mlp({5, 7, 6}, Activation::kTanh);
    const auto network = random_network(ensemble ? options.ensemble(1) : options);
    const auto x = random_inputs(211, 5, 1);
    const auto labels = some_labels(211, 6);
    const auto counts = confusion_matrix(*network, x, labels, 50);
    EXPECT_TRUE(counts.sum(1).equal(at::bincount(labels, {}, 6)));
    EXPECT_EQ(counts.trace().item<double>() / 211,
              accuracy(*network, x, labels).reshape({}).item<double>());
  }
  const auto several = random_network(nn::mlp({5, 6}).ensemble(2));
  EXPECT_THROW(confusion_matrix(*several, random_inputs(3, 5, 1), some_labels(3, 6)), c10::Error);
}

}  // namespace
}  // namespace pcxx::metrics
