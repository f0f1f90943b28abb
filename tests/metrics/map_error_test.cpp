#include <gtest/gtest.h>
#include <pcxx/metrics/map_error.h>

#include <cmath>
#include <limits>

#include "support/networks.h"

namespace pcxx::metrics {
namespace {

using test::random_network;
using test::relative_difference;

at::Tensor random(at::IntArrayRef sizes, std::uint64_t seed) {
  auto generator = make_generator(seed, Purpose::kTeacher);
  return at::empty(sizes, at::kDouble).normal_(0, 1, generator);
}

nn::NetworkOptions residual_at_both_ends() {
  auto options = nn::mlp({4, 4, 3, 3});
  options.layers()[0].residual(true);
  options.layers()[2].residual(true);
  return options;
}

std::vector<nn::NetworkOptions> networks() {
  return {nn::mlp({4, 3}),
          nn::mlp({4, 6, 2, 3}),
          nn::mlp({4, 6, 2, 3}).with_bias(),
          nn::linear_residual(3, 4),
          residual_at_both_ends(),
          nn::mlp({4, 6, 2, 3}).ensemble(3),
          residual_at_both_ends().ensemble(2)};
}

// What the network does to the unit vectors, as columns: its map where biases are out of it.
at::Tensor map_of(const nn::NetworkImpl& network) {
  const at::NoGradGuard no_grad;
  const auto unit = at::eye(network.in_features(), at::kDouble);
  return (network.forward(unit) - network.forward(at::zeros_like(unit))).mT();
}

// Oracle: the forward pass of the unit vectors.
TEST(EffectiveMap, IsWhatTheNetworkDoes) {
  for (const auto& options : networks()) {
    const auto network = random_network(options);
    SCOPED_TRACE(c10::str(network));
    const auto map = effective_map(*network);
    ASSERT_EQ(map.sizes(), map_of(*network).sizes());
    EXPECT_LT(relative_difference(map, map_of(*network)), 1e-13);
    EXPECT_FALSE(map.requires_grad());
  }
}

// Oracle: the explicit product of matrices.
TEST(EffectiveMap, IsTheProductOfTheLayersMatrices) {
  const at::NoGradGuard no_grad;
  const auto network = random_network(residual_at_both_ends());
  const auto w = [&](std::size_t l) { return network->dense(l).weight; };
  const auto i3 = at::eye(3, at::kDouble);
  const auto i4 = at::eye(4, at::kDouble);
  const auto expected = at::matmul(i3 + w(3), at::matmul(w(2), i4 + w(1)));
  EXPECT_LT(relative_difference(effective_map(*network), expected), 1e-14);
}

// Invariant: the result shares no memory with the network.
TEST(EffectiveMap, LeavesTheNetworkAlone) {
  for (const auto& options : {nn::mlp({3, 3}), nn::linear_residual(3, 1), nn::mlp({3, 3, 3})}) {
    const auto network = random_network(options);
    const auto before = network->dense(1).weight.detach().clone();
    effective_map(*network).fill_(7);
    map_error(*network, random({3, 3}, 1));
    EXPECT_TRUE(at::equal(network->dense(1).weight, before));
  }
}

// Oracle: the mean and the sum of squares over entries, with loops, for a shared teacher and one
// per member.
TEST(MapError, IsTheMeanOverEntries) {
  for (const auto& options : networks()) {
    const auto network = random_network(options);
    SCOPED_TRACE(c10::str(network));
    const auto map = map_of(*network);
    for (const bool shared : {true, false}) {
      const auto teacher = random(shared ? map.sizes().slice(map.dim() - 2) : map.sizes(), 2);
      const auto error = map_error(*network, teacher);
      const auto frobenius = map_error_squared_frobenius(*network, teacher);
      ASSERT_EQ(error.dim(), map.dim() - 2);
      const auto maps = map.reshape({-1, map.size(-2), map.size(-1)});
      for (std::int64_t r = 0; r < maps.size(0); ++r) {
        const auto target = teacher.dim() == 3 ? teacher[r] : teacher;
        double sum = 0;
        for (std::int64_t i = 0; i < maps.size(1); ++i) {
          for (std::int64_t j = 0; j < maps.size(2); ++j) {
            sum += std::pow((target[i][j] - maps[r][i][j]).item<double>(), 2);
          }
        }
        const auto entries = static_cast<double>(maps.size(1) * maps.size(2));
        EXPECT_NEAR(error.reshape({-1})[r].item<double>(), sum / entries, 1e-13 * sum);
        EXPECT_NEAR(frobenius.reshape({-1})[r].item<double>(), sum, 1e-13 * sum);
      }
    }
  }
}

TEST(MapError, OfTheNetworksOwnMapIsZero) {
  const auto network = random_network(nn::mlp({4, 6, 2, 3}).ensemble(3));
  const auto teacher = effective_map(*network);
  EXPECT_EQ(map_error(*network, teacher).max().item<double>(), 0);
  EXPECT_GT(map_error(*network, teacher.flip(0))[0].item<double>(), 1e-3);
}

// Oracle: the same numbers summed in float64.
TEST(MapError, IsSummedInFloat64) {
  auto network = random_network(nn::mlp({300, 300}));
  network->to(at::kFloat);
  const auto teacher = random({300, 300}, 3);
  const auto squares = (network->dense(1).weight.detach() - teacher.to(at::kFloat)).square();
  const auto error = map_error(*network, teacher);
  EXPECT_EQ(error.scalar_type(), at::kDouble);
  EXPECT_NEAR(error.item<double>(), squares.to(at::kDouble).mean().item<double>(), 1e-12);
}

// Oracle: Eckart-Young. The truncated singular value decomposition of the teacher, multiplied out,
// is as far from it as the least error says.
TEST(LeastMapError, IsThatOfTheTruncatedDecomposition) {
  for (const auto& shape : {std::vector<std::int64_t>{5, 5}, {3, 6}, {6, 3}, {2, 4, 5}}) {
    const auto teacher = random(shape, 4);
    const auto [u, s, v] = at::linalg_svd(teacher, false);
    for (std::int64_t k = 0; k <= s.size(-1); ++k) {
      const auto truncated =
          at::matmul(u.slice(-1, 0, k) * s.slice(-1, 0, k).unsqueeze(-2), v.slice(-2, 0, k));
      const auto expected = (teacher - truncated).square().mean({-2, -1});
      const auto least = least_map_error(teacher, k);
      ASSERT_EQ(least.sizes(), expected.sizes());
      EXPECT_LT((least - expected).abs().max().item<double>(), 1e-14);
    }
  }
}

// Oracle: a map of known singular values, 3, 2, 1 and 0.
TEST(LeastMapError, OfKnownSingularValues) {
  const auto teacher = at::diag(torch::tensor({2.0, 0.0, 3.0, 1.0}, at::kDouble));
  const std::vector<double> expected{14, 5, 1, 0, 0, 0};
  for (std::int64_t k = 0; k < 6; ++k) {
    EXPECT_NEAR(least_map_error(teacher, k).item<double>(),
                expected[static_cast<std::size_t>(k)] / 16, 1e-15);
  }
}

// Invariant: no map of that rank is nearer, however drawn: here steps from the best one.
TEST(LeastMapError, IsNotBeatenByOthersOfThatRank) {
  const auto teacher = random({5, 4}, 5);
  const auto [u, s, v] = at::linalg_svd(teacher, false);
  const auto left = u.slice(-1, 0, 2) * s.slice(-1, 0, 2);
  const auto right = v.slice(-2, 0, 2);
  const auto least = least_map_error(teacher, 2).item<double>();
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto other = at::matmul(left + 0.05 * random({5, 2}, 2 * seed + 10),
                                  right + 0.05 * random({2, 4}, 2 * seed + 11));
    EXPECT_GT((teacher - other).square().mean().item<double>(), least);
  }
}

// Oracle: the promise itself. One teacher that is not finite does not end the others.
TEST(LeastMapError, IsNaNForATeacherThatIsNotFinite) {
  auto teacher = random({3, 4, 5}, 6);
  const auto clean = least_map_error(teacher, 2);
  teacher[0][1][2].fill_(std::numeric_limits<double>::quiet_NaN());
  teacher[2][0][0].fill_(std::numeric_limits<double>::infinity());
  const auto least = least_map_error(teacher, 2);
  EXPECT_TRUE(least[0].isnan().item<bool>());
  EXPECT_EQ(least[1].item<double>(), clean[1].item<double>());
  EXPECT_TRUE(least[2].isnan().item<bool>());
}

TEST(NarrowestWidth, CountsEveryLayer) {
  EXPECT_EQ(narrowest_width(*random_network(nn::mlp({2, 5, 4}))), 2);
  EXPECT_EQ(narrowest_width(*random_network(nn::mlp({6, 5, 3, 9, 4}))), 3);
  EXPECT_EQ(narrowest_width(*random_network(nn::mlp({6, 5, 4}).ensemble(2))), 4);
}

// Oracle: the optimum. A network whose product is the truncated teacher has no excess; one moved
// away has what it was moved by.
TEST(ExcessMapError, IsZeroAtTheOptimum) {
  const at::NoGradGuard no_grad;
  const auto teacher = random({6, 5}, 7);
  const auto [u, s, v] = at::linalg_svd(teacher, false);
  const auto network = random_network(nn::mlp({5, 2, 6}));
  network->dense(1).weight.copy_(v.slice(0, 0, 2));
  network->dense(2).weight.copy_(u.slice(-1, 0, 2) * s.slice(0, 0, 2));
  EXPECT_NEAR(excess_map_error(*network, teacher).item<double>(), 0, 1e-15);
  EXPECT_GT(map_error(*network, teacher).item<double>(), 1e-2);

  network->dense(2).weight.mul_(1.5);  // the error moves by half the kept singular values
  const double moved = 0.25 * s.slice(0, 0, 2).square().sum().item<double>() / 30;
  EXPECT_NEAR(excess_map_error(*network, teacher).item<double>(), moved, 1e-14);
}

// Invariant: excess = error - least, per member, and where nothing is narrow it is the error.
TEST(ExcessMapError, IsTheErrorAboveTheLeast) {
  const auto network = random_network(nn::mlp({5, 2, 6}).ensemble(3));
  for (const auto& teacher : {random({6, 5}, 8), random({3, 6, 5}, 9)}) {
    const auto excess = excess_map_error(*network, teacher);
    ASSERT_EQ(excess.sizes(), at::IntArrayRef({3}));
    const auto expected = map_error(*network, teacher) - least_map_error(teacher, 2);
    EXPECT_LT(relative_difference(excess, expected), 1e-14);
    EXPECT_GE(excess.min().item<double>(), 0);
  }
  const auto wide = random_network(nn::mlp({5, 7, 6}));
  const auto teacher = random({6, 5}, 8);
  EXPECT_EQ(excess_map_error(*wide, teacher).item<double>(),
            map_error(*wide, teacher).item<double>());
}

TEST(MapError, RefusesWhatDoesNotFit) {
  const auto linear = random_network(nn::mlp({4, 6, 3}));
  const auto ensemble = random_network(nn::mlp({4, 6, 3}).ensemble(2));
  const auto curved = random_network(nn::mlp({4, 6, 3}, nn::Activation::kReLU));
  const auto refused = [](const nn::Network& network, const at::Tensor& teacher) {
    EXPECT_THROW(map_error(*network, teacher), c10::Error);
    EXPECT_THROW(map_error_squared_frobenius(*network, teacher), c10::Error);
    EXPECT_THROW(excess_map_error(*network, teacher), c10::Error);
  };
  EXPECT_THROW(effective_map(*curved), c10::Error);
  refused(curved, random({3, 4}, 1));
  refused(linear, random({4, 3}, 1));
  refused(linear, random({1, 4}, 1));
  refused(linear, random({2, 3, 4}, 1));
  refused(linear, random({12}, 1));
  refused(ensemble, random({3, 3, 4}, 1));
  EXPECT_THROW(least_map_error(random({4}, 1), 1), c10::Error);
  EXPECT_THROW(least_map_error(random({3, 4}, 1), -1), c10::Error);
}

}  // namespace
}  // namespace pcxx::metrics
