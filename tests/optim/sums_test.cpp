// Rescalings that make their directions from sums over the samples in place of the factors.

#include <gtest/gtest.h>
#include <pcxx/optim/optimizers.h>

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

std::vector<test::RescalingOptions> with_sums() {
  return {{.name = "none"},
          {.name = "alpha"},
          {.name = "alpha", .denominator = AlphaDenominator::kPresynaptic},
          {.name = "decorrelation"},
          {.name = "decorrelation", .regularisation = 0.1},
          {.name = "decorrelation", .regularisation = 0.1, .spectrum = Spectrum::kLower},
          {.name = "decorrelation", .regularisation = 0.1, .spectrum = Spectrum::kSingular},
          {.name = "decorrelation", .regularisation = 0.1, .as_printed = true},
          {.name = "projection", .regularisation = 0.1}};
}

std::vector<FactorShape> thick() {
  return {{.batch = 5, .in = 5},
          {.batch = 30, .in = 6},
          {.batch = 20, .in = 6, .bias = true},
          {.lead = {3}, .batch = 20, .in = 6},
          {.lead = {3}, .batch = 20, .in = 6, .bias = true}};
}

// Some rows, of a batch that has more.
LayerFactors part_of(LayerFactors layer, std::int64_t first, std::int64_t count) {
  for (auto* factor : {&layer.error, &layer.presynaptic, &layer.feedforward}) {
    *factor = factor->narrow(-2, first, count);
  }
  return layer;
}

// The layer with the sums of its two parts, one after the other, in place of its factors.
LayerFactors summed(const Rescaling& rescaling, const LayerFactors& layer, std::int64_t first) {
  auto sums = rescaling.sums(part_of(layer, 0, first));
  const auto rest = rescaling.sums(part_of(layer, first, layer.samples - first));
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i] = sums[i] + rest.at(i);
  return {.weight = layer.weight,
          .bias = layer.bias,
          .error = {},
          .presynaptic = {},
          .feedforward = {},
          .samples = layer.samples,
          .sums = sums};
}

at::Tensor direction(Rescaling& rescaling, const LayerFactors& layer) {
  return joined(rescaling.directions({layer}).front());
}

// Oracle: the direction from the factors. The parts of the batch may be empty.
TEST(Sums, StandInForTheFactors) {
  for (const auto& options : with_sums()) {
    for (const auto& shape : thick()) {
      SCOPED_TRACE(c10::str(options.name, " ", options.regularisation, " B = ", shape.batch,
                            shape.bias ? ", bias" : "", shape.lead.empty() ? "" : ", ensemble"));
      const auto layer = random_factors(shape);
      const auto rescaling = test::make_rescaling(options);
      const auto expected = direction(*rescaling, layer);
      for (const std::int64_t first : {std::int64_t{0}, std::int64_t{2}, shape.batch}) {
        EXPECT_LT(
            relative_difference(direction(*rescaling, summed(*rescaling, layer, first)), expected),
            1e-9);
      }
      rescaling->write_gradients({summed(*rescaling, layer, 2)});
      EXPECT_LT(relative_difference(layer.weight.grad(), -expected.narrow(-1, 0, shape.in)), 1e-9);
      if (!shape.bias) continue;
      EXPECT_LT(relative_difference(layer.bias.grad(), -expected.select(-1, shape.in)), 1e-9);
    }
  }
}

// Contract: where the batch is thinner than the layer nothing n x n is built, and what works on the
// samples themselves says so.
TEST(Sums, AreNoneWhereTheFactorsAreNeeded) {
  const auto thin = random_factors({.batch = 5, .in = 6});
  const auto bias = random_factors({.batch = 6, .in = 6, .bias = true});
  for (const auto& options : with_sums()) {
    if (options.name == "none" || options.name == "alpha") continue;
    EXPECT_TRUE(test::make_rescaling(options)->sums(thin).empty()) << options.name;
    EXPECT_TRUE(test::make_rescaling(options)->sums(bias).empty()) << options.name;
  }
  const auto layer = random_factors({.batch = 30, .in = 6});
  for (const std::string name : {"projection", "recursive_projection"}) {
    EXPECT_TRUE(test::make_rescaling({.name = name})->sums(layer).empty()) << name;
  }
}

// Oracle: the member alone; one that has diverged gets NaN and leaves the others as they are.
TEST(Sums, KeepMembersApart) {
  auto layer = random_factors({.lead = {3}, .batch = 20, .in = 6});
  layer.error[1].fill_(std::numeric_limits<double>::infinity());
  for (const auto& options : with_sums()) {
    if (options.name == "none" || options.name == "alpha") continue;
    const auto rescaling = test::make_rescaling(options);
    const auto found = direction(*rescaling, summed(*rescaling, layer, 7));
    EXPECT_FALSE(found[1].isfinite().any().item<bool>()) << options.name;
    EXPECT_TRUE(found[0].isfinite().all().item<bool>()) << options.name;
    EXPECT_TRUE(found[2].isfinite().all().item<bool>()) << options.name;
  }
}

}  // namespace
}  // namespace pcxx::optim
