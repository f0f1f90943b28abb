#include <gtest/gtest.h>
#include <pcxx/learning/predictive_coding.h>
#include <pcxx/metrics/target_alignment.h>
#include <pcxx/optim/rescaling.h>

#include <cmath>
#include <limits>

#include "support/networks.h"
#include "support/updates.h"

namespace pcxx::metrics {
namespace {

using test::random_batch;
using test::random_network;
using test::random_update;
using test::relative_difference;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

at::Tensor random(at::IntArrayRef sizes, std::uint64_t seed) {
  auto generator = make_generator(seed, Purpose::kInputs);
  return at::empty(sizes, at::kDouble).normal_(0, 1, generator);
}

// r.d / (||r|| ||d||) of two tensors of any shape, with loops.
double cosine(const at::Tensor& r, const at::Tensor& d) {
  const auto a = r.contiguous().view(-1);
  const auto b = d.contiguous().view(-1);
  double product = 0;
  double a_square = 0;
  double b_square = 0;
  for (std::int64_t i = 0; i < a.numel(); ++i) {
    const auto x = a[i].item<double>();
    const auto y = b[i].item<double>();
    product += x * y;
    a_square += x * x;
    b_square += y * y;
  }
  return product / std::sqrt(a_square) / std::sqrt(b_square);
}

// Oracle: eq. 5 of every sample, written with loops, and the same of all samples as one vector.
TEST(TargetAlignment, IsTheCosine) {
  const auto r = random({2, 5, 3}, 1);
  const auto d = r + random({2, 5, 3}, 2);
  const auto result = target_alignment(r, d);
  ASSERT_EQ(result.per_sample.sizes(), at::IntArrayRef({2, 5}));
  ASSERT_EQ(result.mean.sizes(), at::IntArrayRef({2}));
  ASSERT_EQ(result.batch.sizes(), at::IntArrayRef({2}));
  for (std::int64_t m = 0; m < 2; ++m) {
    double sum = 0;
    for (std::int64_t b = 0; b < 5; ++b) {
      const double expected = cosine(r[m][b], d[m][b]);
      EXPECT_NEAR(result.per_sample[m][b].item<double>(), expected, 1e-14);
      sum += expected;
    }
    EXPECT_NEAR(result.mean[m].item<double>(), sum / 5, 1e-14);
    EXPECT_NEAR(result.batch[m].item<double>(), cosine(r[m], d[m]), 1e-14);
  }
  EXPECT_EQ(result.left_out.sum().item<std::int64_t>(), 0);
  EXPECT_EQ(result.non_finite.sum().item<std::int64_t>(), 0);
}

// Oracle: the definition. Parallel, opposite and orthogonal changes have 1, -1 and 0, and rounding
// leaves no value outside [-1, 1].
TEST(TargetAlignment, HasTheValuesOfKnownAngles) {
  const auto r = random({200, 7}, 3);
  EXPECT_LT((target_alignment(r, 3 * r).per_sample - 1).abs().max().item<double>(), 1e-14);
  EXPECT_LE(target_alignment(r, 3 * r).per_sample.max().item<double>(), 1);
  EXPECT_GE(target_alignment(r, -3 * r).per_sample.min().item<double>(), -1);
  EXPECT_LT((target_alignment(r, -3 * r).per_sample + 1).abs().max().item<double>(), 1e-14);
  const auto x = torch::tensor({{2.0, 0.0}, {1.0, 1.0}}, at::kDouble);
  const auto y = torch::tensor({{0.0, 5.0}, {1.0, 0.0}}, at::kDouble);
  const auto known = target_alignment(x, y).per_sample;
  EXPECT_EQ(known[0].item<double>(), 0);
  EXPECT_NEAR(known[1].item<double>(), std::sqrt(0.5), 1e-15);
}

// Oracle: the promise itself. A sample without a direction is NaN, is counted, and the mean is that
// of the others; the batch cosine has it among its samples, where it adds nothing but length.
TEST(TargetAlignment, LeavesOutAndCountsSamplesWithoutADirection) {
  auto r = random({5, 3}, 4);
  auto d = random({5, 3}, 5);
  r[1].zero_();
  d[3].zero_();
  const auto result = target_alignment(r, d);
  EXPECT_EQ(result.left_out.item<std::int64_t>(), 2);
  EXPECT_EQ(result.left_out.scalar_type(), at::kLong);
  EXPECT_EQ(result.non_finite.item<std::int64_t>(), 0);
  double sum = 0;
  for (const std::int64_t b : {0, 2, 4}) sum += cosine(r[b], d[b]);
  EXPECT_NEAR(result.mean.item<double>(), sum / 3, 1e-14);
  EXPECT_NEAR(result.batch.item<double>(), cosine(r, d), 1e-14);
  for (const std::int64_t b : {1, 3}) EXPECT_TRUE(std::isnan(result.per_sample[b].item<double>()));
  for (const std::int64_t b : {0, 2, 4}) {
    EXPECT_EQ(result.per_sample[b].item<double>(),
              target_alignment(r.slice(0, b, b + 1), d.slice(0, b, b + 1)).mean.item<double>());
  }
}

// Oracle: the promise itself. Without a sample that counts there is no mean, and no batch cosine.
TEST(TargetAlignment, IsNaNWhenNoSampleCounts) {
  const auto r = random({4, 3}, 6);
  const auto result = target_alignment(r, at::zeros_like(r));
  EXPECT_TRUE(std::isnan(result.mean.item<double>()));
  EXPECT_TRUE(std::isnan(result.batch.item<double>()));
  EXPECT_EQ(result.left_out.item<std::int64_t>(), 4);
}

// Oracle: the promise itself. Infinite and NaN samples are counted apart, in residuals and changes,
// even where the other operand is zero; the other samples and members do not notice.
TEST(TargetAlignment, CountsNonFiniteSamplesApart) {
  const auto r = random({2, 6, 3}, 7);
  const auto d = random({2, 6, 3}, 8);
  auto bad_r = r.clone();
  auto bad_d = d.clone();
  bad_r[0][0][1].fill_(kNaN);
  bad_d[0][2][0].fill_(kInfinity);
  bad_d[0][3][2].fill_(-kInfinity);
  bad_r[0][3].zero_();
  bad_d[0][4].zero_();
  const auto clean = target_alignment(r, d);
  const auto result = target_alignment(bad_r, bad_d);
  EXPECT_EQ(result.non_finite[0].item<std::int64_t>(), 3);
  EXPECT_EQ(result.non_finite[1].item<std::int64_t>(), 0);
  EXPECT_EQ(result.non_finite.scalar_type(), at::kLong);
  EXPECT_EQ(result.left_out[0].item<std::int64_t>(), 1);
  EXPECT_TRUE(std::isnan(result.batch[0].item<double>()));
  const auto& per_sample = clean.per_sample[0];
  EXPECT_NEAR(result.mean[0].item<double>(), (per_sample[1] + per_sample[5]).item<double>() / 2,
              1e-15);
  EXPECT_TRUE(at::equal(result.per_sample[1], clean.per_sample[1]));
  EXPECT_EQ(result.mean[1].item<double>(), clean.mean[1].item<double>());
  EXPECT_EQ(result.batch[1].item<double>(), clean.batch[1].item<double>());
}

// Invariant: scale. Powers of ten at which squares under- or overflow in float64, and samples of
// very different scale beside each other.
TEST(TargetAlignment, DoesNotDependOnScale) {
  const auto r = random({6, 4}, 9);
  const auto d = r + random({6, 4}, 10);
  const auto expected = target_alignment(r, d);
  for (const double r_scale : {1e-200, 1e-300, 1.0, 1e200, 1e300}) {
    for (const double d_scale : {1e-200, 1e-300, 1e200, 1e300}) {
      const auto result = target_alignment(r * r_scale, d * d_scale);
      EXPECT_LT(relative_difference(result.per_sample, expected.per_sample), 1e-14);
      EXPECT_NEAR(result.batch.item<double>(), expected.batch.item<double>(), 1e-14);
      EXPECT_EQ(result.left_out.item<std::int64_t>(), 0);
    }
  }
  const auto scales = torch::tensor({1e-200, 1e200, 1.0, 1e-300, 1e300, 1e10}, at::kDouble);
  const auto mixed = target_alignment(r * scales.unsqueeze(-1), d * scales.flip(0).unsqueeze(-1));
  EXPECT_LT(relative_difference(mixed.per_sample, expected.per_sample), 1e-14);
}

// Oracle: the same numbers in float64. Results are in float64 whatever the operands are.
TEST(TargetAlignment, IsComputedInFloat64) {
  const auto r = random({6, 400}, 11).to(at::kFloat);
  const auto d = random({6, 400}, 12).to(at::kFloat);
  const auto result = target_alignment(r, d);
  EXPECT_EQ(result.per_sample.scalar_type(), at::kDouble);
  const auto exact = target_alignment(r.to(at::kDouble), d.to(at::kDouble));
  EXPECT_TRUE(at::equal(result.per_sample, exact.per_sample));
  EXPECT_EQ(result.batch.item<double>(), exact.batch.item<double>());
}

TEST(TargetAlignment, RefusesOtherShapes) {
  EXPECT_THROW(target_alignment(random({4, 3}, 1), random({3, 4}, 1)), c10::Error);
  EXPECT_THROW(target_alignment(random({4, 3}, 1), random({1, 3}, 1)), c10::Error);
  EXPECT_THROW(target_alignment(random({3}, 1), random({3}, 1)), c10::Error);
}

// Oracle: a copy of the network that makes the step, on a batch that did not make the update; with
// a rate the change is that step's, without one the limit of small steps.
TEST(TargetAlignment, OfAnUpdateOnHeldOutData) {
  const at::NoGradGuard no_grad;
  for (const auto& options : {nn::mlp({5, 8, 4}, nn::Activation::kTanh).with_bias(),
                              nn::mlp({5, 6, 6, 4}), nn::linear_residual(4, 3)}) {
    const auto network = random_network(options);
    const auto held_out = random_batch(*network, 7, 2);
    const auto update = random_update(*network);
    const auto before = network->forward(held_out.input);
    const auto change_of = [&](double rate) {
      return test::moved(*network, update, rate)->forward(held_out.input) - before;
    };
    for (const double rate : {0.1, 1e-3}) {
      const auto expected = target_alignment(held_out.target - before, change_of(rate));
      const auto result = target_alignment(*network, held_out, update, rate);
      EXPECT_LT(relative_difference(result.per_sample, expected.per_sample), 1e-11);
      EXPECT_NEAR(result.batch.item<double>(), expected.batch.item<double>(), 1e-11);
    }
    const double h = 1e-5;
    const auto expected = target_alignment(held_out.target - before, change_of(h) - change_of(-h));
    const auto result = target_alignment(*network, held_out, update);
    EXPECT_LT(relative_difference(result.per_sample, expected.per_sample), 1e-8);
    EXPECT_NEAR(result.mean.item<double>(), expected.mean.item<double>(), 1e-8);
  }
}

// Invariant: a member of an ensemble is a network of its own, with a batch of its own or a shared
// one.
TEST(TargetAlignment, OfAnEnsembleIsThatOfItsMembers) {
  const auto network =
      random_network(nn::mlp({5, 8, 4}, nn::Activation::kSigmoid).with_bias().ensemble(3));
  const auto update = random_update(*network);
  const auto own = random_batch(*network, 6);
  const data::Batch shared(own.input[1], own.target[1]);
  for (const bool sharing : {false, true}) {
    const auto result = target_alignment(*network, sharing ? shared : own, update);
    ASSERT_EQ(result.per_sample.sizes(), at::IntArrayRef({3, 6}));
    for (std::int64_t r = 0; r < 3; ++r) {
      const auto batch = sharing ? shared : data::Batch(own.input[r], own.target[r]);
      const auto expected =
          target_alignment(*test::member(*network, r), batch, test::member(update, r));
      EXPECT_LT(relative_difference(result.per_sample[r], expected.per_sample), 1e-13);
      EXPECT_NEAR(result.mean[r].item<double>(), expected.mean.item<double>(), 1e-13);
      EXPECT_NEAR(result.batch[r].item<double>(), expected.batch.item<double>(), 1e-13);
    }
  }
}

// Oracle: a single linear layer. D = (1/B) R X^T moves the predictions by (1/B) R X^T X: the
// example in the header, with samples as rows.
TEST(TargetAlignment, OfARulesOwnUpdate) {
  const auto network = random_network(nn::mlp({5, 3}));
  const auto batch = random_batch(*network, 4);
  const auto step = learning::PredictiveCoding().factors(*network, batch);
  const auto update = make_update(optim::Plain().directions(step.layers));
  const auto r = batch.target - network->forward(batch.input);
  const auto& x = batch.input;
  const auto expected = target_alignment(r, at::matmul(at::matmul(x, x.mT()), r) / 4);
  const auto result = target_alignment(*network, batch, update);
  EXPECT_LT(relative_difference(result.per_sample, expected.per_sample), 1e-13);
}

}  // namespace
}  // namespace pcxx::metrics
