#include "linalg/information.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <hwy/targets.h>

#include "support/networks.h"

namespace pcxx::linalg {
namespace {

using test::relative_difference;

class Information : public testing::TestWithParam<std::int64_t> {
 protected:
  void SetUp() override { hwy::GetChosenTarget().Update(GetParam()); }
  void TearDown() override { hwy::GetChosenTarget().Update(hwy::SupportedTargets()); }
};

// Oracle: the rows and columns of V^T diag(w) V by LibTorch's matmul, of one network and of three.
TEST_P(Information, IsOfTheUnits) {
  for (const std::int64_t chosen : {1, 8, 19, 60}) {
    for (const bool ensemble : {false, true}) {
      SCOPED_TRACE(testing::Message() << chosen << " units" << (ensemble ? ", ensemble" : ""));
      const std::vector<std::int64_t> front =
          ensemble ? std::vector<std::int64_t>{3} : std::vector<std::int64_t>{};
      const auto shape = [&](std::vector<std::int64_t> own) {
        own.insert(own.begin(), front.begin(), front.end());
        return own;
      };
      const auto transposed = at::randn(shape({60, 101}), at::kDouble);
      const auto w = at::rand(shape({5, 101}), at::kDouble);
      const auto units = at::rand(shape({5, 60})).argsort(std::int64_t{-1}).narrow(-1, 0, chosen);
      const auto all =
          at::matmul(transposed.unsqueeze(-3) * w.unsqueeze(-2), transposed.mT().unsqueeze(-3));
      const auto row = units.unsqueeze(-1), column = units.unsqueeze(-2);
      const auto expected = all.take_along_dim(row, -2).take_along_dim(column, -1);
      const auto found = information(transposed, units, w);
      EXPECT_LT(relative_difference(found, expected), 1e-14);
      EXPECT_TRUE(at::equal(found, found.mT()));
      const auto single = information(transposed.to(at::kFloat), units, w.to(at::kFloat));
      EXPECT_LT(relative_difference(single.to(at::kDouble), expected), 1e-5);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, Information,
                         testing::ValuesIn(hwy::SupportedAndGeneratedTargets()));

}  // namespace
}  // namespace pcxx::linalg
