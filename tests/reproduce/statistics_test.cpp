#include "reproduce/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

namespace pcxx::reproduce {
namespace {

using Numbers = std::vector<double>;

// Oracle: the density of Student's t, integrated by Simpson's rule.
double integrated(double t, int dof) {
  const double n = dof;
  const double scale =
      std::exp(std::lgamma((n + 1) / 2) - std::lgamma(n / 2)) / std::sqrt(n * std::numbers::pi);
  const auto density = [&](double x) { return scale * std::pow(1 + x * x / n, -(n + 1) / 2); };
  constexpr int kSteps = 2000;
  const double h = t / kSteps;
  double sum = density(0) + density(t);
  for (int i = 1; i < kSteps; ++i) sum += (i % 2 == 1 ? 4 : 2) * density(i * h);
  return 0.5 + sum * h / 3;
}

TEST(StudentT, IsTheIntegralOfItsDensity) {
  for (int dof = 1; dof <= 12; ++dof) {
    for (const double t : {-3.0, -0.7, 0.0, 0.2, 1.0, 2.5, 6.0}) {
      EXPECT_NEAR(student_t(t, dof), integrated(t, dof), 1e-9) << t << ", " << dof;
    }
  }
}

// Oracle: the tables of t at 0.975 and 0.995, and the normal distribution at many degrees.
TEST(StudentT, QuantilesAreThoseOfTheTables) {
  const std::vector<std::vector<double>> table{{1, 12.706205, 63.656741}, {2, 4.302653, 9.924843},
                                               {3, 3.182446, 5.840909},   {5, 2.570582, 4.032143},
                                               {9, 2.262157, 3.249836},   {10, 2.228139, 3.169273},
                                               {30, 2.042272, 2.749996}};
  for (const auto& row : table) {
    const int dof = static_cast<int>(row[0]);
    EXPECT_NEAR(student_t_quantile(0.975, dof), row[1], 1e-5) << dof;
    EXPECT_NEAR(student_t_quantile(0.995, dof), row[2], 1e-5) << dof;
    EXPECT_NEAR(student_t_quantile(0.025, dof), -row[1], 1e-5) << dof;
  }
  EXPECT_NEAR(student_t_quantile(0.975, 100000), 1.959964, 1e-4);
}

// Oracle: Student's own example (1908), hours of sleep gained by ten patients with two drugs.
TEST(PairedTTest, FindsWhatStudentFound) {
  const Numbers gained{1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4};
  const auto test = paired_t_test(gained);
  EXPECT_EQ(test.pairs, 10U);
  EXPECT_NEAR(test.mean, 1.58, 1e-12);
  EXPECT_NEAR(test.p_two_sided, 0.002833, 1e-6);
  EXPECT_NEAR(test.p_greater, 0.002833 / 2, 1e-6);
  EXPECT_NEAR(test.low, 0.7001142, 1e-6);
  EXPECT_NEAR(test.high, 2.4598858, 1e-6);
  EXPECT_NEAR(test.d, 4.0621277 / std::sqrt(10.0), 1e-6);
}

// Oracle: the same differences with the other sign.
TEST(PairedTTest, IsSymmetric) {
  const auto up = paired_t_test({0.3, 1.1, -0.2, 0.9});
  const auto down = paired_t_test({-0.3, -1.1, 0.2, -0.9});
  EXPECT_NEAR(up.p_greater, 1 - down.p_greater, 1e-14);
  EXPECT_DOUBLE_EQ(up.p_two_sided, down.p_two_sided);
  EXPECT_DOUBLE_EQ(up.low, -down.high);
}

// Oracle: the definition in the header.
TEST(PairedTTest, DecidesWithoutScatter) {
  const auto greater = paired_t_test({0.1, 0.1, 0.1});
  EXPECT_EQ(greater.p_greater, 0);
  EXPECT_EQ(greater.p_two_sided, 0);
  EXPECT_EQ(greater.low, 0.1);
  EXPECT_EQ(greater.d, std::numeric_limits<double>::infinity());
  const auto less = paired_t_test({-2, -2});
  EXPECT_EQ(less.p_greater, 1);
  EXPECT_EQ(less.p_two_sided, 0);
  const auto tied = paired_t_test({0, 0, 0});
  EXPECT_EQ(tied.p_greater, 1);
  EXPECT_EQ(tied.p_two_sided, 1);
  EXPECT_EQ(tied.d, 0);
  EXPECT_ANY_THROW(paired_t_test({1}));
}

// Oracle: by hand, sorted 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04 x 1, never falling, at most 1.
TEST(Holm, StepsDown) {
  const auto corrected = holm({0.01, 0.04, 0.03, 0.005});
  const Numbers expected{0.03, 0.06, 0.06, 0.02};
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(corrected[i], expected[i], 1e-15);
  EXPECT_EQ(holm({0.9, 0.8}), (Numbers{1, 1}));
  EXPECT_TRUE(holm({}).empty());
}

// Oracle: 1 - 6 sum d^2 / (n (n^2 - 1)) without ties, d = 1, 1, 1, 1, 0: 0.8; t and Fisher's z.
TEST(Spearman, IsTheFormulaOfRankDifferences) {
  const auto found = spearman({10, 20, 30, 40, 50}, {2, 1, 40, 3, 900});
  EXPECT_NEAR(found.rho, 0.8, 1e-14);
  EXPECT_NEAR(found.p, 0.104088, 1e-6);
  EXPECT_NEAR(found.low, std::tanh(std::atanh(0.8) - 1.959964 / std::sqrt(2)), 1e-6);
  EXPECT_NEAR(found.high, std::tanh(std::atanh(0.8) + 1.959964 / std::sqrt(2)), 1e-6);
}

// Oracle: by hand, ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: 4.5 / sqrt(4.5 x 5).
TEST(Spearman, SharesTheRanksOfTies) {
  EXPECT_NEAR(spearman({1, 5, 5, 9}, {1, 2, 3, 4}).rho, 4.5 / std::sqrt(22.5), 1e-14);
  const auto perfect = spearman({1, 2, 3, 4}, {4, 3, 2, 1});
  EXPECT_EQ(perfect.rho, -1);
  EXPECT_EQ(perfect.p, 0);
  EXPECT_EQ(spearman({1, 1, 1}, {1, 2, 3}).p, 1);
  EXPECT_ANY_THROW(spearman({1, 2, 3}, {1, 2}));
}

// Oracle: points on a line, and one moved off it by hand.
TEST(Slope, IsThatOfTheLine) {
  EXPECT_NEAR(slope({0, 1, 3}, {5, 3, -1}), -2, 1e-14);
  EXPECT_NEAR(slope({0, 1, 2}, {0, 7, 2}), 1, 1e-14);
  EXPECT_ANY_THROW(slope({1, 1}, {1, 2}));
}

}  // namespace
}  // namespace pcxx::reproduce
