// Layers whose inputs are 0 for a whole batch, and regularisations below what a dtype resolves.

#include <gtest/gtest.h>
#include <pcxx/core/precision.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/learning/predictive_coding.h>
#include <pcxx/optim/decorrelation.h>
#include <pcxx/optim/optimizers.h>
#include <pcxx/optim/projection.h>
#include <pcxx/optim/rescaled.h>
#include <torch/optim/sgd.h>

#include <cmath>
#include <limits>

#include "support/factors.h"
#include "support/networks.h"
#include "support/rescalings.h"

namespace pcxx::optim {
namespace {

using learning::LayerFactors;
using test::FactorShape;
using test::joined;
using test::random_factors;
using test::relative_difference;
using test::with_ones;

// Every rescaling that divides, at these regularisations.
std::vector<test::RescalingOptions> dividing_rescalings(
    const std::vector<double>& regularisations) {
  std::vector<test::RescalingOptions> all{
      {.name = "alpha"},
      {.name = "alpha", .denominator = AlphaDenominator::kPreAndPost, .floor = 0.5},
      {.name = "recursive_projection"}};
  for (const double a : regularisations) {
    all.push_back({.name = "projection", .regularisation = a});
    for (const auto spectrum : {Spectrum::kSymmetric, Spectrum::kLower, Spectrum::kSingular}) {
      for (const bool printed : {false, true}) {
        all.push_back({.name = "decorrelation",
                       .regularisation = a,
                       .spectrum = spectrum,
                       .as_printed = printed});
      }
    }
  }
  return all;
}

std::string describe(const test::RescalingOptions& options, std::int64_t batch, bool bp) {
  return c10::str(options.name, " a ", options.regularisation, ", spectrum ",
                  name_of(options.spectrum), ", as printed ", options.as_printed, ", B = ", batch,
                  ", bp ", bp);
}

at::Tensor direction(const test::RescalingOptions& options, const LayerFactors& layer) {
  return joined(test::make_rescaling(options)->directions({layer}).front());
}

LayerFactors in_dtype(LayerFactors layer, at::ScalarType dtype) {
  const bool same = layer.presynaptic.is_same(layer.feedforward);
  for (auto* t : {&layer.weight, &layer.error, &layer.feedforward}) *t = t->detach().to(dtype);
  layer.presynaptic = same ? layer.feedforward : layer.presynaptic.to(dtype);
  if (layer.bias.defined()) layer.bias = layer.bias.detach().to(dtype);
  return layer;
}

// As sums over the samples, where the rescaling has them.
LayerFactors summed(const test::RescalingOptions& options, LayerFactors layer) {
  layer.sums = test::make_rescaling(options)->sums(layer);
  return layer;
}

// Oracle: the pseudo-inverse of a matrix of zeros is one of zeros. With predictive coding the
// settled activities u of a layer without an active input need not be 0, but their products with
// xhat are.
TEST(DeadLayers, MoveNowhere) {
  for (const auto& options : dividing_rescalings({1e-12, 1e-2, 1})) {
    for (const std::int64_t batch : {1, 4, 8, 128}) {
      for (const bool bp : {false, true}) {
        for (const auto dtype : {at::kDouble, at::kFloat}) {
          SCOPED_TRACE(describe(options, batch, bp));
          const auto layer = in_dtype(random_factors({.batch = batch, .in = 8}, 3, bp), dtype);
          layer.feedforward.zero_();
          for (const auto& given : {layer, summed(options, layer)}) {
            const auto d = direction(options, given);
            EXPECT_EQ(d.abs().max().item<double>(), 0) << (given.sums.empty() ? "" : "of sums");
          }
        }
      }
    }
  }
}

// Oracle: the network alone. One member of three is dead, and changes nothing for the others.
TEST(DeadLayers, OfOneMemberLeaveTheOthersAlone) {
  for (const auto& options : dividing_rescalings({1e-12, 1e-2})) {
    for (const std::int64_t batch : {1, 4, 20}) {
      SCOPED_TRACE(describe(options, batch, false));
      const auto layer = random_factors({.lead = {3}, .batch = batch, .in = 8}, 4);
      layer.feedforward[1].zero_();
      const auto d = direction(options, layer);
      EXPECT_EQ(d[1].abs().max().item<double>(), 0);
      for (const std::int64_t r : {0, 2}) {
        const LayerFactors alone{.weight = layer.weight[r],
                                 .bias = {},
                                 .error = layer.error[r],
                                 .presynaptic = layer.presynaptic[r],
                                 .feedforward = layer.feedforward[r],
                                 .samples = batch};
        EXPECT_LT(relative_difference(d[r], direction(options, alone)), 1e-9);
      }
    }
  }
}

// Oracle: D (C + eps I)^-1 with an explicit inverse. A bias is an input that is never dead, and one
// black sample leaves the others to learn from.
TEST(DeadLayers, LearnWhatIsLeft) {
  for (const std::int64_t batch : {1, 4, 20}) {
    for (const bool black_sample : {false, true}) {
      if (black_sample && batch == 1) continue;
      SCOPED_TRACE(c10::str("B = ", batch, ", one black sample ", black_sample));
      const auto layer = random_factors({.batch = batch, .in = 6, .bias = !black_sample}, 5);
      if (black_sample) {
        layer.feedforward[1].zero_();
      } else {
        layer.feedforward.zero_();
      }
      const auto b = static_cast<double>(batch);
      const auto u = with_ones(layer.presynaptic, layer);
      const auto xhat = with_ones(layer.feedforward, layer);
      const auto expected = [&](const at::Tensor& learnt, const at::Tensor& c) {
        const auto lambda = at::linalg_eigvalsh((c + c.mT()) / 2);
        const auto eps = (1e-2 * lambda.select(-1, -1) - lambda.select(-1, 0)).clamp_min(0);
        return at::matmul(learnt, at::linalg_inv(c + eps * at::eye(c.size(-1), c.options())));
      };
      const auto e = layer.error.mT();
      EXPECT_LT(
          relative_difference(direction({.name = "projection", .regularisation = 1e-2}, layer),
                              expected(at::matmul(e, xhat) / b, at::matmul(xhat.mT(), xhat) / b)),
          1e-10);
      EXPECT_LT(
          relative_difference(direction({.name = "decorrelation", .regularisation = 1e-2}, layer),
                              expected(at::matmul(e, u) / b, at::matmul(xhat.mT(), u) / b)),
          1e-9);
    }
  }
}

// Contract: infinite where the spectrum is 0, also where it is too small for what follows.
TEST(SpectralRegulariser, IsInfiniteForAMatrixOfZeros) {
  for (const auto dtype : {at::kDouble, at::kFloat}) {
    for (const auto spectrum : {Spectrum::kSymmetric, Spectrum::kLower, Spectrum::kSingular}) {
      for (const std::int64_t batch : {1, 3, 9}) {
        const auto x = at::ones({2, batch, 4}, dtype);
        x[1].fill_(dtype == at::kDouble ? 1e-150 : 1e-20);
        const auto eps = spectral_regulariser(x, x.clone(), batch, 0.1, spectrum);
        EXPECT_TRUE(eps[0].isfinite().item<bool>());
        EXPECT_EQ(eps[1].item<double>(), std::numeric_limits<double>::infinity());
      }
    }
  }
}

// Oracle: the eigenvalues of the matrix, in float64. What is less than the dtype resolves counts as
// the least that it does; what is more counts as it is.
TEST(SpectralRegulariser, HasAFloorByTheDtype) {
  EXPECT_NEAR(kLeastRatio<float>, 3.8e-6, 1e-7);
  EXPECT_NEAR(kLeastRatio<double>, 7.1e-15, 1e-16);
  for (const auto dtype : {at::kDouble, at::kFloat}) {
    const double least = dtype == at::kDouble ? kLeastRatio<double> : kLeastRatio<float>;
    const double unit = dtype == at::kDouble ? 2.3e-16 : 1.2e-7;
    // One direction only, and zeros exactly elsewhere.
    const auto x = at::zeros({2, 6}, dtype);
    x.select(-1, 3).fill_(3);
    for (const double a : {0.0, 1e-40, least / 3, least, 3 * least, 1e-2}) {
      const auto eps = spectral_regulariser(x, x, 2, a, Spectrum::kSymmetric).item<double>();
      EXPECT_NEAR(eps, 9 * std::max(a, least), 90 * unit * std::max(a, least)) << a;
    }
  }
}

// Oracle: the pseudo-inverse in float64. A regularisation that the dtype cannot resolve leaves all
// but that of a batch that is well-conditioned, and finite numbers of one that is not.
TEST(Regularisation, TooSmallForTheDtypeIsNearlyThePseudoInverse) {
  for (const auto dtype : {at::kDouble, at::kFloat}) {
    for (const double a : {1e-30, 1e-15, 1e-8}) {
      for (const char* name : {"projection", "decorrelation"}) {
        for (const std::int64_t batch : {1, 16, 128}) {
          const test::RescalingOptions options{.name = name, .regularisation = a};
          SCOPED_TRACE(describe(options, batch, true));
          const auto layer = random_factors({.batch = batch, .in = 64}, 6, /*bp=*/true);
          const auto d = direction(options, in_dtype(layer, dtype));
          const auto exact = direction({.name = "projection"}, layer);
          EXPECT_LT(relative_difference(d.to(at::kDouble), exact),
                    dtype == at::kDouble ? 1e-7 : 1e-3);

          // Half of the inputs are always 0, and there are fewer others than samples.
          const auto thick = random_factors({.batch = batch, .in = 64}, 6, /*bp=*/true);
          thick.feedforward.slice(-1, 8).zero_();
          EXPECT_TRUE(direction(options, in_dtype(thick, dtype)).isfinite().all().item<bool>());
        }
      }
    }
  }
}

// Error of a small autoencoder after 60 images, one at a time, of which every tenth is black.
double error_with_a_black_image(const test::RescalingOptions& options, bool pc) {
  const auto network =
      test::random_network(nn::mlp({9, 4, 9}, nn::Activation::kReLU, nn::Activation::kSigmoid));
  auto images = test::random_batch(*network, 10).target;
  images[3].zero_();
  learning::Backpropagation backpropagation;
  learning::PredictiveCoding coding;
  Rescaled optimizer(torch::optim::SGD(network->parameters(), 0.01), test::make_rescaling(options));
  for (std::int64_t i = 0; i < 60; ++i) {
    const auto image = images.narrow(0, i % 10, 1);
    const data::Batch one{image, image};
    optimizer.step(pc ? coding.factors(*network, one) : backpropagation.factors(*network, one));
  }
  return (network->forward(images) - images).square().mean().item<double>();
}

// Oracle: the same training by the pseudo-inverse, which never failed. A regularisation of 0.01
// makes little difference to single images.
TEST(DeadLayers, ABlackImageEndsNoTraining) {
  for (const auto& options : dividing_rescalings({1e-2})) {
    if (options.as_printed || options.regularisation == 0) continue;
    for (const bool pc : {false, true}) {
      SCOPED_TRACE(describe(options, 1, !pc));
      auto exact = options;
      exact.regularisation = 0;
      const double expected = error_with_a_black_image(exact, pc);
      EXPECT_NEAR(error_with_a_black_image(options, pc), expected, 0.1 * expected);
    }
  }
}

}  // namespace
}  // namespace pcxx::optim
