#include <gtest/gtest.h>
#include <pcxx/nn/binary_cross_entropy.h>
#include <pcxx/nn/cross_entropy.h>
#include <torch/nn/functional/loss.h>
#include <torch/types.h>

#include "support/networks.h"

namespace pcxx::nn {
namespace {

using test::relative_difference;

struct Sample {
  at::Tensor prediction;
  at::Tensor target;
};

// Probabilities as targets, and logits of some size.
Sample sample() {
  torch::manual_seed(3);
  return {2 * at::randn({6, 5}, at::kDouble), at::softmax(at::randn({6, 5}, at::kDouble), -1)};
}

// Oracle: LibTorch's own loss, and autograd of it.
TEST(CrossEntropy, IsTheLossOfLibTorch) {
  const auto [prediction, target] = sample();
  const CrossEntropy loss;
  const auto z = prediction.detach().clone().requires_grad_();
  const auto expected = torch::nn::functional::cross_entropy(
      z, target, torch::nn::functional::CrossEntropyFuncOptions().reduction(torch::kNone));
  EXPECT_LT(relative_difference(loss.value(prediction, target), expected.detach()), 1e-14);
  expected.sum().backward();
  EXPECT_LT(relative_difference(loss.residual(prediction, target), -z.grad()), 1e-13);
  const auto labels = at::tensor({0, 4, 2, 2, 1, 3}, at::kLong);
  const auto of_labels = torch::nn::functional::cross_entropy(prediction, labels);
  const auto one_hot = at::one_hot(labels, 5).to(at::kDouble);
  EXPECT_LT(relative_difference(loss.errors(prediction, one_hot).mean(), of_labels), 1e-14);
  EXPECT_LT(relative_difference(loss.sum_of_errors(prediction, one_hot), 6 * of_labels), 1e-14);
}

// Oracle: LibTorch's own loss, autograd of it, and its limit where sigmoid is 1 or 0.
TEST(BinaryCrossEntropy, IsTheLossOfLibTorch) {
  const auto [prediction, target] = sample();
  const BinaryCrossEntropy loss;
  const auto z = prediction.detach().clone().requires_grad_();
  const auto expected = torch::nn::functional::binary_cross_entropy_with_logits(
      z, target,
      torch::nn::functional::BinaryCrossEntropyWithLogitsFuncOptions().reduction(torch::kNone));
  EXPECT_LT(relative_difference(loss.errors(prediction, target), expected.detach()), 1e-14);
  EXPECT_LT(relative_difference(loss.value(prediction, target), expected.detach().sum(-1)), 1e-14);
  expected.sum().backward();
  EXPECT_LT(relative_difference(loss.residual(prediction, target), -z.grad()), 1e-13);
  const auto far = at::tensor({-800.0, 800.0}, at::kDouble);
  EXPECT_TRUE(loss.errors(far, at::tensor({1.0, 1.0}, at::kDouble))
                  .equal(at::tensor({800.0, 0.0}, at::kDouble)));
}

// Oracle: central differences of the gradient, for every loss; a Hessian is symmetric.
TEST(Losses, CurveLikeTheirGradients) {
  const auto [prediction, target] = sample();
  constexpr double kStep = 1e-5;
  const SquaredError squared;
  const CrossEntropy entropy;
  const BinaryCrossEntropy binary;
  for (const Loss* loss : std::vector<const Loss*>{&squared, &entropy, &binary}) {
    const auto tangent = at::randn({6, 5}, at::kDouble);
    const auto other = at::randn({6, 5}, at::kDouble);
    const auto residual = loss->residual(prediction, target);
    const auto expected = (loss->residual(prediction - kStep * tangent, target) -
                           loss->residual(prediction + kStep * tangent, target)) /
                          (2 * kStep);
    const auto curved = loss->curve(residual, target, tangent);
    EXPECT_LT(relative_difference(curved, expected), 1e-8) << loss->name();
    const auto transposed = loss->curve(residual, target, other);
    EXPECT_LT(relative_difference((other * curved).sum(-1), (transposed * tangent).sum(-1)), 1e-12);
    EXPECT_TRUE((tangent * curved).sum(-1).ge(0).all().item<bool>());
  }
}

// Oracle: the residual, which is the target less what the prediction stands for.
TEST(Losses, SayWhatAPredictionStandsFor) {
  const auto [prediction, target] = sample();
  const SquaredError squared;
  const CrossEntropy entropy;
  const BinaryCrossEntropy binary;
  for (const Loss* loss : std::vector<const Loss*>{&squared, &entropy, &binary}) {
    EXPECT_LT(
        relative_difference(target - loss->outcome(prediction), loss->residual(prediction, target)),
        1e-14)
        << loss->name();
  }
}

// Contract: what programs report of the squared error is its mean over outputs.
TEST(SquaredError, IsReportedPerOutput) {
  const auto [prediction, target] = sample();
  const SquaredError loss;
  const auto squares = (prediction - target).square();
  EXPECT_TRUE(loss.errors(prediction, target).equal(squares));
  EXPECT_LT(relative_difference(loss.sum_of_errors(prediction, target), squares.sum()), 1e-14);
  EXPECT_LT(relative_difference(loss.value(prediction, target), squares.sum(-1) / 2), 1e-14);
  EXPECT_EQ(loss.error_columns(5), 5);
}

}  // namespace
}  // namespace pcxx::nn
