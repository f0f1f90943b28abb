// The kept results of the paper's profile, a small slice of them run again.

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "support/csv.h"
#include "support/process.h"

namespace pcxx {
namespace {

using Row = std::map<std::string, std::string>;

// The rows of one panel and metric, of seed 0.
std::vector<Row> kept(const std::string& panel, const std::string& metric) {
  std::istringstream file(read_file(PCXX_SOURCE_DIR "/results/summary.csv"));
  std::string line;
  std::getline(file, line);
  const auto names = test::fields(line);
  std::vector<Row> rows;
  while (std::getline(file, line)) {
    const auto values = test::fields(line);
    if (values.size() != names.size()) continue;
    Row row;
    for (std::size_t i = 0; i < names.size(); ++i) row[names[i]] = values[i];
    if (row["panel"] == panel && row["metric"] == metric && row["seed"] == "0") rows.push_back(row);
  }
  return rows;
}

nlohmann::json run(std::vector<std::string> command) {
  const test::TemporaryFolder folder;
  const auto out = (folder / "run").string();
  command.front() = PCXX_BINARY_DIR "/bin/" + command.front();
  command.insert(command.end(), {"--quiet", "--set", "seeds=[0]", "--out", out});
  const test::Process process(std::move(command));
  EXPECT_EQ(process.wait(), 0) << process.errors();
  return nlohmann::json::parse(read_file(folder / "run/summary.json"));
}

std::string config(const std::string& name) {
  return PCXX_SOURCE_DIR "/configs/" + name + ".toml";
}

// Oracle: figure 2D as it was kept; alignments do not depend on the machine but for rounding.
TEST(Results, OfAlignmentComeOutAgain) {
  const auto again = run({"pcxx-alignment", "--config", config("fig2d_alignment"), "--set",
                          "width=128", "--set", "batch_size=1"});
  int compared = 0;
  for (auto row : kept("2D", "target_alignment")) {
    if (row["width"] != "128" || row["batch_size"] != "1") continue;
    for (const auto& cell : again["cells"]) {
      if (cell["model"] != row["model"]) continue;
      EXPECT_NEAR(cell["target_alignment"]["mean"].get<double>(), std::stod(row["value"]), 1e-9)
          << row["model"];
      ++compared;
    }
  }
  EXPECT_EQ(compared, 4);
}

// Oracle: figure 3B as it was kept, every model at the rate that was its best. Five hundred steps
// far from convergence keep nine digits on any machine.
TEST(Results, OfTrainingComeOutAgain) {
  int compared = 0;
  for (auto row : kept("3B", "final_error")) {
    if (row["model"] != "bp" && row["model"] != "pc") continue;
    const auto again = run({"pcxx-regression", "--config", config("fig3b_regression_1"), "--set",
                            "learning_rate=" + row["learning_rate"]});
    for (const auto& model : again["models"]) {
      if (model["model"] != row["model"]) continue;
      const double value = std::stod(row["value"]);
      EXPECT_NEAR(model["final_error"].get<double>() / value, 1, 1e-6) << row["model"];
      ++compared;
    }
  }
  EXPECT_EQ(compared, 2);
}

}  // namespace
}  // namespace pcxx
