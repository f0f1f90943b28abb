// Misprints of the paper: the printed formula and the right one, in numbers.

#include <gtest/gtest.h>
#include <reproduce/misprints.h>

#include <cmath>
#include <map>

namespace pcxx::reproduce {
namespace {

struct Expected {
  std::string where;
  std::string measure;  // its beginning
  double right;
  double precision;
  double least;     // of the printed value
  double greatest;  // of the printed value
};

// Oracle: the theory. Alignments, ratios and condition numbers of the right formulas are known
// exactly, but for three. A descent by 200 steps of 0.05 in one hidden layer, whose Hessian
// I + W^T W has no eigenvalue below 1, leaves at most 0.95^200 = 3.5e-5 of the gradient; with steps
// 64 times smaller it leaves at least (1 - 0.05 * 2.5 / 64)^200 = 0.67, the largest eigenvalue
// being below 2.5 (||W||^2 < 4/3 for this initialisation). The map error has the expectation
// 1/20 + 1/180. The floor of alpha is 1/2.
const Expected kExpected[] = {
    {"eq. 33", "gradient", 0, 1e-12, 1.5, 10},
    {"eq. 30", "condition number", 100, 1e-9, 500, 1e12},
    {"Theorem 2, eq. 27 and 50", "target alignment", 1, 1e-9, -1, 0.99},
    {"Theorems 1 and 2", "target alignment", 1, 1e-9, -1, 0.99},
    {"eq. 47 to 49", "|change", 1, 1e-9, 0.0312499, 0.0312501},
    {"eq. 44", "|update", 1, 1e-12, 15.99999, 16.00001},
    {"eq. 63 to 66", "relative error", 0, 1e-12, 0.1, 10},
    {"appendix B.2", "largest residual", 0, 3.6e-5, 0.67, 1},
    {"appendix I, figure 6", "target alignment", 1, 1e-9, -1, 0.99},
    {"section 3.1.3", "error of the map", 1.0 / 20 + 1.0 / 180, 0.01, 18, 27},
    {"section 3.1.3", "target alignment", 1, 1e-9, -1, 0.9},
    {"Theorem 1, section 3.2", "smallest", 0.5, 1e-12, -1e9, 0},
};

TEST(Misprints, TheRightFormulaMeetsItsTheoryAndThePrintedOneDoesNot) {
  const auto found = misprints();
  ASSERT_EQ(found.size(), std::size(kExpected));
  for (std::size_t i = 0; i < found.size(); ++i) {
    const auto& expected = kExpected[i];
    SCOPED_TRACE(expected.where);
    EXPECT_EQ(found[i].where, expected.where);
    EXPECT_TRUE(found[i].measure.starts_with(expected.measure)) << found[i].measure;
    EXPECT_NEAR(found[i].right_value, expected.right, expected.precision);
    EXPECT_GE(found[i].printed_value, expected.least);
    EXPECT_LE(found[i].printed_value, expected.greatest);
    EXPECT_NE(found[i].printed, found[i].right);
  }
}

// Oracle: both conventions measure the same map, and differ by the number of its entries.
TEST(Misprints, TheMapErrorsDifferByTheNumberOfEntries) {
  for (const auto& misprint : misprints()) {
    if (!misprint.measure.starts_with("error of the map")) continue;
    EXPECT_NEAR(misprint.printed_value / misprint.right_value, 20 * 20, 1e-9);
  }
}

// Contract: the same numbers at every call.
TEST(Misprints, AreRepeatable) {
  const auto first = misprints();
  const auto second = misprints();
  for (std::size_t i = 0; i < first.size(); ++i) {
    EXPECT_EQ(first[i].printed_value, second[i].printed_value) << first[i].where;
    EXPECT_EQ(first[i].right_value, second[i].right_value) << first[i].where;
  }
}

}  // namespace
}  // namespace pcxx::reproduce
