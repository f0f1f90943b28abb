// Kalman predictive coding of a batch that several ranks share, against that of one process.

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <pcxx/learning/kalman.h>
#include <pcxx/optim/rescaled.h>
#include <pcxx/parallel/shared_step.h>
#include <pcxx/parallel/slice.h>
#include <torch/optim/sgd.h>

#include "parallel/ranks.h"
#include "support/factors.h"
#include "support/networks.h"

namespace pcxx::parallel {
namespace {

using nn::Activation;
using test::random_batch;
using test::random_network;
using test::ranks;
using test::relative_difference;

// With outputs that are wider than the layer below, and not; with biases, residual layers, members.
std::vector<nn::NetworkOptions> networks() {
  return {nn::mlp({5, 6, 4}), nn::mlp({5, 6, 4}, Activation::kReLU).with_bias(),
          nn::mlp({9, 7, 5, 8}, Activation::kReLU, Activation::kSigmoid).with_bias(),
          nn::linear_residual(5, 3).ensemble(2),
          nn::mlp({5, 9, 4, 6}, Activation::kTanh, Activation::kSigmoid).with_bias().ensemble(3)};
}

struct Trained {
  nn::Network network;
  learning::KalmanPredictiveCoding rule;
  at::Tensor prediction;  // of the last batch
};

// After some batches of a size, each with all ranks' share, or one process's.
Trained trained(const nn::NetworkImpl& start, double rho, std::int64_t batch_size,
                Communicator& communicator) {
  Trained result{nn::Network(std::dynamic_pointer_cast<nn::NetworkImpl>(start.clone())),
                 learning::KalmanPredictiveCoding({.noise_fraction = rho}),
                 {}};
  auto& network = *result.network;
  optim::Rescaled optimizer(torch::optim::SGD(network.parameters(), 1.0),
                            std::make_unique<optim::Plain>());
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    const auto batch = random_batch(network, batch_size, seed);
    const auto step = shared_step(result.rule, network, batch, optimizer.rescaling(), communicator);
    optimizer.step(step);
    result.prediction = gather_rows(communicator, step.prediction, batch_size);
  }
  return result;
}

// Everything that training leaves.
std::vector<at::Tensor> outcome(const Trained& trained, const nn::NetworkImpl& start) {
  std::vector<at::Tensor> all;
  const auto before = start.parameters();
  const auto after = trained.network->parameters();
  for (std::size_t i = 0; i < after.size(); ++i) all.push_back((after[i] - before[i]).detach());
  for (const auto& q : trained.rule.covariances()) all.push_back(q);
  for (const auto& [name, value] : measurements(trained.rule.report())) all.push_back(value);
  all.push_back(trained.prediction);
  return all;
}

// Oracle: one process. Batches of one sample, thinner than the ranks, than the layers, and thicker.
TEST(SharedKalman, LearnsLikeOneProcess) {
  Alone alone;
  double worst = 0;
  for (const auto& options : networks()) {
    const auto start = random_network(options);
    for (const double rho : {0.0, 0.3}) {
      for (const std::int64_t batch_size : {1, 2, 3, 7, 11, 60}) {
        SCOPED_TRACE(c10::str(start, " rho ", rho, " B = ", batch_size));
        const auto expected = outcome(trained(*start, rho, batch_size, alone), *start);
        const auto found = outcome(trained(*start, rho, batch_size, ranks()), *start);
        ASSERT_EQ(found.size(), expected.size());
        for (std::size_t i = 0; i < found.size(); ++i) {
          const auto difference = relative_difference(found[i], expected[i]);
          EXPECT_LT(difference, 1e-12) << i;
          worst = std::max(worst, difference);
        }
      }
    }
  }
  if (ranks().is_root()) std::cout << "largest relative difference " << worst << "\n";
}

// Oracle: rank 0's weights, covariances and report, bit by bit.
TEST(SharedKalman, LeavesAllRanksTheSame) {
  for (const auto& options : networks()) {
    const auto start = random_network(options);
    for (const std::int64_t batch_size : {1, 3, 60}) {
      for (const auto& here : outcome(trained(*start, 0, batch_size, ranks()), *start)) {
        auto first = here.contiguous().clone();
        ranks().broadcast(first);
        EXPECT_TRUE(at::equal(first, here)) << start << " B = " << batch_size;
      }
    }
  }
}

// Oracle: the numbers of each message by hand, for 5-6-4 and ten samples: of each layer P, g, c, s
// and the rows of its gram, and six sums.
TEST(SharedKalman, SendsNoMoreThanItMust) {
  const std::int64_t n = ranks().size();
  const auto network = random_network(nn::mlp({5, 6, 4}));
  learning::KalmanPredictiveCoding rule;
  const auto before = ranks().bytes();
  shared_step(rule, *network, random_batch(*network, 10), optim::Plain(), ranks());
  const auto gathered = [&](std::int64_t numbers) { return (n - 1) * 8 * 10 * numbers / n; };
  const auto sum = [&](std::int64_t numbers) { return 2 * (n - 1) * 8 * numbers / n; };
  EXPECT_EQ(ranks().bytes() - before, sum(1) + sum(2) + sum(3) + gathered(5 + 6) +
                                          gathered(6 + 2 + 4 + 2) + gathered(10 + 10));
}

// Contract: a compressed batch has no samples.
TEST(SharedKalman, RefusesACompressedBatch) {
  const auto network = random_network(nn::mlp({5, 6, 4}));
  auto batch = random_batch(*network, 8);
  batch.samples = 20;
  learning::KalmanPredictiveCoding rule;
  EXPECT_THROW(shared_step(rule, *network, batch, optim::Plain(), ranks()), c10::Error);
}

}  // namespace
}  // namespace pcxx::parallel
