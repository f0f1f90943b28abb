#include <c10/util/Exception.h>
#include <gtest/gtest.h>
#include <pcxx/metrics/sample_efficiency.h>

#include <cmath>
#include <limits>

namespace pcxx::metrics {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Oracle: the rule "non-finite, or error > 1e6 x initial", anywhere in the curve.
TEST(Diverged, MeansNotFiniteOrAMillionTimesTheFirst) {
  EXPECT_FALSE(diverged({1}));
  EXPECT_FALSE(diverged({2, 1, 0.5}));
  EXPECT_FALSE(diverged({2, 2e6, 0.5}));
  EXPECT_TRUE(diverged({2, 2.001e6, 0.5}));
  EXPECT_FALSE(diverged({1e-10, 9e-5}));
  EXPECT_TRUE(diverged({1e-10, 2e-4}));
  EXPECT_TRUE(diverged({1, kNaN, 0.5}));
  EXPECT_TRUE(diverged({1, 0.5, kInfinity}));
  EXPECT_TRUE(diverged({kNaN}));
  EXPECT_TRUE(diverged({kInfinity, 1}));
  EXPECT_FALSE(diverged({1, 0, 0}));
  EXPECT_THROW(diverged({}), c10::Error);
}

// Oracle: hand-made curves. The first step at or below the threshold, which index 0 may be, though
// the error rises again; a NaN reaches nothing.
TEST(StepsToReach, IsTheFirstStep) {
  const Curve curve{8, 4, 2, 3, 1};
  EXPECT_EQ(steps_to_reach(curve, 10), 0);
  EXPECT_EQ(steps_to_reach(curve, 8), 0);
  EXPECT_EQ(steps_to_reach(curve, 7.9), 1);
  EXPECT_EQ(steps_to_reach(curve, 2.5), 2);
  EXPECT_EQ(steps_to_reach(curve, 1), 4);
  EXPECT_EQ(steps_to_reach(curve, 0.9), std::nullopt);
  EXPECT_EQ(steps_to_reach({8, kNaN, 2}, 4), 2);
  EXPECT_EQ(steps_to_reach({8, kNaN}, 4), std::nullopt);
}

// Oracle: steps times the batch size.
TEST(SamplesToReach, CountsTheBatch) {
  const Curve curve{8, 4, 2, 1};
  EXPECT_EQ(samples_to_reach(curve, 8, 64), 0);
  EXPECT_EQ(samples_to_reach(curve, 2, 64), 128);
  EXPECT_EQ(samples_to_reach(curve, 2, 1), 2);
  EXPECT_EQ(samples_to_reach(curve, 0.5, 64), std::nullopt);
}

// Oracle: mean of exponents of ten; below 1e-32 all count alike, zero included.
TEST(AreaUnderLogCurve, IsTheMeanOfLogarithms) {
  EXPECT_DOUBLE_EQ(area_under_log_curve({1e3}), 3);
  EXPECT_DOUBLE_EQ(area_under_log_curve({100, 1, 1e-2, 1e-4}), -1);
  EXPECT_DOUBLE_EQ(area_under_log_curve({1, 1e-32}), -16);
  EXPECT_DOUBLE_EQ(area_under_log_curve({1, 1e-40}), -16);
  EXPECT_DOUBLE_EQ(area_under_log_curve({1, 0}), -16);
  EXPECT_EQ(area_under_log_curve({1, 1e7}), kInfinity);
  EXPECT_EQ(area_under_log_curve({1, kNaN, 1}), kInfinity);
}

// Oracle: the mean, and the rule that one diverged seed makes a rate infinite, even where that seed
// has come back.
TEST(MeanFinalError, IsInfiniteWithADivergedSeed) {
  EXPECT_DOUBLE_EQ(mean_final_error({{9, 1}, {9, 2}, {9, 6}}), 3);
  EXPECT_EQ(mean_final_error({{9, 1}, {9, 1e8}, {9, 6}}), kInfinity);
  EXPECT_EQ(mean_final_error({{9, 1, 1}, {9, kNaN, 1}}), kInfinity);
  EXPECT_THROW(mean_final_error({}), c10::Error);
}

// Curves of one seed each.
std::vector<std::vector<Curve>> one_seed(const std::vector<Curve>& curves) {
  std::vector<std::vector<Curve>> result;
  for (const auto& curve : curves) result.push_back({curve});
  return result;
}

// Oracle: the rule "lowest mean final error over seeds": a rate that is best in most seeds loses to
// one that is better on average.
TEST(BestRate, HasTheLowestMeanFinalError) {
  const std::vector<std::vector<Curve>> curves{
      {{10, 1e-9}, {10, 1e-9}, {10, 9}},           // mean 3
      {{10, 5, 0.1}, {10, 5, 0.1}, {10, 5, 0.1}},  // mean 0.1
      {{10, 4}, {10, 4}, {10, 4}}};                // mean 4
  const auto best = best_rate(curves, {0.1, 0.2, 0.4});
  ASSERT_TRUE(best);
  EXPECT_EQ(best->index, 1);
  EXPECT_EQ(best->rate, 0.2);
  EXPECT_DOUBLE_EQ(best->final_error, 0.1);
  EXPECT_DOUBLE_EQ(best->area, std::log10(5) / 3);
  EXPECT_EQ(best->tied, 1);
  EXPECT_EQ(best->diverged_rates, 0);
  EXPECT_FALSE(best->at_low_edge);
  EXPECT_FALSE(best->at_high_edge);
}

// Oracle: the paper's rule (appendix A.3), "the learning rate which results in the lowest error at
// the end of training": however little lower, and however much later it falls.
TEST(BestRate, IsTheLowestAtTheEndHoweverSlow) {
  const Curve slow{1, 1, 1, 1e-6};
  const auto best = best_rate(one_seed({slow, {1, 1e-5, 1e-5, 1.01e-6}}), {1, 2});
  EXPECT_EQ(best->index, 0);
  EXPECT_EQ(best->tied, 1);
  const auto equal = best_rate(one_seed({slow, {1, 1, 1e-3, 1e-6}}), {1, 2});
  EXPECT_EQ(equal->index, 1);
  EXPECT_EQ(equal->tied, 2);
}

// Oracle: areas by hand, -6/4 and (-10 + log10(2e-6)) / 4: the faster one, though it ends higher;
// one that ends lowest of all but with a diverged seed is none.
TEST(BestRate, MayBeTheFastest) {
  const std::vector<std::vector<Curve>> curves{{{1, 1, 1, 1e-6}, {1, 1, 1, 1e-6}},
                                               {{1, 1e-5, 1e-5, 2e-6}, {1, 1e-5, 1e-5, 2e-6}},
                                               {{1, 1e-9, 1e-9, 1e-9}, {1, 1e7, 1e-9, 1e-9}}};
  EXPECT_EQ(best_rate(curves, {1, 2, 3})->index, 0);
  const auto best = best_rate(curves, {1, 2, 3}, BestBy::kArea);
  EXPECT_EQ(best->index, 1);
  EXPECT_EQ(best->tied, 2);
  EXPECT_EQ(best->final_error, 2e-6);
  EXPECT_NEAR(best->area, (-10 + std::log10(2e-6)) / 4, 1e-14);
}

// Contract: the header's names.
TEST(BestBy, HasNames) {
  EXPECT_EQ(name_of(BestBy::kFinal), "final");
  EXPECT_EQ(name_of(BestBy::kArea), "area");
  for (const auto best_by : {BestBy::kFinal, BestBy::kArea}) {
    EXPECT_EQ(value_named<BestBy>(name_of(best_by)), best_by);
  }
  EXPECT_EQ(value_named<BestBy>("speed"), std::nullopt);
}

// Oracle: by hand. Ten steps: their first fifth ends with the second; of four it is the start
// alone.
TEST(EarlyAreaUnderLogCurve, IsThatOfTheFirstFifth) {
  EXPECT_NEAR(early_area_under_log_curve({1, 1e-1, 1e-5, 1, 1, 1, 1, 1, 1, 1, 1e-30}), -2, 1e-14);
  EXPECT_NEAR(early_area_under_log_curve({1e-2, 1, 1, 1, 1}), -2, 1e-14);
  EXPECT_NEAR(early_area_under_log_curve({1e-3}), -3, 1e-14);
  EXPECT_NEAR(early_area_under_log_curve({1, 1e-3, 1e-3, 1, 1, 1e8}), -1.5, 1e-14);
}

// Oracle: the same rule with several seeds; the area that counts is their mean.
TEST(BestRate, AreasAreMeansOverSeeds) {
  const std::vector<std::vector<Curve>> curves{
      {{1, 1e-8, 1e-2}, {1, 1, 1e-2}},      // areas -10/3 and -2/3, mean -2
      {{1, 1e-3, 1e-2}, {1, 1e-3, 1e-2}},   // -5/3
      {{1, 1e-9, 1e-2}, {1, 1e-1, 1e-2}}};  // -11/3 and -1, mean -7/3
  const auto best = best_rate(curves, {1, 2, 3});
  EXPECT_EQ(best->index, 2);
  EXPECT_EQ(best->tied, 3);
  EXPECT_NEAR(best->area, -7.0 / 3, 1e-14);
}

// Oracle: the rule "or below 1e-28 are tied", far apart as they may be; an error above it is tied
// with none of them.
TEST(BestRate, BreaksTiesBelowTheFloorByArea) {
  const auto best =
      best_rate(one_seed({{1, 1e-3, 1e-32}, {1, 1e-20, 9e-29}, {1, 1e-31, 1.1e-28}}), {1, 2, 3});
  EXPECT_EQ(best->index, 1);
  EXPECT_EQ(best->tied, 2);
  const auto with_zero = best_rate(one_seed({{1, 1e-3, 0}, {1, 1e-20, 9e-29}}), {1, 2});
  EXPECT_EQ(with_zero->index, 1);
  EXPECT_EQ(with_zero->tied, 2);
}

TEST(BestRate, AtEqualAreasIsTheFirst) {
  const Curve curve{1, 0.5, 0.25};
  EXPECT_EQ(best_rate(one_seed({{1, 1, 1}, curve, curve, curve}), {4, 3, 2, 1})->index, 1);
}

// Oracle: the rule "a rate with any diverged seed counts as infinite", though its other seeds are
// best, or its diverged seed ends well.
TEST(BestRate, PassesOverARateWithADivergedSeed) {
  const std::vector<std::vector<Curve>> curves{{{1, 1, 0.5}, {1, 1, 0.5}},
                                               {{1, 1, 0.4}, {1, 1, 0.4}},
                                               {{1, 1e-9, 1e-9}, {1, kNaN, kNaN}},
                                               {{1, 1e-9, 1e-9}, {1, 2e6, 1e-9}}};
  const auto best = best_rate(curves, {1, 2, 3, 4});
  EXPECT_EQ(best->index, 1);
  EXPECT_EQ(best->diverged_rates, 2);
  EXPECT_EQ(best->tied, 1);
  EXPECT_FALSE(best->at_high_edge);
}

// Oracle: the rule "a best rate at an end of its range is flagged": the range of the rates given,
// in any order, though the rates beyond have diverged.
TEST(BestRate, FlagsTheEndsOfTheRange) {
  const Curve good{1, 1e-3};
  const Curve poor{1, 1};
  const Curve lost{1, kInfinity};
  const auto low = best_rate(one_seed({poor, good, poor}), {2, 1, 3});
  EXPECT_TRUE(low->at_low_edge);
  EXPECT_FALSE(low->at_high_edge);
  const auto high = best_rate(one_seed({poor, good, poor}), {2, 3, 1});
  EXPECT_FALSE(high->at_low_edge);
  EXPECT_TRUE(high->at_high_edge);
  const auto inside = best_rate(one_seed({poor, poor, good, lost}), {1, 2, 3, 4});
  EXPECT_FALSE(inside->at_low_edge || inside->at_high_edge);
  const auto only = best_rate(one_seed({good}), {1});
  EXPECT_FALSE(only->at_low_edge || only->at_high_edge);
}

TEST(BestRate, IsNothingWhenEveryRateHasDiverged) {
  const std::vector<std::vector<Curve>> curves{{{1, 1}, {1, kNaN}}, {{1, 1e7}, {1, 1}}};
  EXPECT_EQ(best_rate(curves, {1, 2}), std::nullopt);
}

TEST(BestRate, RefusesSizesThatDoNotFit) {
  const Curve curve{1, 0.5};
  EXPECT_THROW(best_rate(one_seed({curve, curve}), {1}), c10::Error);
  EXPECT_THROW(best_rate(one_seed({curve}), {1, 2}), c10::Error);
  EXPECT_THROW(best_rate({{curve, curve}, {curve}}, {1, 2}), c10::Error);
  EXPECT_THROW(best_rate({{}, {}}, {1, 2}), c10::Error);
  EXPECT_THROW(best_rate({{Curve{}}}, {1}), c10::Error);
}

}  // namespace
}  // namespace pcxx::metrics
