#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <pcxx/core/random.h>
#include <pcxx/data/image_dataset.h>
#include <pcxx/data/minibatches.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/learning/predictive_coding.h>
#include <pcxx/metrics/reconstruction.h>
#include <pcxx/nn/init.h>
#include <pcxx/optim/projection.h>
#include <pcxx/optim/rescaled.h>
#include <torch/optim/sgd.h>

#include <algorithm>
#include <cstdlib>

namespace pcxx {
namespace {

struct Model {
  std::shared_ptr<learning::LearningRule> rule;
  bool projected;
  std::vector<double> rates;
};

// Test error of the 784-128-32-128-784 autoencoder after 200 batches of 64.
double trained_error(const Model& model, double rate, std::uint64_t seed, const data::Images& train,
                     const at::Tensor& test) {
  nn::Network network(
      nn::mlp({784, 128, 32, 128, 784}, nn::Activation::kReLU, nn::Activation::kSigmoid));
  nn::init::lecun_(*network, make_generator(seed, Purpose::kWeights));
  std::unique_ptr<optim::Rescaling> rescaling = std::make_unique<optim::Plain>();
  if (model.projected) {
    rescaling = std::make_unique<optim::Projection>(optim::ProjectionOptions{1e-2});
  }
  optim::Rescaled optimizer(
      std::make_unique<torch::optim::SGD>(network->parameters(), torch::optim::SGDOptions(rate)),
      std::move(rescaling));
  data::Minibatches minibatches(train.size(), seed);
  for (int step = 0; step < 200; ++step) {
    const auto batch = data::autoencoding_batch(train, minibatches.next(64), at::kFloat);
    optimizer.step(model.rule->factors(*network, batch).layers);
  }
  return metrics::reconstruction_error(*network, test).item<double>();
}

// Mean over three seeds at the best rate.
double best_error(const Model& model, const data::Images& train, const at::Tensor& test) {
  double best = 1e300;
  for (const double rate : model.rates) {
    double sum = 0;
    for (const std::uint64_t seed : {0, 1, 2}) sum += trained_error(model, rate, seed, train, test);
    if (std::isfinite(sum)) best = std::min(best, sum / 3);
  }
  return best;
}

// Claim of the paper's figure 4D, and of the projection beyond it, on MNIST itself.
TEST(Autoencoder, PredictiveCodingIsAheadOfBackpropagationAndProjectionAheadOfBoth) {
  if (std::getenv("PCXX_DATA_DIR") == nullptr) GTEST_SKIP() << "PCXX_DATA_DIR names no data folder";
  const auto train = data::load_images("mnist", data::Split::kTrain);
  const auto test = data::load_images("mnist", data::Split::kTest).values(at::kFloat);
  const auto bp = std::make_shared<learning::Backpropagation>();
  const auto pc = std::make_shared<learning::PredictiveCoding>();
  const double by_bp = best_error({bp, false, {0.01, 0.03, 0.1}}, train, test);
  const double by_pc = best_error({pc, false, {0.1, 0.2, 0.5}}, train, test);
  const double by_projection = best_error({pc, true, {1, 2}}, train, test);
  RecordProperty("bp", std::to_string(by_bp));
  RecordProperty("pc", std::to_string(by_pc));
  RecordProperty("projection", std::to_string(by_projection));
  EXPECT_LT(by_pc, by_bp);
  EXPECT_LT(by_projection, by_pc);
}

}  // namespace
}  // namespace pcxx
