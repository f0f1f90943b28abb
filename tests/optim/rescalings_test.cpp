#include "support/rescalings.h"

#include <gtest/gtest.h>
#include <pcxx/optim/alpha.h>
#include <pcxx/optim/decorrelation.h>
#include <pcxx/optim/optimizers.h>
#include <pcxx/optim/projection.h>

#include <limits>

#include "support/factors.h"
#include "support/networks.h"

namespace pcxx::optim {
namespace {

using learning::LayerFactors;
using test::FactorShape;
using test::joined;
using test::random_factors;
using test::relative_difference;
using test::with_ones;

at::Tensor direction(Rescaling& rescaling, const LayerFactors& layer) {
  return joined(rescaling.directions({layer}).front());
}

// D, E_B[xhat u^T] and E_B[xhat xhat^T] written out.
struct Moments {
  explicit Moments(const LayerFactors& layer) {
    const auto b = static_cast<double>(layer.samples);
    const auto u = with_ones(layer.presynaptic, layer);
    const auto xhat = with_ones(layer.feedforward, layer);
    plain = at::matmul(layer.error.mT(), u) / b;
    feedforward = at::matmul(layer.error.mT(), xhat) / b;
    cross = at::matmul(xhat.mT(), u) / b;
    square = at::matmul(xhat.mT(), xhat) / b;
  }
  at::Tensor plain;        // E[e u^T]
  at::Tensor feedforward;  // E[e xhat^T]
  at::Tensor cross;        // E[xhat u^T]
  at::Tensor square;       // E[xhat xhat^T]
};

at::Tensor symmetric_part(const at::Tensor& c) {
  return (c + c.mT()) / 2;
}

// The spectral regulariser in its n x n form, for each reading.
at::Tensor regulariser(const at::Tensor& c, double a, Spectrum spectrum) {
  at::Tensor values;
  if (spectrum == Spectrum::kSymmetric) values = at::linalg_eigvalsh(symmetric_part(c));
  if (spectrum == Spectrum::kLower) values = at::linalg_eigvalsh(c, "L");
  if (spectrum == Spectrum::kSingular) values = at::linalg_svdvals(c).flip(-1);
  return (a * values.select(-1, -1) - values.select(-1, 0)).clamp_min(0);
}

at::Tensor regularised(const at::Tensor& c, const at::Tensor& eps) {
  return c + eps.unsqueeze(-1).unsqueeze(-1) * at::eye(c.size(-1), c.options());
}

// Batches thinner than the layer, thinner than half of it, equal to it and thicker; bias, ensemble.
std::vector<FactorShape> shapes() {
  return {{.batch = 3, .in = 12},
          {.batch = 7, .in = 12},
          {.batch = 12, .in = 12},
          {.batch = 30, .in = 12},
          {.batch = 1, .in = 5},
          {.batch = 4, .in = 9, .bias = true},
          {.batch = 20, .in = 9, .bias = true},
          {.lead = {3}, .batch = 4, .in = 9},
          {.lead = {3}, .batch = 20, .in = 9, .bias = true}};
}

std::string describe(const FactorShape& shape) {
  return c10::str("B = ", shape.batch, ", n = ", shape.in, shape.bias ? ", bias" : "",
                  shape.lead.empty() ? "" : ", ensemble");
}

// Oracle: the formula of eq. 24-25, written out.
TEST(Alpha, DividesByTheMeanProduct) {
  for (const auto& shape : shapes()) {
    SCOPED_TRACE(describe(shape));
    const auto layer = random_factors(shape);
    const Moments m(layer);
    const auto trace = m.cross.diagonal(0, -2, -1).sum(-1).unsqueeze(-1).unsqueeze(-1);
    Alpha alpha;
    EXPECT_LT(relative_difference(direction(alpha, layer), m.plain / trace), 1e-12);
    EXPECT_EQ(alpha.zero_denominators(), 0);

    const auto u = with_ones(layer.presynaptic, layer);
    const auto uu = u.square().sum({-2, -1}, true) / static_cast<double>(layer.samples);
    Alpha variant({.denominator = AlphaDenominator::kPresynaptic, .floor = std::nullopt});
    EXPECT_LT(relative_difference(direction(variant, layer), m.plain / uu), 1e-12);
  }
}

// Oracle: hand-made factors. c_1 = 4; c_2 is 0, small or negative.
TEST(Alpha, ZeroDenominatorsStopALayerAndTheFloorLiftsThem) {
  const auto make = [](double c) {
    const auto options = at::dtype(at::kDouble);
    return LayerFactors{.weight = at::zeros({1, 2}, options),
                        .bias = {},
                        .error = at::ones({1, 1}, options),
                        .presynaptic = at::tensor({c, 1.0}, options).unsqueeze(0),
                        .feedforward = at::tensor({1.0, 0.0}, options).unsqueeze(0),
                        .samples = 1};
  };
  for (const double c : {0.0, 0.1, -3.0}) {
    const std::vector<LayerFactors> layers{make(4), make(c)};
    Alpha literal;
    const auto d = literal.directions(layers)[1].weight;
    EXPECT_EQ(literal.zero_denominators(), c == 0 ? 1 : 0);
    EXPECT_TRUE(at::allclose(d, c == 0 ? at::zeros_like(d) : layers[1].presynaptic / c));
    Alpha floored({.denominator = AlphaDenominator::kPreAndPost, .floor = 0.5});
    EXPECT_TRUE(at::allclose(floored.directions(layers)[1].weight, layers[1].presynaptic / 2));
    EXPECT_TRUE(at::allclose(floored.directions(layers)[0].weight, layers[0].presynaptic / 4));
    EXPECT_EQ(floored.zero_denominators(), 0);
  }
}

// Oracle: the n x n form, D (C + eps I)^-1 with an explicit inverse, for every reading of eps.
TEST(Decorrelation, ThinRegularisedFormEqualsTheFullOne) {
  for (const auto& shape : shapes()) {
    for (const bool bp : {false, true}) {
      for (const auto spectrum : {Spectrum::kSymmetric, Spectrum::kLower, Spectrum::kSingular}) {
        for (const bool printed : {false, true}) {
          SCOPED_TRACE(c10::str(describe(shape), ", bp ", bp, ", spectrum ", name_of(spectrum),
                                ", as printed ", printed));
          const auto layer = random_factors(shape, 5, bp);
          const Moments m(layer);
          const auto c = printed ? m.cross.mT() : m.cross;
          const auto eps = regulariser(c, 1e-2, spectrum);
          const auto expected = at::matmul(m.plain, at::linalg_inv(regularised(c, eps)));
          Decorrelation rescaling(
              {.regularisation = 1e-2, .spectrum = spectrum, .as_printed = printed});
          EXPECT_LT(relative_difference(direction(rescaling, layer), expected), 1e-9);
        }
      }
    }
  }
}

// Oracle: the n x n form with LAPACK's pseudo-inverse.
TEST(Decorrelation, ThinPseudoInverseEqualsTheFullOne) {
  for (const auto& shape : shapes()) {
    for (const bool printed : {false, true}) {
      SCOPED_TRACE(c10::str(describe(shape), ", as printed ", printed));
      const auto layer = random_factors(shape, 6);
      const Moments m(layer);
      const auto c = printed ? m.cross.mT() : m.cross;
      const auto expected = at::matmul(m.plain, at::linalg_pinv(c, 1e-12));
      Decorrelation rescaling({.as_printed = printed});
      EXPECT_LT(relative_difference(direction(rescaling, layer), expected), 1e-9);
    }
  }
}

// Oracle: least squares. D Xhat^T = E^T in the least-squares sense: an explicit pseudo-inverse.
TEST(Projection, IsTheLeastSquaresSolution) {
  for (const auto& shape : shapes()) {
    SCOPED_TRACE(describe(shape));
    const auto layer = random_factors(shape, 7);
    const auto xhat = with_ones(layer.feedforward, layer);
    const auto expected = at::matmul(layer.error.mT(), at::linalg_pinv(xhat).mT());
    Projection exact;
    EXPECT_LT(relative_difference(direction(exact, layer), expected), 1e-10);

    const Moments m(layer);
    const auto eps = regulariser(m.square, 1e-2, Spectrum::kSymmetric);
    const auto ridge = at::matmul(m.feedforward, at::linalg_inv(regularised(m.square, eps)));
    Projection regularising({.regularisation = 1e-2});
    EXPECT_LT(relative_difference(direction(regularising, layer), ridge), 1e-10);
  }
}

// Oracle: the definition of section 3.3. After regularisation the smallest eigenvalue of the
// symmetric part is at least a lambda_max.
TEST(SpectralRegulariser, LiftsTheSmallestEigenvalue) {
  for (const auto& shape : shapes()) {
    for (const double a : {1e-5, 1e-2, 0.5}) {
      const auto layer = random_factors(shape, 8);
      const Moments m(layer);
      const auto u = with_ones(layer.presynaptic, layer);
      const auto xhat = with_ones(layer.feedforward, layer);
      const auto eps = spectral_regulariser(xhat, u, layer.samples, a, Spectrum::kSymmetric);
      const auto before = at::linalg_eigvalsh(symmetric_part(m.cross));
      const auto after = at::linalg_eigvalsh(symmetric_part(regularised(m.cross, eps)));
      const auto bound = a * before.select(-1, -1);
      const auto rounding = 1e-12 * before.select(-1, -1);
      EXPECT_TRUE(after.select(-1, 0).ge(bound - rounding).all().item<bool>())
          << describe(shape) << " a " << a;
    }
  }
}

// Oracle: the n x n eigenvalue problem.
TEST(SpectralRegulariser, ComesFromASmallProblemWhenTheBatchIsThin) {
  for (const auto& shape : shapes()) {
    for (const bool bp : {false, true}) {
      for (const auto spectrum : {Spectrum::kSymmetric, Spectrum::kLower, Spectrum::kSingular}) {
        SCOPED_TRACE(c10::str(describe(shape), ", ", name_of(spectrum), ", bp ", bp));
        const auto layer = random_factors(shape, 9, bp);
        const auto u = bp ? layer.feedforward : layer.presynaptic;
        const auto c = at::matmul(layer.feedforward.mT(), u) / static_cast<double>(layer.samples);
        const auto found = spectral_regulariser(layer.feedforward, u, layer.samples, 0.1, spectrum);
        EXPECT_LT(relative_difference(found, regulariser(c, 0.1, spectrum)), 1e-11);
      }
    }
  }
}

std::vector<test::RescalingOptions> all_rescalings() {
  return {{.name = "none"},
          {.name = "alpha"},
          {.name = "decorrelation"},
          {.name = "decorrelation", .regularisation = 1e-3},
          {.name = "projection"},
          {.name = "projection", .regularisation = 1e-3},
          {.name = "recursive_projection"}};
}

LayerFactors member(const LayerFactors& layer, std::int64_t r) {
  return {.weight = layer.weight[r],
          .bias = layer.bias.defined() ? layer.bias[r] : at::Tensor(),
          .error = layer.error[r],
          .presynaptic = layer.presynaptic[r],
          .feedforward = layer.feedforward[r],
          .samples = layer.samples};
}

// Invariant: a member's directions are those of its network alone, also beside a broken member,
// which alone gets non-finite directions. Two updates, so that memory counts too.
TEST(Rescalings, AMemberIsTheNetworkAloneAlsoBesideABrokenOne) {
  for (const auto& options : all_rescalings()) {
    for (const std::int64_t batch : {1, 4, 15}) {
      SCOPED_TRACE(c10::str(options.name, " a ", options.regularisation, ", B = ", batch));
      const FactorShape shape{.lead = {3}, .batch = batch, .in = 8, .bias = true};
      const auto together = test::make_rescaling(options);
      std::vector<std::unique_ptr<Rescaling>> alone;
      for (int r = 0; r < 3; ++r) alone.push_back(test::make_rescaling(options));
      for (const std::uint64_t update : {1, 2}) {
        const auto layer = random_factors(shape, update);
        if (update == 2) layer.error[1].fill_(std::numeric_limits<double>::quiet_NaN());
        if (update == 2) layer.feedforward[1][0][0] = std::numeric_limits<double>::infinity();
        const auto d = joined(together->directions({layer}).front());
        for (const std::int64_t r : {0, 1, 2}) {
          const auto single =
              joined(alone[static_cast<std::size_t>(r)]->directions({member(layer, r)}).front());
          if (update == 2 && r == 1) {
            EXPECT_FALSE(d[r].isfinite().any().item<bool>());
          } else {
            EXPECT_LT(relative_difference(d[r], single), 1e-10);
          }
        }
      }
    }
  }
}

// Invariant: a member on its way to overflow, whose activities are finite but their squares are
// not, ends no other's update.
TEST(Rescalings, AMemberThatOverflowsLeavesTheOthersAlone) {
  for (const auto& options : all_rescalings()) {
    for (const std::int64_t batch : {1, 4, 15}) {
      SCOPED_TRACE(c10::str(options.name, " a ", options.regularisation, ", B = ", batch));
      const auto layer = random_factors({.lead = {3}, .batch = batch, .in = 8});
      layer.feedforward[1].mul_(1e200);
      layer.presynaptic[1].mul_(1e200);
      const auto d = joined(test::make_rescaling(options)->directions({layer}).front());
      for (const std::int64_t r : {0, 2}) {
        const auto single =
            joined(test::make_rescaling(options)->directions({member(layer, r)}).front());
        EXPECT_LT(relative_difference(d[r], single), 1e-10);
      }
    }
  }
}

// Invariant: `.grad` is the negative direction, for weights and biases; frozen ones get none.
TEST(Rescalings, WriteTheNegativeDirection) {
  for (const auto& options : all_rescalings()) {
    for (const auto& shape : shapes()) {
      SCOPED_TRACE(c10::str(options.name, ", ", describe(shape)));
      const auto layer = random_factors(shape, 3);
      const auto expected = test::make_rescaling(options)->directions({layer}).front();
      test::make_rescaling(options)->write_gradients({layer});
      EXPECT_LT(relative_difference(layer.weight.grad(), -expected.weight), 1e-14);
      if (shape.bias) {
        EXPECT_LT(relative_difference(layer.bias.grad(), -expected.bias), 1e-14);
      }

      auto frozen = random_factors(shape, 3);
      frozen.weight.requires_grad_(false);
      test::make_rescaling(options)->write_gradients({frozen});
      EXPECT_FALSE(frozen.weight.grad().defined());
    }
  }
}

// Invariant: float32 is float64 to its own rounding.
TEST(Rescalings, WorkInSinglePrecision) {
  for (const auto& options : all_rescalings()) {
    if (options.name == "decorrelation" && options.regularisation == 0)
      continue;  // ill-conditioned
    for (const std::int64_t batch : {1, 4, 30}) {
      SCOPED_TRACE(c10::str(options.name, ", B = ", batch));
      const auto layer = random_factors({.batch = batch, .in = 8}, 4);
      const LayerFactors single{.weight = layer.weight.to(at::kFloat),
                                .bias = {},
                                .error = layer.error.to(at::kFloat),
                                .presynaptic = layer.presynaptic.to(at::kFloat),
                                .feedforward = layer.feedforward.to(at::kFloat),
                                .samples = layer.samples};
      const auto d = test::make_rescaling(options)->directions({single}).front().weight;
      const auto expected = test::make_rescaling(options)->directions({layer}).front().weight;
      EXPECT_EQ(d.scalar_type(), at::kFloat);
      EXPECT_LT(relative_difference(d.to(at::kDouble), expected), 1e-3);
    }
  }
}

// Contract: names round trip, others are refused.
TEST(Factory, KnowsEveryRescalingByName) {
  for (const auto& options : all_rescalings()) {
    EXPECT_EQ(test::make_rescaling(options)->name(), options.name);
  }
  for (const auto spectrum : {Spectrum::kSymmetric, Spectrum::kLower, Spectrum::kSingular}) {
    EXPECT_EQ(value_named<Spectrum>(name_of(spectrum)), spectrum);
  }
  EXPECT_EQ(value_named<Spectrum>("upper"), std::nullopt);
  EXPECT_THROW(make_optimizer("lbfgs", {at::zeros({1})}, 0.1), c10::Error);
}

}  // namespace
}  // namespace pcxx::optim
