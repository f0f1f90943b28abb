#include <gtest/gtest.h>
#include <pcxx/core/random.h>
#include <pcxx/nn/init.h>

#include <array>
#include <cmath>

#include "support/networks.h"

namespace pcxx::nn::init {
namespace {

struct Scheme {
  std::string_view name;
  decltype(&kaiming) weight;
  decltype(&kaiming_) network;
};

constexpr std::array kSchemes{
    Scheme{"kaiming", kaiming, kaiming_},
    Scheme{"norm_preserving", norm_preserving, norm_preserving_},
    Scheme{"lecun", lecun, lecun_},
    Scheme{"normal", normal, normal_},
    Scheme{"orthogonal", orthogonal, orthogonal_},
    Scheme{"unit_orthogonal", unit_orthogonal, unit_orthogonal_},
};

at::Generator weights_of_seed(std::uint64_t seed) {
  return make_generator(seed, Purpose::kWeights);
}

Network drawn(const NetworkOptions& options, const DrawWeight& weight, std::uint64_t seed = 1,
              at::ScalarType dtype = at::kDouble) {
  Network network(options);
  network->to(dtype);
  draw_(*network, weight, weights_of_seed(seed));
  return network;
}

at::Tensor drawn_weight(std::int64_t out, std::int64_t in, const DrawWeight& weight,
                        std::uint64_t seed = 1) {
  return drawn(mlp({in, out}), weight, seed)->dense(1).weight.detach();
}

struct Moments {
  double mean, second, fourth;
};

Moments moments(const at::Tensor& w) {
  return {w.mean().item<double>(), w.square().mean().item<double>(),
          w.pow(4).mean().item<double>()};
}

// Moments of N independent numbers of the given variance: each mean of x^k lies within 5 standard
// errors sqrt(Var(x^k) / N) of its expectation (probability of a false alarm 6e-7 each). For
// U(-a, a), v = a^2/3: E x^4 = 9/5 v^2 and Var(x^2) = 4/5 v^2, Var(x^4) = a^8 (1/9 - 1/25).
// For N(0, v): E x^4 = 3 v^2, Var(x^2) = 2 v^2, Var(x^4) = 96 v^4. The fourth moment tells the two
// apart.
void expect_uniform(const at::Tensor& w, double variance) {
  const double error = 5 / std::sqrt(static_cast<double>(w.numel()));
  const auto found = moments(w);
  EXPECT_NEAR(found.mean, 0, error * std::sqrt(variance));
  EXPECT_NEAR(found.second / variance, 1, error * std::sqrt(0.8));
  EXPECT_NEAR(found.fourth / (variance * variance), 1.8, error * 9 * std::sqrt(1.0 / 9 - 1.0 / 25));
}

void expect_normal(const at::Tensor& w, double variance) {
  const double error = 5 / std::sqrt(static_cast<double>(w.numel()));
  const auto found = moments(w);
  EXPECT_NEAR(found.mean, 0, error * std::sqrt(variance));
  EXPECT_NEAR(found.second / variance, 1, error * std::sqrt(2.0));
  EXPECT_NEAR(found.fourth / (variance * variance), 3, error * std::sqrt(96.0));
}

// Oracle: moments and range of U(-1/sqrt(n_in), 1/sqrt(n_in)). Of N = 120,000 numbers the largest
// comes within 20/N of the end, relative to it, with probability 1 - exp(-20).
TEST(Init, KaimingIsUniform) {
  const auto w = drawn_weight(400, 300, kaiming);
  expect_uniform(w, 1.0 / (3 * 300));
  const double end = 1 / std::sqrt(300.0);
  EXPECT_LE(w.abs().max().item<double>(), end);
  EXPECT_GT(w.max().item<double>(), end * (1 - 2 * 20.0 / 120'000));
  EXPECT_LT(w.min().item<double>(), -end * (1 - 2 * 20.0 / 120'000));
}

// Oracle: moments of N(0, 1/n_out).
TEST(Init, NormPreservingIsNormalByOutputs) {
  expect_normal(drawn_weight(400, 300, norm_preserving), 1.0 / 400);
}

// Oracle: moments of N(0, 1/n_in).
TEST(Init, LecunIsNormalByInputs) {
  expect_normal(drawn_weight(400, 300, lecun), 1.0 / 300);
}

// Oracle: moments of N(0, 1).
TEST(Init, NormalIsStandardNormal) {
  expect_normal(drawn_weight(400, 300, normal), 1);
}

// Oracle: statistics. ||W x||^2 / ||x||^2 with entries N(0, 1/n_out) is chi^2(n_out) / n_out: mean
// 1, variance 2 / n_out; the mean over 200 inputs of one matrix varies less.
TEST(Init, NormPreservingKeepsNorms) {
  const auto w = drawn_weight(500, 300, norm_preserving);
  const auto x = at::empty({300, 200}, at::kDouble).normal_(0, 1, weights_of_seed(2));
  const auto ratios = at::matmul(w, x).square().sum(0) / x.square().sum(0);
  EXPECT_NEAR(ratios.mean().item<double>(), 1, 5 * std::sqrt(2.0 / 500));
}

// Oracle: the Kaiming draw of the same stream. Its Frobenius norm is kept, and the matrix is its
// polar factor: W W^T is a multiple of the identity, and K W^T (or W^T K) symmetric positive
// definite.
TEST(Init, OrthogonalIsKaimingWithEqualSingularValues) {
  for (const auto& [out, in] :
       {std::pair<std::int64_t, std::int64_t>{60, 60}, {40, 70}, {70, 40}}) {
    const auto w = drawn_weight(out, in, orthogonal);
    const auto plain = drawn_weight(out, in, kaiming);
    EXPECT_NEAR(w.norm().item<double>() / plain.norm().item<double>(), 1, 1e-12);
    const auto sigma = at::linalg_svdvals(w);
    EXPECT_NEAR(sigma[0].item<double>() / sigma[-1].item<double>(), 1, 1e-12);
    const auto symmetric = out <= in ? at::matmul(plain, w.t()) : at::matmul(w.t(), plain);
    EXPECT_LT(test::relative_difference(symmetric, symmetric.t()), 1e-12);
    EXPECT_GT(at::linalg_eigvalsh(symmetric).min().item<double>(), 0);
  }
}

// Oracle: sigma^2 = ||K||_F^2 / n has mean 1/3 and a relative standard error sqrt(0.8) / n for a
// square layer of n^2 independent numbers; sigma's is half of it.
TEST(Init, OrthogonalSquareLayersHaveSingularValuesOneOverSqrtThree) {
  const auto sigma = at::linalg_svdvals(drawn_weight(200, 200, orthogonal));
  EXPECT_NEAR(sigma.mean().item<double>() * std::sqrt(3.0), 1, 5 * 0.5 * std::sqrt(0.8) / 200);
}

// Oracle: W W^T = I, or W^T W = I for tall matrices.
TEST(Init, UnitOrthogonalIsOrthogonal) {
  for (const auto& [out, in] :
       {std::pair<std::int64_t, std::int64_t>{50, 50}, {30, 80}, {80, 30}}) {
    const auto w = drawn_weight(out, in, unit_orthogonal);
    const auto product = out <= in ? at::matmul(w, w.t()) : at::matmul(w.t(), w);
    const auto identity = at::eye(std::min(out, in), at::kDouble);
    EXPECT_LT((product - identity).abs().max().item<double>(), 1e-13);
  }
}

// Oracle: statistics of the uniform distribution on orthogonal matrices: entries have mean 0 and
// variance 1/n, nearly independent.
TEST(Init, UnitOrthogonalPrefersNoDirection) {
  const auto w = drawn_weight(200, 200, unit_orthogonal);
  EXPECT_NEAR(w.mean().item<double>(), 0, 5 * std::sqrt(1.0 / 200) / 200);
  EXPECT_NEAR(w.diagonal().mean().item<double>(), 0, 5 / 200.0);
}

// Oracle: the float64 draw, cast.
TEST(Init, DrawsDoNotDependOnTheDtype) {
  const auto options = mlp({7, 9, 5}).ensemble(2);
  for (const auto& scheme : kSchemes) {
    SCOPED_TRACE(scheme.name);
    const auto exact = drawn(options, scheme.weight);
    const auto cast = drawn(options, scheme.weight, 1, at::kFloat);
    for (std::size_t l = 1; l <= exact->size(); ++l) {
      EXPECT_EQ(cast->dense(l).weight.scalar_type(), at::kFloat);
      EXPECT_TRUE(at::equal(cast->dense(l).weight, exact->dense(l).weight.to(at::kFloat)));
      EXPECT_TRUE(cast->dense(l).weight.requires_grad());
    }
  }
}

// Oracle: draw_ with the function of a weight.
TEST(Init, EveryWeightHasANetwork) {
  for (const auto& scheme : kSchemes) {
    SCOPED_TRACE(scheme.name);
    const auto expected = drawn(mlp({7, 9, 5}), scheme.weight);
    Network network(mlp({7, 9, 5}));
    network->to(at::kDouble);
    scheme.network(*network, weights_of_seed(1));
    for (std::size_t l = 1; l <= network->size(); ++l) {
      EXPECT_TRUE(at::equal(network->dense(l).weight, expected->dense(l).weight));
    }
  }
}

// Oracle: contract. A stream repeats itself, and the next network of a stream is another.
TEST(Init, IsAFunctionOfTheGenerator) {
  for (const auto& scheme : kSchemes) {
    SCOPED_TRACE(scheme.name);
    const auto first = drawn_weight(6, 8, scheme.weight);
    EXPECT_TRUE(at::equal(drawn_weight(6, 8, scheme.weight), first));
    EXPECT_FALSE(at::equal(drawn_weight(6, 8, scheme.weight, 2), first));
    auto generator = weights_of_seed(1);
    Network network(mlp({8, 6}));
    network->to(at::kDouble);
    draw_(*network, scheme.weight, generator);
    EXPECT_TRUE(at::equal(network->dense(1).weight, first));
    draw_(*network, scheme.weight, generator);
    EXPECT_FALSE(at::equal(network->dense(1).weight, first));
  }
}

// Oracle: single networks drawn one after the other from one stream.
TEST(Init, MembersAreDrawnOneAfterTheOther) {
  for (const auto& scheme : kSchemes) {
    SCOPED_TRACE(scheme.name);
    const auto ensemble = drawn(mlp({7, 9, 5}).ensemble(3), scheme.weight);
    auto generator = weights_of_seed(1);
    for (std::int64_t r = 0; r < 3; ++r) {
      Network single(mlp({7, 9, 5}));
      single->to(at::kDouble);
      draw_(*single, scheme.weight, generator);
      for (std::size_t l = 1; l <= single->size(); ++l) {
        EXPECT_TRUE(at::equal(ensemble->dense(l).weight[r], single->dense(l).weight));
      }
    }
  }
}

// Oracle: a single network of the same stream; the other members stay.
TEST(Init, AMemberIsDrawnAsTheNetworkAlone) {
  for (const auto& scheme : kSchemes) {
    SCOPED_TRACE(scheme.name);
    const auto before = drawn(mlp({7, 9, 5}).ensemble(3), scheme.weight);
    auto ensemble = drawn(mlp({7, 9, 5}).ensemble(3), scheme.weight);
    draw_member_(*ensemble, 1, scheme.weight, weights_of_seed(8));
    const auto single = drawn(mlp({7, 9, 5}), scheme.weight, 8);
    for (std::size_t l = 1; l <= single->size(); ++l) {
      EXPECT_TRUE(at::equal(ensemble->dense(l).weight[1], single->dense(l).weight));
      for (const std::int64_t other : {0, 2}) {
        EXPECT_TRUE(at::equal(ensemble->dense(l).weight[other], before->dense(l).weight[other]));
      }
    }
    Network alone(mlp({7, 9, 5}));
    alone->to(at::kDouble);
    draw_member_(*alone, 0, scheme.weight, weights_of_seed(8));
    EXPECT_TRUE(at::equal(alone->dense(2).weight, single->dense(2).weight));
  }
}

// Oracle: contract. Biases become 0 and take no numbers from the stream.
TEST(Init, BiasesBecomeZero) {
  auto network = test::random_network(mlp({7, 9, 5}).with_bias());
  draw_(*network, lecun, weights_of_seed(1));
  const auto without = drawn(mlp({7, 9, 5}), lecun);
  for (std::size_t l = 1; l <= network->size(); ++l) {
    EXPECT_EQ(network->dense(l).bias.abs().sum().item<double>(), 0);
    EXPECT_TRUE(at::equal(network->dense(l).weight, without->dense(l).weight));
  }
  auto ensemble = test::random_network(mlp({7, 9, 5}).with_bias().ensemble(3));
  const auto others = ensemble->dense(2).bias[2].clone();
  draw_member_(*ensemble, 1, lecun, weights_of_seed(1));
  EXPECT_EQ(ensemble->dense(2).bias[1].abs().sum().item<double>(), 0);
  EXPECT_TRUE(at::equal(ensemble->dense(2).bias[2], others));
}

// Oracle: contract. A number would fill the weight by broadcasting.
TEST(Init, RejectsAWeightOfAnotherShape) {
  Network network(mlp({7, 5}));
  network->to(at::kDouble);
  const auto transposed = [](std::int64_t n_out, std::int64_t n_in, const at::Generator&) {
    return at::ones({n_in, n_out}, at::kDouble);
  };
  const auto number = [](std::int64_t, std::int64_t, const at::Generator&) {
    return at::ones({}, at::kDouble);
  };
  EXPECT_THROW(draw_(*network, transposed, weights_of_seed(1)), c10::Error);
  EXPECT_THROW(draw_(*network, number, weights_of_seed(1)), c10::Error);
}

// Oracle: contract.
TEST(Init, RejectsAMemberThatIsNotThere) {
  Network ensemble(mlp({7, 5}).ensemble(3));
  EXPECT_THROW(draw_member_(*ensemble, 3, lecun, weights_of_seed(1)), c10::Error);
  EXPECT_THROW(draw_member_(*ensemble, -1, lecun, weights_of_seed(1)), c10::Error);
  Network single(mlp({7, 5}));
  EXPECT_THROW(draw_member_(*single, 1, lecun, weights_of_seed(1)), c10::Error);
}

}  // namespace
}  // namespace pcxx::nn::init
