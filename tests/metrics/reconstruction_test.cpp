#include <gtest/gtest.h>
#include <pcxx/metrics/reconstruction.h>

#include "support/networks.h"

namespace pcxx::metrics {
namespace {

using nn::Activation;
using test::random_network;
using test::relative_difference;

at::Tensor random(at::IntArrayRef sizes, std::uint64_t seed) {
  auto generator = make_generator(seed, Purpose::kInputs);
  return at::empty(sizes, at::kDouble).uniform_(0, 1, generator);
}

nn::NetworkOptions autoencoder() {
  return nn::mlp({6, 3, 6}, Activation::kReLU, Activation::kSigmoid);
}

// Oracle: the mean over all entries at once.
TEST(MeanSquaredError, IsTheMeanOverSamplesAndOutputs) {
  for (const auto& options : {nn::mlp({5, 4, 3}, Activation::kTanh), nn::mlp({5, 3}).with_bias(),
                              nn::mlp({5, 4, 3}, Activation::kTanh).ensemble(2)}) {
    const auto network = random_network(options);
    const auto x = random({7, 5}, 1);
    const auto y = random({7, 3}, 2);
    const auto expected = (network->forward(x) - y).square().mean({-2, -1});
    const auto error = mean_squared_error(*network, x, y);
    ASSERT_EQ(error.sizes(), expected.sizes());
    EXPECT_FALSE(error.requires_grad());
    EXPECT_LT(relative_difference(error, expected), 1e-14);
  }
}

// Oracle: the same, where the output layer adds its input.
TEST(MeanSquaredError, CountsWhatAResidualLayerAdds) {
  for (const auto& options : {nn::linear_residual(4, 2), nn::linear_residual(4, 1).ensemble(2)}) {
    const auto network = random_network(options);
    const auto x = random({7, 4}, 1);
    const auto y = random({7, 4}, 2);
    const auto expected = (network->forward(x) - y).square().mean({-2, -1});
    EXPECT_LT(relative_difference(mean_squared_error(*network, x, y), expected), 1e-14);
  }
}

// Invariant: the size of the chunks, whether it divides the samples or exceeds them.
TEST(MeanSquaredError, DoesNotDependOnTheChunk) {
  for (const auto& options : {autoencoder(), autoencoder().ensemble(2)}) {
    const auto network = random_network(options);
    const auto x = random({10, 6}, 1);
    const auto y = random({10, 6}, 2);
    const auto expected = mean_squared_error(*network, x, y);
    for (const std::int64_t chunk : {1, 2, 3, 7, 10, 11}) {
      EXPECT_LT(relative_difference(mean_squared_error(*network, x, y, chunk), expected), 1e-14);
    }
  }
}

// Oracle: the images divided by 255 beforehand, in each of the roles that bytes can have; the bytes
// stay as they were.
TEST(MeanSquaredError, ScalesBytes) {
  const auto network = random_network(autoencoder());
  const auto bytes = (random({9, 6}, 3) * 256).floor().to(at::kByte);
  const auto before = bytes.clone();
  const auto values = bytes.to(at::kDouble) / 255;
  const auto y = random({9, 6}, 4);
  const auto near = [](const at::Tensor& a, const at::Tensor& b) {
    EXPECT_LT(relative_difference(a, b), 1e-14);
  };
  near(mean_squared_error(*network, bytes, y, 4), mean_squared_error(*network, values, y));
  near(mean_squared_error(*network, y, bytes, 4), mean_squared_error(*network, y, values));
  near(reconstruction_error(*network, bytes, 4), reconstruction_error(*network, values));
  EXPECT_TRUE(at::equal(bytes, before));
}

// Oracle: the images as their own targets.
TEST(ReconstructionError, HasTheImagesAsTargets) {
  const auto network = random_network(autoencoder());
  const auto images = random({9, 6}, 5);
  const auto expected = (network->forward(images) - images).square().mean();
  EXPECT_LT(relative_difference(reconstruction_error(*network, images), expected), 1e-14);
}

TEST(ReconstructionError, OfTheIdentityIsZero) {
  const auto network = random_network(nn::linear_residual(4, 2));
  const auto images = random({5, 4}, 6);
  EXPECT_GT(reconstruction_error(*network, images).item<double>(), 1e-3);
  const at::NoGradGuard no_grad;
  for (auto& parameter : network->parameters()) parameter.zero_();
  EXPECT_EQ(reconstruction_error(*network, images).item<double>(), 0);
}

// Oracle: sums in float64 of what a float32 network gives, for data of any precision: a float32 sum
// of so many terms would be wrong in the sixth digit.
TEST(MeanSquaredError, IsSummedInFloat64) {
  auto network = random_network(nn::mlp({40, 30, 40}, Activation::kTanh));
  network->to(at::kFloat);
  const auto x = random({3000, 40}, 7);
  const auto y = random({3000, 40}, 8);
  const at::NoGradGuard no_grad;
  const auto expected =
      (network->forward(x.to(at::kFloat)) - y.to(at::kFloat)).square().to(at::kDouble).mean();
  for (const auto type : {at::kFloat, at::kDouble}) {
    const auto error = mean_squared_error(*network, x.to(type), y.to(type), 5000);
    EXPECT_EQ(error.scalar_type(), at::kDouble);
    EXPECT_LT(relative_difference(error, expected), 1e-12);
  }
}

TEST(MeanSquaredError, RefusesWhatDoesNotFit) {
  const auto network = random_network(nn::mlp({5, 4, 3}));
  const auto x = random({7, 5}, 1);
  const auto y = random({7, 3}, 2);
  EXPECT_THROW(mean_squared_error(*network, y, y), c10::Error);
  EXPECT_THROW(mean_squared_error(*network, x, x), c10::Error);
  EXPECT_THROW(mean_squared_error(*network, x, random({6, 3}, 2)), c10::Error);
  EXPECT_THROW(mean_squared_error(*network, x.unsqueeze(0), y), c10::Error);
  EXPECT_THROW(mean_squared_error(*network, x, y.unsqueeze(0)), c10::Error);
  EXPECT_THROW(mean_squared_error(*network, x.slice(0, 0, 0), y.slice(0, 0, 0)), c10::Error);
  EXPECT_THROW(mean_squared_error(*network, x, y, 0), c10::Error);
  EXPECT_THROW(mean_squared_error(*network, x, y, -5), c10::Error);
  EXPECT_THROW(reconstruction_error(*network, x), c10::Error);
}

}  // namespace
}  // namespace pcxx::metrics
