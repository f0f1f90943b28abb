// What the programs say about inference.

#include <gtest/gtest.h>
#include <pcxx/core/files.h>

#include <nlohmann/json.hpp>

#include "support/environment.h"
#include "support/process.h"
#include "support/temporary_folder.h"

namespace pcxx {
namespace {

using Words = std::vector<std::string>;

class InferenceApps : public ::testing::Test {
 protected:
  static std::string run(const std::string& name, const Words& more, std::string* out = nullptr) {
    Words words{std::string(PCXX_BINARY_DIR) + "/bin/" + name, "--out", "a"};
    words.insert(words.end(), more.begin(), more.end());
    const test::Process process(words);
    EXPECT_EQ(process.wait(), 0) << process.errors();
    if (out != nullptr) *out = process.out();
    return process.errors();
  }

  static nlohmann::json summary() { return nlohmann::json::parse(read_file("a/summary.json")); }

  test::TemporaryFolder folder_;
  test::CurrentFolder current_{folder_.path()};
  test::Variable python_{"PCXX_PYTHON", "/nonexistent"};
};

// Oracle: the closed form, which pcxx-inference measures the others against. Step sizes that have
// no solver, and solvers that have no step size, are left out of the grid.
TEST_F(InferenceApps, SolversReachTheClosedForm) {
  std::string out;
  run("pcxx-inference", {"--set", "task=teacher",
                         "--set", "architecture=dln",
                         "--set", "widths=[]",
                         "--set", "width=12",
                         "--set", "hidden_layers=3",
                         "--set", "batch_size=9",
                         "--set", "dtype=float64",
                         "--set", "inference=[lbfgs,error_descent,state_descent,closed_form]",
                         "--set", "inference_step_size=[0,0.1]",
                         "--set", "inference_steps=400",
                         "--set", "inference_tolerance=1e-6",
                         "--set", "inference_energy_tolerance=0",
                         "--set", "seeds=2"},
      &out);
  const auto solvers = summary()["solvers"];
  std::vector<std::string> names;
  for (const auto& solver : solvers) {
    names.push_back(solver["solver"]);
    EXPECT_LT(std::abs(solver["final_energy_gap"].get<double>()), 1e-6) << names.back();
    EXPECT_NE(out.find(names.back()), std::string::npos);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"lbfgs", "error_descent", "error_descent, step 0.1",
                                             "state_descent, step 0.1", "closed_form"}));
  EXPECT_EQ(solvers[4]["passes_to_0.0001"], 1);
  EXPECT_EQ(solvers[0]["inference_converged"], 1);
  EXPECT_LT(solvers[0]["passes_to_0.0001"], solvers[2]["passes_to_0.0001"]);
}

// Contract: a fixed step that training has made unstable ends its run at once, by name; the run is
// recorded as diverged, others go on.
TEST_F(InferenceApps, AnUnstableStepEndsItsRun) {
  const auto errors = run("pcxx-autoencoder", {"--set", "dataset=digits",
                                               "--set", "samples=300",
                                               "--set", "test_samples=50",
                                               "--set", "widths=[784,40,20,40,784]",
                                               "--set", "rule=pc",
                                               "--set", "seeds=1",
                                               "--set", "learning_rate=[1e-3,10]",
                                               "--set", "steps=12",
                                               "--set", "test_every=4",
                                               "--set", "inference=error_descent",
                                               "--set", "inference_step_size=0.12",
                                               "--set", "inference_steps=60"});
  EXPECT_TRUE(
      errors.starts_with("pcxx-autoencoder: pc, learning_rate 10, seed 0: ended as diverged "
                         "at step "))
      << errors;
  EXPECT_NE(errors.find("a step of 0.12 is unstable for "), std::string::npos) << errors;
  EXPECT_EQ(errors.find('\n'), errors.size() - 1) << errors;
  const auto model = summary()["models"][0];
  EXPECT_EQ(model["best_rate"], 1e-3);
  EXPECT_EQ(model["diverged_runs"], 1);
  EXPECT_EQ(model["unstable_inference_runs"], 1);
  const auto metrics = read_file("a/metrics.csv");
  EXPECT_NE(metrics.find(",inference_unstable_at,"), std::string::npos);
  EXPECT_NE(metrics.find(",inference_curvature,"), std::string::npos);
}

// Contract: the same of a regression, whose runs learn side by side: those of the larger rate end.
TEST_F(InferenceApps, AnUnstableStepEndsARegressionToo) {
  const auto errors =
      run("pcxx-regression", {"--set", "rule=pc", "--set", "architecture=relu", "--set", "width=12",
                              "--set", "seeds=2", "--set", "learning_rate=[1e-3,1]", "--set",
                              "steps=12", "--set", "inference=error_descent", "--set",
                              "inference_step_size=0.5", "--set", "inference_steps=60"});
  EXPECT_TRUE(
      errors.starts_with("pcxx-regression: pc, seed 0 to 1: 2 of 4 runs ended as diverged "
                         "at step "))
      << errors;
  EXPECT_NE(errors.find("a step of 0.5 is unstable for "), std::string::npos) << errors;
  EXPECT_EQ(errors.find('\n'), errors.size() - 1) << errors;
  const auto model = summary()["models"][0];
  EXPECT_EQ(model["best_rate"], 1e-3);
  EXPECT_EQ(model["unstable_inference_runs"], 2);
  EXPECT_EQ(model["diverged"].size(), 2);
  EXPECT_GT(model["inference_passes"], 1);
  EXPECT_NE(read_file("a/metrics.csv").find(",inference_unstable_at,"), std::string::npos);
}

}  // namespace
}  // namespace pcxx
