#include <gtest/gtest.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/learning/predictive_coding.h>
#include <pcxx/metrics/layer_diagnostics.h>
#include <pcxx/optim/alpha.h>

#include <cmath>
#include <limits>

#include "support/factors.h"
#include "support/networks.h"

namespace pcxx::metrics {
namespace {

using test::random_batch;
using test::random_factors;
using test::random_network;
using test::relative_difference;

// Oracle: every formula of the header, written with loops over samples.
TEST(LayerDiagnostics, AreTheirFormulas) {
  for (const bool bias : {false, true}) {
    const auto layer = random_factors({.batch = 6, .in = 4, .out = 3, .bias = bias});
    const auto got = diagnose({layer}).at(0);
    const auto& u = layer.presynaptic;
    const auto& xhat = layer.feedforward;
    double c = 0;
    double u_norm = 0;
    double xhat_norm = 0;
    double size = 0;
    double off_diagonal = 0;
    std::vector<double> diagonal;
    for (std::int64_t b = 0; b < 6; ++b) {
      u_norm += u[b].norm().item<double>() / 6;
      xhat_norm += xhat[b].norm().item<double>() / 6;
      for (std::int64_t a = 0; a < 6; ++a) {
        const double k = at::dot(u[a], xhat[b]).item<double>() + (bias ? 1 : 0);
        size += k * k;
        if (a == b) {
          c += k / 6;
          diagonal.push_back(k);
        } else {
          off_diagonal += k * k;
        }
      }
    }
    double distance = off_diagonal;
    for (const double k : diagonal) distance += (k - c) * (k - c);
    EXPECT_NEAR(got.alignment.item<double>(), c, 1e-13);
    EXPECT_NEAR(got.presynaptic_norm.item<double>(), u_norm, 1e-13);
    EXPECT_NEAR(got.feedforward_norm.item<double>(), xhat_norm, 1e-13);
    EXPECT_NEAR(got.interference.item<double>(), std::sqrt(distance / size), 1e-13);
    EXPECT_NEAR(got.cross_sample.item<double>(), std::sqrt(off_diagonal / size), 1e-13);
    const auto sigma = at::linalg_svdvals(layer.weight.detach());
    EXPECT_NEAR(got.condition_number.item<double>(), (sigma[0] / sigma[2]).item<double>(), 1e-12);
  }
}

// Oracle: Theorem 1's denominator, as the rescaling divides by it.
TEST(LayerDiagnostics, AlignmentIsWhatAlphaDividesBy) {
  const auto network = random_network(nn::mlp({6, 5, 7, 4}).with_bias());
  const auto step = learning::PredictiveCoding().factors(*network, random_batch(*network, 5));
  const auto plain = optim::Plain().directions(step.layers);
  const auto rescaled = optim::Alpha().directions(step.layers);
  const auto got = diagnose(step.layers);
  ASSERT_EQ(got.size(), 3);
  for (std::size_t l = 0; l < 3; ++l) {
    EXPECT_LT(relative_difference(rescaled[l].weight * got[l].alignment, plain[l].weight), 1e-13);
  }
}

// Invariant: at B = 1 K is a number, a multiple of I, whatever it is, and nothing interferes.
TEST(LayerDiagnostics, OneSampleDoesNotInterfere) {
  const auto network = random_network(nn::mlp({6, 5, 7, 4}, nn::Activation::kReLU));
  learning::PredictiveCoding pc;
  learning::Backpropagation bp;
  for (auto* rule : std::initializer_list<learning::LearningRule*>{&pc, &bp}) {
    for (const auto& layer : diagnose(rule->factors(*network, random_batch(*network, 1)).layers)) {
      EXPECT_EQ(layer.interference.item<double>(), 0);
      EXPECT_EQ(layer.cross_sample.item<double>(), 0);
    }
  }
}

// Oracle: the same. Where u and xhat are orthogonal, or no unit is active, K = 0 is the multiple 0
// of I.
TEST(LayerDiagnostics, NothingInterferesWhereNoActivitiesMeet) {
  for (const std::int64_t batch_size : {1, 3}) {
    auto layer = random_factors({.batch = batch_size});
    layer.feedforward.zero_();
    const auto got = diagnose({layer}).at(0);
    EXPECT_EQ(got.alignment.item<double>(), 0);
    EXPECT_EQ(got.interference.item<double>(), 0);
    EXPECT_EQ(got.cross_sample.item<double>(), 0);
  }
}

// Oracle: activities whose products are known. Orthogonal samples of equal length leave K = c I;
// of other lengths the distance lies on the diagonal; equal samples make all entries equal.
TEST(LayerDiagnostics, InterferenceOfKnownActivities) {
  auto layer = random_factors({.batch = 4, .in = 4});
  const auto of = [&](const at::Tensor& x) {
    layer.presynaptic = x;
    layer.feedforward = x;
    return diagnose({layer}).at(0);
  };
  const auto equal_length = of(3 * at::eye(4, at::kDouble).flip(0));
  EXPECT_EQ(equal_length.interference.item<double>(), 0);
  EXPECT_EQ(equal_length.cross_sample.item<double>(), 0);
  EXPECT_EQ(equal_length.alignment.item<double>(), 9);
  EXPECT_EQ(equal_length.feedforward_norm.item<double>(), 3);

  // Squared lengths 1, 1, 3, 3: sqrt(4 / 20).
  const auto lengths = torch::tensor({1.0, 1.0, 3.0, 3.0}, at::kDouble).sqrt();
  const auto other_length = of(at::diag(lengths));
  EXPECT_NEAR(other_length.interference.item<double>(), std::sqrt(0.2), 1e-15);
  EXPECT_EQ(other_length.cross_sample.item<double>(), 0);

  // 12 of 16 equal entries off the diagonal.
  const auto alike = of(at::ones({4, 4}, at::kDouble));
  EXPECT_NEAR(alike.interference.item<double>(), std::sqrt(0.75), 1e-15);
  EXPECT_NEAR(alike.cross_sample.item<double>(), std::sqrt(0.75), 1e-15);
}

// Oracle: known singular values; a weight that is zero or not finite has none to compare, and does
// not end the others.
TEST(LayerDiagnostics, ConditionNumber) {
  auto layer = random_factors({.lead = {4}, .batch = 3, .in = 2, .out = 2});
  layer.weight = at::diag_embed(torch::tensor(
      {{-6.0, 2.0}, {0.0, 0.0}, {std::numeric_limits<double>::quiet_NaN(), 1.0}, {5.0, 0.0}},
      at::kDouble));
  layer.weight[2][0][1].fill_(std::numeric_limits<double>::infinity());
  const auto kappa = diagnose({layer}).at(0).condition_number;
  EXPECT_NEAR(kappa[0].item<double>(), 3, 1e-14);
  EXPECT_TRUE(kappa[1].isnan().item<bool>());
  EXPECT_TRUE(kappa[2].isnan().item<bool>());
  EXPECT_TRUE(kappa[3].isinf().item<bool>());
}

// Invariant: a member of an ensemble is a layer of its own. Results are in float64, and the factors
// stay as they were.
TEST(LayerDiagnostics, OfAnEnsembleAreThoseOfItsMembers) {
  const auto network = random_network(nn::mlp({6, 5, 7, 4}).with_bias().ensemble(3));
  const auto batch = random_batch(*network, 4);
  const auto step = learning::PredictiveCoding().factors(*network, batch);
  const auto u = step.layers[1].presynaptic.clone();
  const auto all = diagnose(step.layers);
  EXPECT_TRUE(at::equal(step.layers[1].presynaptic, u));
  for (std::int64_t r = 0; r < 3; ++r) {
    const auto one = diagnose(
        learning::PredictiveCoding()
            .factors(*test::member(*network, r), data::Batch(batch.input[r], batch.target[r]))
            .layers);
    for (std::size_t l = 0; l < 3; ++l) {
      for (const auto field :
           {&LayerDiagnostics::alignment, &LayerDiagnostics::feedforward_norm,
            &LayerDiagnostics::presynaptic_norm, &LayerDiagnostics::condition_number,
            &LayerDiagnostics::interference, &LayerDiagnostics::cross_sample}) {
        const auto& values = all[l].*field;
        ASSERT_EQ(values.sizes(), at::IntArrayRef({3}));
        EXPECT_NEAR(values[r].item<double>() / (one[l].*field).item<double>(), 1, 1e-11);
      }
    }
  }
}

TEST(LayerDiagnostics, AreComputedInFloat64) {
  auto network = random_network(nn::mlp({6, 5, 4}));
  network->to(at::kFloat);
  const auto step = learning::PredictiveCoding().factors(*network, random_batch(*network, 4));
  auto layers = step.layers;
  for (auto& layer : layers) {
    layer.weight = layer.weight.to(at::kDouble);
    layer.presynaptic = layer.presynaptic.to(at::kDouble);
    layer.feedforward = layer.feedforward.to(at::kDouble);
  }
  const auto exact = diagnose(layers);
  const auto got = diagnose(step.layers);
  for (std::size_t l = 0; l < 2; ++l) {
    EXPECT_EQ(got[l].interference.item<double>(), exact[l].interference.item<double>());
    EXPECT_EQ(got[l].condition_number.item<double>(), exact[l].condition_number.item<double>());
  }
}

}  // namespace
}  // namespace pcxx::metrics
