#include <gtest/gtest.h>
#include <pcxx/core/files.h>

#include <filesystem>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "support/includes.h"

namespace {

namespace fs = std::filesystem;

using pcxx::test::included_path;

// A package includes itself and packages of a lower level; packages of one level stay apart.
const std::map<std::string, int> kLevels = {
    {"core", 0},  {"config", 1},   {"linalg", 1},    {"nn", 2},       {"data", 2},
    {"io", 3},    {"ensemble", 3}, {"inference", 3}, {"learning", 4}, {"metrics", 5},
    {"optim", 6}, {"parallel", 7}, {"catalog", 8},   {"run", 9},      {"train", 10}};

struct Include {
  std::string from;   // the package of the file, its first folder
  std::string path;   // what stands between <> or ""
  std::string place;  // file:line
};

// The package of ours that an included path belongs to; nothing for other libraries, and for
// headers in no package.
std::optional<std::string> included_package(const std::string& path) {
  const bool is_public = path.starts_with("pcxx/");
  const auto rest = is_public ? path.substr(5) : path;
  const auto slash = rest.find('/');
  if (slash == std::string::npos) return std::nullopt;
  const auto package = rest.substr(0, slash);
  if (!is_public && !kLevels.contains(package)) return std::nullopt;
  return package;
}

// One sentence for each include that breaks the rule.
std::vector<std::string> violations(const std::vector<Include>& includes) {
  std::vector<std::string> found;
  for (const auto& include : includes) {
    const auto to = included_package(include.path);
    if (!to || *to == include.from) continue;
    if (!kLevels.contains(include.from)) {
      found.push_back(include.place + ": package " + include.from + " has no level");
    } else if (!kLevels.contains(*to)) {
      found.push_back(include.place + ": package " + *to + " has no level");
    } else if (kLevels.at(*to) >= kLevels.at(include.from)) {
      found.push_back(include.place + ": " + include.from + " includes " + include.path);
    }
  }
  return found;
}

std::vector<Include> includes_below(const fs::path& root) {
  std::vector<Include> includes;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    const auto relative = entry.path().lexically_relative(root);
    if (!entry.is_regular_file() || !relative.has_parent_path()) continue;
    std::istringstream text(pcxx::read_file(entry.path()));
    int number = 0;
    for (std::string line; std::getline(text, line);) {
      ++number;
      if (const auto path = included_path(line)) {
        includes.push_back(
            {relative.begin()->string(), *path, relative.string() + ":" + std::to_string(number)});
      }
    }
  }
  return includes;
}

// Oracle: the table of levels above, against every #include of the library.
TEST(Layering, PackagesIncludeOnlyLowerOnes) {
  const fs::path lib = fs::path(PCXX_SOURCE_DIR) / "lib";
  for (const auto& root : {lib / "include" / "pcxx", lib / "src"}) {
    const auto includes = includes_below(root);
    ASSERT_GT(includes.size(), 20U) << root;
    for (const auto& violation : violations(includes)) ADD_FAILURE() << violation;
  }
}

// Oracle: a list made up by hand, with one include for each way to be right and to be wrong.
TEST(Layering, RuleFindsUpwardAndSidewaysIncludes) {
  const std::vector<Include> right = {{"inference", "pcxx/nn/dense.h", "a"},
                                      {"inference", "inference/sample_control.h", "b"},
                                      {"optim", "pcxx/core/error.h", "c"},
                                      {"core", "ATen/core/Tensor.h", "d"},
                                      {"core", "vector", "e"},
                                      {"train", "pcxx/metrics/alignment.h", "f"}};
  EXPECT_TRUE(violations(right).empty());

  const std::vector<Include> wrong = {{"nn", "pcxx/data/batch.h", "sideways"},
                                      {"core", "pcxx/config/config.h", "upward"},
                                      {"metrics", "optim/members.h", "private, sideways"},
                                      {"nn", "pcxx/news/a.h", "to nowhere"},
                                      {"news", "pcxx/nn/dense.h", "from nowhere"}};
  EXPECT_EQ(violations(wrong).size(), wrong.size());
}

// Oracle: lines written by hand.
TEST(Layering, ReadsIncludeLines) {
  EXPECT_EQ(included_path("#include <pcxx/nn/dense.h>  // why"), "pcxx/nn/dense.h");
  EXPECT_EQ(included_path("#  include \"optim/members.h\""), "optim/members.h");
  EXPECT_EQ(included_path("// #include <pcxx/nn/dense.h>"), std::nullopt);
  EXPECT_EQ(included_path("#pragma once"), std::nullopt);
}

}  // namespace
