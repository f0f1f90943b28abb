// Steps of a batch that several ranks share, against those of one process.

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <pcxx/inference/equilibrium.h>
#include <pcxx/inference/error_descent.h>
#include <pcxx/inference/lbfgs.h>
#include <pcxx/inference/state_descent.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/learning/incremental.h>
#include <pcxx/learning/kalman.h>
#include <pcxx/learning/predictive_coding.h>
#include <pcxx/optim/optimizers.h>
#include <pcxx/optim/rescaled.h>
#include <pcxx/parallel/shared_step.h>
#include <torch/optim/sgd.h>

#include "parallel/ranks.h"
#include "support/factors.h"
#include "support/networks.h"
#include "support/own_layers.h"
#include "support/rescalings.h"

namespace pcxx::parallel {
namespace {

using nn::Activation;
using test::random_batch;
using test::random_network;
using test::ranks;
using test::relative_difference;

std::shared_ptr<learning::LearningRule> pc(std::shared_ptr<const inference::Inference> method) {
  return std::make_shared<learning::PredictiveCoding>(std::move(method));
}

std::vector<std::shared_ptr<learning::LearningRule>> rules(bool linear) {
  std::vector<std::shared_ptr<learning::LearningRule>> all{
      std::make_shared<learning::Backpropagation>(),
      pc(std::make_shared<inference::ErrorDescent>(inference::DescentOptions{
          .max_steps = 5, .step_size = 0.1, .tolerance = 0, .energy_tolerance = 0}))};
  if (linear) {
    all.push_back(pc(std::make_shared<inference::ClosedForm>()));
    all.push_back(std::make_shared<learning::PredictiveCoding>(
        std::make_shared<inference::ClosedForm>(),
        learning::PredictiveCodingOptions{.nudging = 0.5, .centred = true}));
  }
  return all;
}

std::vector<test::RescalingOptions> rescalings() {
  using optim::AlphaDenominator;
  using optim::Spectrum;
  return {{.name = "none"},
          {.name = "alpha"},
          {.name = "alpha", .denominator = AlphaDenominator::kPresynaptic, .floor = 0.5},
          {.name = "decorrelation"},
          {.name = "decorrelation", .regularisation = 0.1},
          {.name = "decorrelation", .regularisation = 0.1, .spectrum = Spectrum::kLower},
          {.name = "decorrelation", .regularisation = 0.1, .spectrum = Spectrum::kSingular},
          {.name = "decorrelation", .regularisation = 0.1, .as_printed = true},
          {.name = "projection"},
          {.name = "projection", .regularisation = 0.1},
          {.name = "recursive_projection"}};
}

std::vector<nn::NetworkOptions> networks() {
  return {nn::mlp({5, 6, 4}), nn::mlp({5, 6, 4}).with_bias(), nn::linear_residual(5, 3).ensemble(2),
          nn::mlp({5, 9, 4, 6}, Activation::kTanh, Activation::kSigmoid).with_bias().ensemble(3)};
}

// The network after some steps, each rank with its share of every batch, or one process with all.
nn::Network trained(const nn::NetworkImpl& start, learning::LearningRule& rule,
                    const test::RescalingOptions& rescaling, std::int64_t batch_size,
                    Communicator& communicator) {
  nn::Network network(std::dynamic_pointer_cast<nn::NetworkImpl>(start.clone()));
  optim::Rescaled optimizer(torch::optim::SGD(network->parameters(), 0.05),
                            test::make_rescaling(rescaling));
  for (std::uint64_t seed = 1; seed <= 2; ++seed) {
    const auto batch = random_batch(*network, batch_size, seed);
    for (std::int64_t i = 0; i < rule.steps_per_batch(); ++i) {
      optimizer.step(shared_step(rule, *network, batch, optimizer.rescaling(), communicator));
    }
  }
  return network;
}

double largest_difference(const nn::NetworkImpl& a, const nn::NetworkImpl& b,
                          const nn::NetworkImpl& start) {
  double largest = 0;
  for (const auto& parameter : start.named_parameters()) {
    const auto left = a.named_parameters()[parameter.key()] - parameter.value();
    const auto right = b.named_parameters()[parameter.key()] - parameter.value();
    largest = std::max(largest, relative_difference(left, right));
  }
  return largest;
}

// lambda_max / lambda_min of the moments that a pseudo-inverse is taken of, the worst of all
// layers.
double condition(const nn::NetworkImpl& network, learning::LearningRule& rule,
                 std::int64_t batch_size, std::uint64_t seed) {
  double worst = 1;
  for (const auto& layer : rule.factors(network, random_batch(network, batch_size, seed)).layers) {
    const auto xhat = test::with_ones(layer.feedforward, layer);
    const auto u = test::with_ones(layer.presynaptic, layer);
    const auto moments = at::matmul(xhat.mT(), u);
    if (!moments.isfinite().all().item<bool>()) continue;  // a fixed step has become unstable
    const auto sigma = at::linalg_svdvals(moments);
    const auto relative = sigma / sigma.select(-1, 0).unsqueeze(-1);
    const auto kept = relative.masked_fill(relative.lt(1e-14), 1);
    worst = std::max(worst, 1 / kept.min().item<double>());
  }
  return worst;
}

// Rounding, 1e-12, and where moments are inverted as they are, as much more as they are ill
// conditioned.
double tolerance(const nn::NetworkImpl& start, const nn::NetworkImpl& end,
                 learning::LearningRule& rule, const test::RescalingOptions& rescaling,
                 std::int64_t batch_size) {
  if (rescaling.name != "decorrelation" || rescaling.regularisation > 0) return 1e-12;
  const double worst =
      std::max(condition(start, rule, batch_size, 1), condition(end, rule, batch_size, 2));
  return std::max(1e-12, 1e-15 * worst);
}

// Oracle: one process. Batches thinner than the ranks, than the layers, as wide, and much thicker.
TEST(SharedStep, UpdatesLikeOneProcess) {
  Alone alone;
  double worst = 0;
  for (const auto& options : networks()) {
    const auto start = random_network(options);
    for (const auto& rule : rules(start->is_linear())) {
      for (const auto& rescaling : rescalings()) {
        for (const std::int64_t batch_size : {1, 2, 3, 7, 11, 60}) {
          SCOPED_TRACE(c10::str(start, rule->name(), " ", rescaling.name, " ",
                                rescaling.regularisation, " B = ", batch_size));
          const auto expected = trained(*start, *rule, rescaling, batch_size, alone);
          const auto found = trained(*start, *rule, rescaling, batch_size, ranks());
          const auto difference = largest_difference(*found, *expected, *start);
          const auto allowed = tolerance(*start, *expected, *rule, rescaling, batch_size);
          EXPECT_LT(difference, allowed);
          if (allowed > 1e-12) continue;
          worst = std::max(worst, difference);
        }
      }
    }
  }
  if (ranks().is_root()) std::cout << "largest relative difference " << worst << "\n";
}

// Oracle: one process: each rank keeps the activities of its slice from pass to pass, also where it
// has no sample. In float32 the inputs of every pass are cast anew.
TEST(SharedStep, MakesAllPassesOfABatchLikeOneProcess) {
  Alone alone;
  learning::IncrementalPredictiveCoding rule({.passes = 4, .step_size = 0.1});
  for (const auto& options : networks()) {
    const auto start = random_network(options);
    for (const std::string name : {"none", "alpha", "projection", "recursive_projection"}) {
      for (const std::int64_t batch_size : {1, 3, 7, 60}) {
        SCOPED_TRACE(c10::str(start, " ", name, " B = ", batch_size));
        const test::RescalingOptions rescaling{.name = name, .regularisation = 0.1};
        const auto expected = trained(*start, rule, rescaling, batch_size, alone);
        const auto found = trained(*start, rule, rescaling, batch_size, ranks());
        EXPECT_LT(largest_difference(*found, *expected, *start), 1e-12);
      }
    }
  }
  auto single = random_network(networks().back());
  single->to(at::kFloat);
  const auto expected = trained(*single, rule, {.name = "none"}, 7, alone);
  const auto found = trained(*single, rule, {.name = "none"}, 7, ranks());
  EXPECT_LT(largest_difference(*found, *expected, *single), 1e-3);
}

// Oracle: one process, to the tolerance of inference: a sample stops by itself, but its products
// are rounded otherwise in a smaller batch.
TEST(SharedStep, SettlesLikeOneProcess) {
  Alone alone;
  const auto start = random_network(nn::mlp({5, 9, 4, 6}, Activation::kReLU, Activation::kSigmoid));
  const auto rule = pc(std::make_shared<inference::Lbfgs>());
  const auto batch = random_batch(*start, 7);
  const optim::Plain plain;
  const auto expected = shared_step(*rule, *start, batch, plain, alone);
  const auto found = shared_step(*rule, *start, batch, plain, ranks());
  EXPECT_EQ(found.report->method, expected.report->method);
  EXPECT_EQ(found.report->steps.scalar_type(), expected.report->steps.scalar_type());
  EXPECT_EQ(found.report->energy.sizes(), expected.report->energy.sizes());
  EXPECT_LT(relative_difference(found.report->energy, expected.report->energy), 1e-6);
  EXPECT_TRUE(at::equal(found.report->converged, expected.report->converged));
}

// Oracle: the weights of rank 0, bit by bit.
TEST(SharedStep, LeavesAllRanksTheSame) {
  const auto start = random_network(networks().back());
  for (const auto& rescaling : rescalings()) {
    const auto network = trained(*start, *rules(false).front(), rescaling, 60, ranks());
    for (const auto& parameter : network->parameters()) {
      auto first = parameter.detach().clone();
      ranks().broadcast(first);
      EXPECT_TRUE(at::equal(first, parameter)) << rescaling.name;
    }
  }
}

// Oracle: one process; directions of layers without factors are added up.
TEST(SharedStep, AddsUpLayersOfOnesOwn) {
  Alone alone;
  const auto start = test::gated_network();
  for (const std::int64_t batch_size : {1, 7}) {
    learning::Backpropagation rule;
    const auto expected = trained(*start, rule, {.name = "none"}, batch_size, alone);
    const auto found = trained(*start, rule, {.name = "none"}, batch_size, ranks());
    EXPECT_LT(largest_difference(*found, *expected, *start), 1e-12);
  }
}

// A rescaling that knows nothing of ranks: every sample's part has the same length.
class Normalised final : public optim::Rescaling {
 public:
  std::vector<optim::Direction> directions(
      const std::vector<learning::LayerFactors>& layers) override {
    std::vector<optim::Direction> result;
    for (const auto& layer : layers) {
      const auto length = layer.error.norm(2, -1, true) * layer.presynaptic.norm(2, -1, true);
      result.push_back({at::matmul((layer.error / length).mT(), layer.presynaptic), {}});
    }
    return result;
  }
  std::string_view name() const override { return "normalised"; }
};

// Oracle: one process; a rescaling of one's own gets the factors of all samples.
TEST(SharedStep, ServesRescalingsOfOnesOwn) {
  Alone alone;
  const auto network = random_network(nn::mlp({5, 6, 4}, Activation::kTanh));
  learning::Backpropagation rule;
  Normalised rescaling;
  const auto batch = random_batch(*network, 60);
  const auto expected =
      rescaling.directions(shared_step(rule, *network, batch, rescaling, alone).layers);
  const auto found =
      rescaling.directions(shared_step(rule, *network, batch, rescaling, ranks()).layers);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_LT(relative_difference(found[i].weight, expected[i].weight), 1e-13);
  }
}

// A rule that weighs samples against each other, and does not know of ranks.
class Contrast final : public learning::LearningRule {
 public:
  learning::Step factors(const nn::NetworkImpl& network, const data::Batch& batch) override {
    return learning::Backpropagation().factors(network, batch);
  }
  std::string_view name() const override { return "contrast"; }
  learning::Sharing sharing() const override { return learning::Sharing::kNever; }
};

// Contract: such a rule is refused, but by one rank, which has all samples.
TEST(SharedStep, RefusesToSplitWhatBelongsTogether) {
  const auto network = random_network(nn::mlp({5, 6, 4}));
  const auto step = [&] {
    Contrast rule;
    return shared_step(rule, *network, random_batch(*network, 4), optim::Plain(), ranks());
  };
  if (ranks().size() == 1) {
    EXPECT_EQ(step().layers.size(), 2U);
  } else {
    EXPECT_THROW(step(), c10::Error);
  }
}

// Oracle: the numbers of each message by hand, for 5-6-4 and a thick batch: sums of D alone.
TEST(SharedStep, SendsNoMoreThanItMust) {
  const std::int64_t n = ranks().size();
  const auto network = random_network(nn::mlp({5, 6, 4}));
  learning::Backpropagation rule;
  const auto sent = [&](const test::RescalingOptions& options, std::int64_t batch_size) {
    const auto before = ranks().bytes();
    const auto rescaling = test::make_rescaling(options);
    shared_step(rule, *network, random_batch(*network, batch_size), *rescaling, ranks());
    return ranks().bytes() - before;
  };
  const auto sum = [&](std::int64_t numbers) { return 2 * (n - 1) * 8 * numbers / n; };
  const auto gathered = [&](std::int64_t numbers) { return (n - 1) * 8 * numbers / n; };
  // D_1 is 6 x 5, D_2 4 x 6; of 4 samples, E_1 is 4 x 6, E_2 4 x 4 and Xhat_1 4 x 6.
  EXPECT_EQ(sent({.name = "none"}, 60), sum(30) + sum(24));
  EXPECT_EQ(sent({.name = "none"}, 4), gathered(24) + gathered(40)) << "all ranks have the inputs";
  EXPECT_EQ(sent({.name = "projection", .regularisation = 0.1}, 60),
            sum(6 * 5 + 5 * 5) + sum(4 * 6 + 6 * 6));
}

}  // namespace
}  // namespace pcxx::parallel
