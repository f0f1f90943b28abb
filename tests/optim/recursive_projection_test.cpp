#include <gtest/gtest.h>
#include <pcxx/core/random.h>
#include <pcxx/optim/recursive_projection.h>

#include "support/factors.h"
#include "support/networks.h"

namespace pcxx::optim {
namespace {

using learning::LayerFactors;
using test::relative_difference;

LayerFactors factors(const at::Tensor& weight, const at::Tensor& x, const at::Tensor& y) {
  return {.weight = weight,
          .bias = {},
          .error = y - at::matmul(x, weight.mT()),
          .presynaptic = x,
          .feedforward = x,
          .samples = x.size(-2)};
}

struct Stream {
  at::Tensor x;
  at::Tensor y;
};

// y = W x + noise, updates of `batch` samples.
Stream make_stream(std::int64_t updates, std::int64_t batch, std::int64_t n, std::int64_t out,
                   double noise) {
  auto generator = make_generator(3, Purpose::kInputs);
  const auto map = at::empty({out, n}, at::kDouble).normal_(0, 1, generator);
  const auto x = at::empty({updates, batch, n}, at::kDouble).normal_(0, 1, generator);
  const auto e = at::empty({updates, batch, out}, at::kDouble).normal_(0, 1, generator);
  return {x, at::matmul(x, map.mT()) + noise * e};
}

// The minimum over W of sum over updates of lambda^age ||y - W x||^2 + lambda^t / delta ||W||^2,
// by one orthogonal least-squares solve over the whole past.
at::Tensor weighted_least_squares(const Stream& stream, double lambda, double delta) {
  const auto updates = stream.x.size(0);
  const auto n = stream.x.size(2);
  const auto age = at::arange(updates - 1, -1, -1, at::kDouble);
  const auto root = at::pow(lambda, age / 2).view({-1, 1, 1});
  const auto prior = std::pow(lambda, static_cast<double>(updates) / 2) / std::sqrt(delta);
  const auto rows = at::cat({(stream.x * root).flatten(0, 1), prior * at::eye(n, at::kDouble)});
  const auto goals =
      at::cat({(stream.y * root).flatten(0, 1), at::zeros({n, stream.y.size(2)}, at::kDouble)});
  return std::get<0>(at::linalg_lstsq(rows, goals, std::nullopt, "gelsd")).mT();
}

at::Tensor learn(RecursiveProjection& rescaling, const Stream& stream) {
  auto weight = at::zeros({stream.y.size(2), stream.x.size(2)}, at::kDouble);
  for (std::int64_t t = 0; t < stream.x.size(0); ++t) {
    weight =
        weight + rescaling.directions({factors(weight, stream.x[t], stream.y[t])}).front().weight;
  }
  return weight;
}

// Oracle: weighted least squares over the whole past, for one layer at rate 1, on noisy targets.
TEST(RecursiveProjection, IsWeightedLeastSquaresOverTheWholePast) {
  for (const double lambda : {0.9, 0.95, 0.99, 1.0}) {
    for (const std::int64_t batch : {1, 4, 12}) {
      for (const double delta : {1.0, 100.0}) {
        SCOPED_TRACE(c10::str("lambda ", lambda, ", B = ", batch, ", delta ", delta));
        const auto stream = make_stream(300, batch, 8, 3, 0.5);
        RecursiveProjection rescaling({.forgetting = lambda, .prior_scale = delta});
        EXPECT_LT(relative_difference(learn(rescaling, stream),
                                      weighted_least_squares(stream, lambda, delta)),
                  1e-8);
      }
    }
  }
}

// The same after 10,000 samples, and the memory itself: Q^-1 is the weighted second moment.
TEST(RecursiveProjection, IsStillExactAfterTenThousandSamples) {
  for (const double lambda : {0.95, 0.99}) {
    SCOPED_TRACE(lambda);
    const auto stream = make_stream(10000, 1, 8, 3, 0.5);
    RecursiveProjection rescaling({.forgetting = lambda, .prior_scale = 1});
    EXPECT_LT(
        relative_difference(learn(rescaling, stream), weighted_least_squares(stream, lambda, 1)),
        1e-8);
    const auto weights = at::pow(lambda, at::arange(9999, -1, -1, at::kDouble)).view({-1, 1, 1});
    const auto moments =
        at::matmul((stream.x * weights).flatten(0, 1).mT(), stream.x.flatten(0, 1));
    EXPECT_LT(relative_difference(rescaling.memory().front(), at::linalg_inv(moments)), 1e-8);
  }
}

// Invariant: whatever the forgetting factor, and however few directions the samples excite, the
// memory stays symmetric, positive and bounded, and the weights finite.
TEST(RecursiveProjection, IsSafeForAnyForgettingFactor) {
  for (const double lambda : {0.1, 0.5, 0.9, 0.95, 1.0}) {
    for (const double noise : {0.0, 0.1}) {
      for (const bool starved : {false, true}) {
        SCOPED_TRACE(c10::str("lambda ", lambda, ", noise ", noise, ", starved ", starved));
        auto stream = make_stream(3000, 1, 20, 5, noise);
        if (starved) stream.x.slice(-1, 3).zero_();
        RecursiveProjection rescaling({.forgetting = lambda, .prior_scale = 1});
        const auto weight = learn(rescaling, stream);
        EXPECT_TRUE(weight.isfinite().all().item<bool>());
        const auto& q = rescaling.memory().front();
        EXPECT_TRUE(at::equal(q, q.mT()));
        const auto eigenvalues = at::linalg_eigvalsh(q);
        EXPECT_GE(eigenvalues.min().item<double>(), -1e-12 * eigenvalues.max().item<double>());
        EXPECT_LE(eigenvalues.mean().item<double>(), 1.1e6);
      }
    }
  }
}

// Oracle: a batch of B samples without forgetting is B single samples.
TEST(RecursiveProjection, ABatchIsItsSamplesOneByOne) {
  const auto one_by_one = make_stream(40, 1, 6, 2, 0.5);
  const Stream batches{one_by_one.x.view({8, 5, 6}), one_by_one.y.view({8, 5, 2})};
  RecursiveProjection single({.forgetting = 1, .prior_scale = 2});
  RecursiveProjection batched({.forgetting = 1, .prior_scale = 2});
  EXPECT_LT(relative_difference(learn(batched, batches), learn(single, one_by_one)), 1e-10);
  EXPECT_LT(relative_difference(batched.memory().front(), single.memory().front()), 1e-10);
}

// Oracle: the singular values of Q. A member that is not finite makes the condition infinite.
TEST(RecursiveProjection, ReportsTheConditionOfItsMemory) {
  RecursiveProjection rescaling;
  EXPECT_EQ(rescaling.memory_condition(), 1);
  auto layer = test::random_factors({.lead = {2}, .batch = 3, .in = 6});
  rescaling.directions({layer});
  const auto sigma = at::linalg_svdvals(rescaling.memory().front());
  const auto expected = (sigma.select(-1, 0) / sigma.select(-1, 5)).max().item<double>();
  EXPECT_NEAR(rescaling.diagnostics().at("memory_condition") / expected, 1, 1e-10);
  layer.feedforward[1].fill_(std::nan(""));
  rescaling.directions({layer});
  EXPECT_TRUE(std::isinf(rescaling.memory_condition()));
}

// Invariant: saved and loaded, it goes on as if nothing had happened; another network's is refused.
TEST(RecursiveProjection, MemoryIsSavedAndLoaded) {
  const auto stream = make_stream(20, 1, 6, 2, 0.5);
  RecursiveProjection original;
  learn(original, stream);
  const auto state = original.state();
  RecursiveProjection restored;
  restored.set_state(state);
  const auto next = factors(at::zeros({2, 6}, at::kDouble), stream.x[0], stream.y[0]);
  EXPECT_TRUE(at::equal(restored.directions({next}).front().weight,
                        original.directions({next}).front().weight));

  RecursiveProjection other;
  other.directions({test::random_factors({.in = 4})});
  EXPECT_THROW(other.set_state(state), c10::Error);
  EXPECT_THROW(other.set_state({}), c10::Error);

  // As many layers as somebody wrote there, which neither memory nor the network has.
  for (const std::int64_t layers : {std::int64_t{-1}, std::int64_t{2}, std::int64_t{1} << 60}) {
    auto wrong = state;
    wrong["layers"] = at::scalar_tensor(layers, at::kLong);
    EXPECT_THROW(RecursiveProjection().set_state(wrong), c10::Error) << layers;
  }
  RecursiveProjection deeper;
  deeper.set_state(
      {{"layers", as_count(2)}, {"memory0", state.at("memory0")}, {"memory1", at::eye(3)}});
  EXPECT_THROW(deeper.directions({next}), c10::Error);
}

// Contract: a forgetting factor in (0, 1], a positive prior_scale.
TEST(RecursiveProjection, RefusesImpossibleOptions) {
  for (const double lambda : {0.0, -0.5, 1.5}) {
    EXPECT_THROW(RecursiveProjection({.forgetting = lambda}), c10::Error);
  }
  EXPECT_THROW(RecursiveProjection({.prior_scale = 0}), c10::Error);
}

}  // namespace
}  // namespace pcxx::optim
