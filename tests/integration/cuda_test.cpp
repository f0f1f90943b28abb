// The same numbers on a GPU as on the CPU. Skipped on machines without one.

#include <gtest/gtest.h>
#include <pcxx/inference/state_descent.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/learning/predictive_coding.h>
#include <pcxx/metrics/predicted_alignment.h>
#include <pcxx/metrics/reconstruction.h>
#include <pcxx/metrics/target_alignment.h>
#include <pcxx/nn/init.h>
#include <pcxx/optim/factory.h>
#include <pcxx/optim/member_sgd.h>
#include <pcxx/optim/rescaled.h>
#include <torch/cuda.h>

#include "support/networks.h"

namespace pcxx {
namespace {

using test::random_batch;
using test::random_network;
using test::relative_difference;

class Device_CUDA : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!torch::cuda::is_available()) GTEST_SKIP() << "this machine has no CUDA device";
  }
  const at::Device device_{at::kCUDA};
};

std::vector<nn::NetworkOptions> networks() {
  const auto autoencoder =
      nn::mlp({20, 12, 5, 20}, nn::Activation::kReLU, nn::Activation::kSigmoid);
  return {nn::mlp({20, 20, 20}), nn::linear_residual(12, 3), autoencoder, autoencoder.with_bias(),
          autoencoder.ensemble(3)};
}

std::vector<optim::RescalingOptions> rescalings() {
  return {{.name = "none"},
          {.name = "alpha"},
          {.name = "decorrelation", .regularisation = 1e-3},
          {.name = "projection", .regularisation = 1e-3},
          {.name = "projection"},
          {.name = "recursive_projection"}};
}

// Weights after three updates, on the CPU.
std::vector<at::Tensor> train(const nn::NetworkOptions& options, const learning::LearningRule& rule,
                              const optim::RescalingOptions& rescaling, at::Device device) {
  auto network = random_network(options);
  network->to(device);
  optim::Rescaled optimizer(optim::make_optimizer("adam", network->parameters(), 1e-2),
                            optim::make_rescaling(rescaling));
  for (std::uint64_t t = 0; t < 3; ++t) {
    optimizer.step(rule.factors(*network, random_batch(*network, 6, t)).layers);
  }
  std::vector<at::Tensor> result;
  for (const auto& parameter : network->parameters()) result.push_back(parameter.detach().cpu());
  return result;
}

// Oracle: the CPU.
TEST_F(Device_CUDA, TrainsToTheSameWeights) {
  const learning::Backpropagation bp;
  const learning::PredictiveCoding pc;
  const learning::PredictiveCoding by_states(std::make_shared<inference::StateDescent>(
      inference::DescentOptions{.max_steps = 100, .step_size = 0.05}));
  for (const auto& options : networks()) {
    for (const auto& rescaling : rescalings()) {
      for (const auto* rule :
           std::initializer_list<const learning::LearningRule*>{&bp, &pc, &by_states}) {
        SCOPED_TRACE(c10::str(rescaling.name, ", ", rule->name()));
        const auto there = train(options, *rule, rescaling, device_);
        const auto here = train(options, *rule, rescaling, at::kCPU);
        for (std::size_t i = 0; i < here.size(); ++i) {
          EXPECT_LT(relative_difference(there[i], here[i]), 1e-6);
        }
      }
    }
  }
}

// Oracle: the CPU, for measured and predicted alignment and the reconstruction error.
TEST_F(Device_CUDA, MeasuresTheSame) {
  const auto here = random_network(nn::mlp({9, 8, 7}).ensemble(2));
  auto there = random_network(nn::mlp({9, 8, 7}).ensemble(2));
  there->to(device_);
  const auto measure = [](const nn::NetworkImpl& network) {
    const auto batch = random_batch(network, 5);
    const auto step = learning::PredictiveCoding().factors(network, batch);
    const auto update = metrics::make_update(optim::Plain().directions(step.layers));
    return at::stack(
               {metrics::target_alignment(network, batch, update).mean,
                metrics::predict_alignment(network, batch).alignment.mean,
                metrics::mean_squared_error(network, batch.input[0].to(step.prediction.device()),
                                            batch.target[0].to(step.prediction.device()))})
        .cpu();
  };
  EXPECT_LT(relative_difference(measure(*there), measure(*here)), 1e-10);
}

// Invariant: weights are drawn on the CPU, so a seed gives the same network on every device.
TEST_F(Device_CUDA, DrawsTheSameWeights) {
  nn::Network here(nn::mlp({9, 8, 7}));
  nn::Network there(nn::mlp({9, 8, 7}));
  there->to(device_);
  nn::init::kaiming_(*here, make_generator(1, Purpose::kWeights));
  nn::init::kaiming_(*there, make_generator(1, Purpose::kWeights));
  EXPECT_TRUE(at::equal(here->layer(1).weight, there->layer(1).weight.cpu()));
}

// Oracle: the CPU. One rate per member.
TEST_F(Device_CUDA, MembersHaveTheirOwnRates) {
  auto network = random_network(nn::mlp({4, 3}).ensemble(2));
  network->to(device_);
  const auto before = network->layer(1).weight.detach().cpu();
  optim::MemberSGD sgd(network->parameters(), at::tensor({0.0, 0.5}, at::kDouble));
  network->layer(1).weight.mutable_grad() = at::ones_like(network->layer(1).weight);
  sgd.step();
  const auto moved = network->layer(1).weight.detach().cpu() - before;
  EXPECT_EQ(moved[0].abs().max().item<double>(), 0);
  EXPECT_LT((moved[1] + 0.5).abs().max().item<double>(), 1e-14);
}

}  // namespace
}  // namespace pcxx
