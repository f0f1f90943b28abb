// Target alignment of whole networks, 512 wide, against values of an independent program and
// against the theorems, in float64 and to first order.

#include <gtest/gtest.h>
#include <pcxx/core/random.h>
#include <pcxx/data/linear_teacher.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/learning/predictive_coding.h>
#include <pcxx/metrics/target_alignment.h>
#include <pcxx/nn/conditioning.h>
#include <pcxx/nn/init.h>
#include <pcxx/optim/alpha.h>
#include <pcxx/optim/decorrelation.h>

#include <cmath>

namespace pcxx::metrics {
namespace {

constexpr std::int64_t kWidth = 512;

nn::Network draw(std::int64_t hidden_layers, const nn::DrawWeight& weight, std::uint64_t seed) {
  nn::Network network(
      nn::mlp(std::vector<std::int64_t>(static_cast<std::size_t>(hidden_layers + 2), kWidth)));
  network->to(torch::kDouble);
  nn::init::draw_(*network, weight, make_generator(seed, Purpose::kWeights));
  return network;
}

data::Batch draw_batch(std::int64_t batch_size, std::uint64_t seed) {
  return data::LinearTeacher(data::LinearTeacherOptions(kWidth, kWidth), seed).next(batch_size);
}

// First-order alignment of one update, mean over the samples.
double alignment(const nn::NetworkImpl& network, const data::Batch& batch,
                 learning::LearningRule&& rule, optim::Rescaling& rescaling) {
  const auto step = rule.factors(network, batch);
  const auto update = make_update(rescaling.directions(step.layers));
  return target_alignment(network, batch, update).mean.item<double>();
}

double alignment(const nn::NetworkImpl& network, const data::Batch& batch,
                 learning::LearningRule&& rule) {
  optim::Plain plain;
  return alignment(network, batch, std::move(rule), plain);
}

struct Estimate {
  double mean;
  double error;  // standard error of the mean
};

Estimate estimate(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  double mean = 0;
  for (const double value : values) mean += value / n;
  double variance = 0;
  for (const double value : values) variance += (value - mean) * (value - mean) / (n - 1);
  return {mean, std::sqrt(variance / n)};
}

void expect_near(const Estimate& got, const Estimate& reference) {
  EXPECT_NEAR(got.mean, reference.mean, 3 * std::hypot(got.error, reference.error))
      << "standard error " << got.error << ", reference " << reference.error;
}

struct Reference {
  decltype(&nn::init::kaiming) weight;
  std::int64_t hidden_layers;
  Estimate bp;
  Estimate pc;
};

class ReferenceAlignment : public testing::TestWithParam<Reference> {};

// Oracle: an independent program's mean and standard error over ten seeds, at one sample.
TEST_P(ReferenceAlignment, IsReproduced) {
  const auto& [weight, hidden_layers, bp, pc] = GetParam();
  std::vector<double> with_bp;
  std::vector<double> with_pc;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const auto network = draw(hidden_layers, weight, seed);
    const auto batch = draw_batch(1, seed);
    with_bp.push_back(alignment(*network, batch, learning::Backpropagation()));
    with_pc.push_back(alignment(*network, batch, learning::PredictiveCoding()));
  }
  expect_near(estimate(with_bp), bp);
  expect_near(estimate(with_pc), pc);
}

INSTANTIATE_TEST_SUITE_P(
    Width512, ReferenceAlignment,
    testing::Values(Reference{nn::init::norm_preserving, 1, {0.914, 0.003}, {0.9940, 0.0006}},
                    Reference{nn::init::norm_preserving, 2, {0.850, 0.005}, {0.978, 0.002}},
                    Reference{nn::init::norm_preserving, 4, {0.786, 0.007}, {0.943, 0.004}},
                    Reference{nn::init::norm_preserving, 8, {0.708, 0.011}, {0.870, 0.014}},
                    Reference{nn::init::kaiming, 1, {0.895, 0.002}, {0.959, 0.001}},
                    Reference{nn::init::kaiming, 2, {0.802, 0.005}, {0.891, 0.002}},
                    Reference{nn::init::kaiming, 4, {0.677, 0.004}, {0.759, 0.013}},
                    Reference{nn::init::kaiming, 8, {0.531, 0.006}, {0.47, 0.08}}),
    [](const auto& reference) {
      return std::string(reference.param.weight == nn::init::kaiming ? "Kaiming"
                                                                     : "NormPreserving") +
             std::to_string(reference.param.hidden_layers);
    });

// Oracle: Theorem 1, at any condition number. Backpropagation reaches 1 only where all singular
// values are equal.
TEST(AlphaAlignment, IsOneForPredictiveCodingAtEveryConditionNumber) {
  const auto batch = draw_batch(1, 0);
  for (const double kappa : {1.0, 2.0, 10.0, 1e3, 1e7, 1e12}) {
    auto network = draw(1, nn::init::kaiming, 0);
    nn::set_condition_number_(*network, kappa);
    optim::Alpha alpha;
    EXPECT_NEAR(alignment(*network, batch, learning::PredictiveCoding(), alpha), 1, 1e-8) << kappa;
    const double bp = alignment(*network, batch, learning::Backpropagation(), alpha);
    if (kappa == 1) {
      EXPECT_NEAR(bp, 1, 1e-8);
    } else {
      EXPECT_LT(bp, 0.999) << kappa;
    }
  }
}

// Oracle: Theorem 2 for its transpose. The factor as printed, and backpropagation's errors, give
// less.
TEST(DecorrelationAlignment, IsOneForPredictiveCodingWithTheTransposedFactor) {
  const auto network = draw(1, nn::init::kaiming, 0);
  for (const std::int64_t batch_size : {32, 128}) {
    const auto batch = draw_batch(batch_size, 0);
    optim::Decorrelation transposed;
    optim::Decorrelation printed({.as_printed = true});
    EXPECT_NEAR(alignment(*network, batch, learning::PredictiveCoding(), transposed), 1, 1e-8);
    EXPECT_LT(alignment(*network, batch, learning::PredictiveCoding(), printed), 0.99);
    EXPECT_LT(alignment(*network, batch, learning::Backpropagation(), transposed), 0.99);
    EXPECT_LT(alignment(*network, batch, learning::PredictiveCoding()), 0.99);
  }
}

}  // namespace
}  // namespace pcxx::metrics
