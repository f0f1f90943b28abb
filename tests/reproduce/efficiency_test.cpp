// Made-up summaries, in which it is known whether alignment predicts efficiency.

#include "reproduce/efficiency.h"

#include <gtest/gtest.h>
#include <pcxx/core/files.h>

#include "support/temporary_folder.h"

namespace pcxx::reproduce {
namespace {

using Json = nlohmann::json;

Json model(int layers, const std::vector<double>& alignments, const Json& areas) {
  return {{"init", "kaiming"},
          {"hidden_layers", layers},
          {"mean_target_alignments", alignments},
          {"log_areas", areas}};
}

class Efficiency : public ::testing::Test {
 protected:
  std::vector<EfficiencyTask> tasks(const Json& models) {
    std::filesystem::create_directories(folder_ / "panels/p");
    write_file(folder_ / "panels/p/summary.json", Json{{"models", models}}.dump());
    return efficiency_tasks(Results(folder_.path()), {"p", "absent"}, "target_alignment");
  }
  test::TemporaryFolder folder_;
};

// Oracle: efficiency, minus the area, rises with alignment in one task and falls in the other, so
// that the ranks within tasks cancel: 1, -1 and 0.
TEST_F(Efficiency, IsCorrelatedWithinTasks) {
  const auto found = tasks({model(1, {0.1, 0.2}, {-1, -2}), model(1, {0.3, 0.4}, {-3, -9}),
                            model(8, {0.1, 0.2}, {-19, -8}), model(8, {0.3, 0.4}, {-7, -6})});
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].cell, "init kaiming, hidden_layers 1");
  EXPECT_EQ(found[0].alignments.size(), 4U);
  EXPECT_NEAR(found[0].correlation.rho, 1, 1e-12);
  EXPECT_NEAR(found[1].correlation.rho, -1, 1e-12);
  EXPECT_NEAR(pooled(found).rho, 0, 1e-12);
}

// Contract: a model without a rate has no runs, and is counted.
TEST_F(Efficiency, CountsModelsThatDiverged) {
  Json lost{{"init", "kaiming"}, {"hidden_layers", 1}, {"best_rate", nullptr}};
  const auto found = tasks({model(1, {0.1, 0.2, 0.3}, {-1, -2, -3}), lost, lost});
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].alignments.size(), 3U);
  EXPECT_EQ(found[0].diverged, 2U);
}

// Contract: a run without an area, which has diverged, is left out, and so is a task of too few.
TEST_F(Efficiency, LeavesOutWhatDiverged) {
  const auto found = tasks(
      {model(1, {0.1, 0.9, 0.2, 0.3}, {-1, nullptr, -2, -3}), model(8, {0.1, 0.2}, {-1, -2})});
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].alignments, (std::vector<double>{0.1, 0.2, 0.3}));
  EXPECT_NEAR(found[0].correlation.rho, 1, 1e-12);
}

}  // namespace
}  // namespace pcxx::reproduce
