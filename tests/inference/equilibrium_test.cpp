#include <gtest/gtest.h>
#include <pcxx/inference/equilibrium.h>

#include <cmath>

#include "support/networks.h"

namespace pcxx::inference {
namespace {

using test::random_batch;
using test::random_network;
using test::relative_difference;

// Oracle: a general solver (LU) on the whole of S. Output widths of one block, of whole blocks of
// the blocked factorisation and between them; one sample and several.
TEST(ClosedForm, OutputErrorSolvesTheEquationAtEveryWidth) {
  for (const std::int64_t width : {1, 64, 127, 128, 129, 192, 255}) {
    for (const std::int64_t batch_size : {1, 7}) {
      const auto network = random_network(nn::mlp({3, 150, width}));
      const auto batch = random_batch(*network, batch_size);
      const auto result = ClosedForm().infer(*network, batch);
      const auto r = batch.target - result.feedforward.prediction();
      const auto v = at::linalg_solve(energy_scaling(*network), r.mT()).mT();
      EXPECT_LT(relative_difference(result.errors[2], v), 1e-12) << width;
    }
  }
}

// Contract: a wide network whose S is not a number is reported, not thrown.
TEST(ClosedForm, ReportsAFailureOfTheBlockedFactorisation) {
  const auto network = random_network(nn::mlp({3, 4, 200}));
  const auto batch = random_batch(*network, 2);
  {
    const at::NoGradGuard no_grad;
    network->dense(2).weight[150].fill_(std::nan(""));
  }
  const auto result = ClosedForm().infer(*network, batch);
  EXPECT_TRUE(result.errors[2].isnan().all().item<bool>());
  EXPECT_FALSE(result.report.converged.any().item<bool>());
}

}  // namespace
}  // namespace pcxx::inference
