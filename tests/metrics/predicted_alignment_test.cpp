// Prediction and measurement share no formula: the one is a sum of closed forms, the other runs an
// inference, makes a learning rule's factors, rescales them, and pushes the update through the
// network.

#include <gtest/gtest.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/learning/predictive_coding.h>
#include <pcxx/metrics/predicted_alignment.h>
#include <pcxx/optim/alpha.h>

#include <cmath>
#include <limits>

#include "support/networks.h"

namespace pcxx::metrics {
namespace {

using test::random_batch;
using test::random_network;
using test::relative_difference;

nn::NetworkOptions residual_in_the_middle() {
  auto options = nn::mlp({7, 5, 5, 9, 4});
  options.layers()[1].residual(true).bias(true);
  options.layers()[3].bias(true);
  return options;
}

std::vector<nn::NetworkOptions> networks() {
  return {nn::mlp({4, 3}),
          nn::mlp({6, 6, 6}),
          nn::mlp({5, 9, 4, 6}),
          nn::mlp({6, 3, 8, 2}).with_bias(),
          nn::mlp({8, 8, 8, 8, 8, 8, 8, 8, 8, 8}),
          nn::linear_residual(5, 4),
          nn::linear_residual(5, 3).with_bias(),
          residual_in_the_middle(),
          nn::mlp({5, 9, 4, 6}).ensemble(3),
          residual_in_the_middle().ensemble(2)};
}

std::unique_ptr<learning::LearningRule> rule_of(const PredictionOptions& options) {
  if (options.rule == PredictedRule::kBackpropagation) {
    return std::make_unique<learning::Backpropagation>();
  }
  return std::make_unique<learning::PredictiveCoding>();
}

std::vector<optim::Direction> directions(const nn::NetworkImpl& network, const data::Batch& batch,
                                         const PredictionOptions& options) {
  const auto layers = rule_of(options)->factors(network, batch).layers;
  if (!options.alpha) return optim::Plain().directions(layers);
  optim::AlphaOptions alpha;
  if (options.presynaptic_denominator) alpha.denominator = optim::AlphaDenominator::kPresynaptic;
  alpha.floor = options.floor;
  return optim::Alpha(alpha).directions(layers);
}

std::vector<PredictionOptions> all_options() {
  std::vector<PredictionOptions> options;
  for (const auto rule : {PredictedRule::kBackpropagation, PredictedRule::kPredictiveCoding}) {
    options.push_back({.rule = rule});
    for (const bool presynaptic : {false, true}) {
      options.push_back({.rule = rule, .alpha = true, .presynaptic_denominator = presynaptic});
      options.push_back(
          {.rule = rule, .alpha = true, .presynaptic_denominator = presynaptic, .floor = 0.5});
    }
  }
  return options;
}

// One layer's part of an update, the others at rest.
Update only(const Update& update, std::size_t l) {
  Update part = update;
  for (std::size_t k = 1; k <= update.weights.size(); ++k) {
    if (k == l) continue;
    part.weights[k - 1] = at::zeros_like(update.weights[k - 1]);
    auto& bias = part.biases[k - 1];
    if (bias.defined()) bias = at::zeros_like(bias);
  }
  return part;
}

// Oracle: the measurement, for the whole update and layer by layer.
TEST(PredictedAlignment, IsTheMeasuredOne) {
  for (const auto& network_options : networks()) {
    const auto network = random_network(network_options);
    for (const std::int64_t batch_size : {1, 2, 12}) {
      const auto batch = random_batch(*network, batch_size);
      const auto pass = nn::feedforward(*network, batch.input);
      for (const auto& options : all_options()) {
        SCOPED_TRACE(c10::str(network, " B ", batch_size, " PC ",
                              options.rule == PredictedRule::kPredictiveCoding, " alpha ",
                              options.alpha, options.presynaptic_denominator, " floor ",
                              options.floor.value_or(0)));
        const auto update = make_update(directions(*network, batch, options));
        const auto predicted = predict_alignment(*network, batch, options);
        EXPECT_LT(relative_difference(predicted.change, first_order_change(*network, pass, update)),
                  1e-10);
        ASSERT_EQ(predicted.layers.size(), network->size());
        for (std::size_t l = 1; l <= network->size(); ++l) {
          EXPECT_LT(relative_difference(predicted.layers[l - 1],
                                        first_order_change(*network, pass, only(update, l))),
                    1e-10);
        }
        const auto measured = target_alignment(*network, batch, update);
        EXPECT_LT(relative_difference(predicted.alignment.per_sample, measured.per_sample), 1e-10);
        EXPECT_LT(relative_difference(predicted.alignment.mean, measured.mean), 1e-10);
        EXPECT_LT(relative_difference(predicted.alignment.batch, measured.batch), 1e-10);
      }
    }
  }
}

// Oracle: the definition. r_b . layers[l]_b / (||r_b|| ||change_b||), and the sum over layers is
// the alignment.
TEST(PredictedAlignment, SharesAddUp) {
  for (const auto& network_options : networks()) {
    const auto network = random_network(network_options);
    SCOPED_TRACE(c10::str(network));
    const auto batch = random_batch(*network, 5);
    for (const auto& options : all_options()) {
      const at::NoGradGuard no_grad;
      const auto predicted = predict_alignment(*network, batch, options);
      const auto r = batch.target - network->forward(batch.input);
      const auto lengths = r.norm(2, -1) * predicted.change.norm(2, -1);
      for (std::size_t l = 0; l < network->size(); ++l) {
        const auto expected = (r * predicted.layers[l]).sum(-1) / lengths;
        EXPECT_LT(relative_difference(predicted.shares[static_cast<std::int64_t>(l)], expected),
                  1e-12);
      }
      const auto sum = predicted.shares.sum(0);
      ASSERT_EQ(sum.sizes(), predicted.alignment.per_sample.sizes());
      EXPECT_LT((sum - predicted.alignment.per_sample).abs().max().item<double>(), 1e-12);
    }
  }
}

// Invariant: scale. With W_L = 0 the residuals are the targets, whose squares under- or overflow.
TEST(PredictedAlignment, SharesDoNotDependOnScale) {
  const auto network = random_network(nn::mlp({5, 4, 3}));
  {
    const at::NoGradGuard no_grad;
    network->dense(2).weight.zero_();
  }
  const auto batch = random_batch(*network, 4);
  const auto expected = predict_alignment(*network, batch).shares;
  for (const double scale : {1e-200, 1e200}) {
    const data::Batch scaled(batch.input, batch.target * scale);
    for (const auto rule : {PredictedRule::kBackpropagation, PredictedRule::kPredictiveCoding}) {
      const auto predicted = predict_alignment(*network, scaled, {.rule = rule});
      EXPECT_LT(relative_difference(predicted.shares, expected), 1e-13);
    }
  }
}

// Oracle: the promise itself. Shares are NaN where the alignment is, and there alone.
TEST(PredictedAlignment, SharesAreNaNWhereTheAlignmentIs) {
  const auto network = random_network(nn::mlp({5, 4, 3}));
  auto batch = random_batch(*network, 4);
  batch.target[2].copy_(network->forward(batch.input)[2].detach());
  batch.input[3].zero_();  // r = y, but no weight is seen at work
  const auto predicted = predict_alignment(*network, batch);
  EXPECT_EQ(predicted.alignment.left_out.item<std::int64_t>(), 2);
  const auto missing = predicted.alignment.per_sample.isnan();
  ASSERT_EQ(missing.sum().item<std::int64_t>(), 2);
  EXPECT_TRUE(at::equal(predicted.shares.isnan(), missing.expand({2, 4})));
}

// Oracle: Theorem 1. With alpha at B = 1 predictive coding's change is the residual itself.
TEST(PredictedAlignment, AlphaGivesTheResidualAtOneSample) {
  for (const auto& network_options : networks()) {
    const auto network = random_network(network_options);
    SCOPED_TRACE(c10::str(network));
    const auto batch = random_batch(*network, 1);
    const auto predicted = predict_alignment(*network, batch, {.alpha = true});
    const auto r = (batch.target - network->forward(batch.input)).detach();
    EXPECT_LT(relative_difference(predicted.change, r), 1e-10);
    EXPECT_LT((predicted.alignment.per_sample - 1).abs().max().item<double>(), 1e-12);
  }
}

// One unit a layer and weights of 3/4: S = (5/4)^2, and all that is computed below is exact.
nn::Network chain() {
  const auto network = random_network(nn::mlp({1, 1, 1}));
  const at::NoGradGuard no_grad;
  network->dense(1).weight.fill_(0.75);
  network->dense(2).weight.fill_(0.75);
  return network;
}

at::Tensor column(const std::vector<double>& values) {
  return torch::tensor(values, at::kDouble).unsqueeze(-1);
}

// Oracle: by hand. xhat_1 = (3/4, 3/4), v = (0, -2) and x*_1 = (3/4, -3/4), so that c_1 = 1 and
// c_2 = 0, D_1 = -3/4 and D_2 = 3/4; with alpha the second layer does not move.
TEST(PredictedAlignment, ALayerWithoutADenominatorDoesNotMove) {
  const auto network = chain();
  const data::Batch batch(column({1, 1}), column({0.5625, 0.5625 - 3.125}));
  const auto up = column({0.5625, 0.5625});
  const auto plain = predict_alignment(*network, batch);
  EXPECT_TRUE(at::equal(plain.layers[0], -up));
  EXPECT_TRUE(at::equal(plain.layers[1], up));
  const auto predicted = predict_alignment(*network, batch, {.alpha = true});
  EXPECT_TRUE(at::equal(predicted.layers[0], -up));
  EXPECT_TRUE(at::equal(predicted.layers[1], 0 * up));
  EXPECT_TRUE(at::equal(predicted.change, -up));
}

// Oracle: by hand. v = -2 and x*_1 = -3/4, so that c_1 = 1, c_2 = -9/16, D_1 = -3/2 and D_2 = 3/2;
// a floor of one half puts 1/2 in the place of c_2.
TEST(PredictedAlignment, AFloorReplacesSmallDenominators) {
  const auto network = chain();
  const data::Batch batch(column({1}), column({0.5625 - 3.125}));
  const auto literal = predict_alignment(*network, batch, {.alpha = true});
  EXPECT_DOUBLE_EQ(literal.layers[0].item<double>(), -1.125);
  EXPECT_DOUBLE_EQ(literal.layers[1].item<double>(), -2);
  const auto floored = predict_alignment(*network, batch, {.alpha = true, .floor = 0.5});
  EXPECT_DOUBLE_EQ(floored.layers[0].item<double>(), -1.125);
  EXPECT_DOUBLE_EQ(floored.layers[1].item<double>(), 2.25);
}

// Invariant: a member of an ensemble is a network of its own, and one that is not finite is no
// one else's trouble.
TEST(PredictedAlignment, OfAnEnsembleIsThatOfItsMembers) {
  const auto network = random_network(residual_in_the_middle().ensemble(4));
  {
    const at::NoGradGuard no_grad;
    network->dense(3).weight[2].fill_(std::numeric_limits<double>::quiet_NaN());
  }
  const auto own = random_batch(*network, 5);
  const data::Batch shared(own.input[0], own.target[0]);
  for (const bool sharing : {false, true}) {
    for (const auto& options : all_options()) {
      const auto all = predict_alignment(*network, sharing ? shared : own, options);
      ASSERT_EQ(all.shares.sizes(), at::IntArrayRef({4, 4, 5}));
      EXPECT_FALSE(all.change[2].isfinite().any().item<bool>());
      EXPECT_EQ(all.alignment.non_finite[2].item<std::int64_t>(), 5);
      for (const std::int64_t r : {0, 1, 3}) {
        const auto batch = sharing ? shared : data::Batch(own.input[r], own.target[r]);
        const auto one = predict_alignment(*test::member(*network, r), batch, options);
        EXPECT_LT(relative_difference(all.change[r], one.change), 1e-12);
        EXPECT_LT(relative_difference(all.shares.select(1, r), one.shares), 1e-12);
        EXPECT_EQ(all.alignment.non_finite[r].item<std::int64_t>(), 0);
      }
    }
  }
}

// Invariant: second moments. A compressed batch has other samples, whose changes are those of the
// whole batch seen through the same orthogonal map, so that their norm and the batch cosine stay.
TEST(PredictedAlignment, OfACompressedBatchHasTheSameNormAndBatchCosine) {
  const auto network = random_network(nn::mlp({4, 6, 3}));
  const auto batch = random_batch(*network, 30);
  const auto small = data::compress(batch);
  ASSERT_LE(small.input.size(0), 7);
  for (const auto& options : all_options()) {
    const auto got = predict_alignment(*network, small, options);
    const auto whole = predict_alignment(*network, batch, options);
    EXPECT_LT(relative_difference(got.change.norm(), whole.change.norm()), 1e-11);
    EXPECT_LT(relative_difference(got.alignment.batch, whole.alignment.batch), 1e-11);
  }
}

TEST(PredictedAlignment, NeedsALinearNetwork) {
  const auto network = random_network(nn::mlp({4, 6, 3}, nn::Activation::kTanh));
  EXPECT_THROW(predict_alignment(*network, random_batch(*network, 2)), c10::Error);
}

}  // namespace
}  // namespace pcxx::metrics
