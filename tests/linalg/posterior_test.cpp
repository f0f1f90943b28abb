#include "linalg/posterior.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <hwy/targets.h>

#include "support/networks.h"

namespace pcxx::linalg {
namespace {

using test::relative_difference;

// n unknowns of which `known` directions have information and `uncertain` ones a variance.
struct Case {
  std::int64_t n;
  std::int64_t known;
  std::int64_t uncertain;
};

class Posterior : public testing::TestWithParam<std::int64_t> {
 protected:
  void SetUp() override { hwy::GetChosenTarget().Update(GetParam()); }
  void TearDown() override { hwy::GetChosenTarget().Update(hwy::SupportedTargets()); }
};

at::Tensor semidefinite(std::int64_t n, std::int64_t rank) {
  const auto root = at::randn({2, 3, n, rank}, at::kDouble);
  return at::matmul(root, root.mT()) / static_cast<double>(n);
}

// Oracle: a solve with LAPACK's pivoted LU of the definition, in float64.
TEST_P(Posterior, IsItsDefinition) {
  for (const auto& [n, known, uncertain] : std::vector<Case>{
           {1, 1, 1}, {2, 2, 1}, {16, 16, 16}, {17, 5, 17}, {33, 33, 4}, {130, 200, 130}}) {
    SCOPED_TRACE(testing::Message() << n << " unknowns, " << known << " known");
    const auto information = semidefinite(n, known);
    const auto gamma = semidefinite(n, uncertain);
    const auto h = at::matmul(information, at::randn({2, 3, n, 1}, at::kDouble)).squeeze(-1);
    const auto expected = at::linalg_solve(at::matmul(information, gamma) + at::eye(n, at::kDouble),
                                           at::cat({information, h.unsqueeze(-1)}, -1));
    const auto found = posterior(information, gamma, h);
    EXPECT_LT(relative_difference(found, expected), 1e-13);
    const auto left = found.narrow(-1, 0, n);
    EXPECT_TRUE(at::equal(left, left.mT()));
    const auto single =
        posterior(information.to(at::kFloat), gamma.to(at::kFloat), h.to(at::kFloat));
    EXPECT_LT(relative_difference(single.to(at::kDouble), expected), 1e-5);
  }
}

// Contract: information that leaves nothing of the prior in float32's rounding still gives finite
// numbers that are symmetric and have a diagonal >= 0, as the posterior's own has.
TEST_P(Posterior, StaysFiniteWhereThePriorIsLostInRounding) {
  for (const std::int64_t n : {8, 33, 100}) {
    const auto information = (semidefinite(n, n / 2) * 1e9).to(at::kFloat);
    const auto gamma = (semidefinite(n, n) * 1e3).to(at::kFloat);
    const auto found = posterior(information, gamma, at::zeros({2, 3, n}, at::kFloat));
    EXPECT_TRUE(found.isfinite().all().item<bool>());
    const auto left = found.narrow(-1, 0, n);
    EXPECT_TRUE(at::equal(left, left.mT()));
    EXPECT_GE(left.diagonal(0, -2, -1).min().item<double>(), 0);
  }
}

// Invariant: what is not a number does not come out as one.
TEST_P(Posterior, KeepsNaN) {
  auto information = semidefinite(20, 20);
  information[1][2][4][4] = std::numeric_limits<double>::quiet_NaN();
  const auto found =
      posterior(information, semidefinite(20, 20), at::ones({2, 3, 20}, at::kDouble));
  EXPECT_TRUE(found[1][2].isnan().any().item<bool>());
  EXPECT_FALSE(found[0].isnan().any().item<bool>());
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, Posterior,
                         testing::ValuesIn(hwy::SupportedAndGeneratedTargets()));

}  // namespace
}  // namespace pcxx::linalg
