#include <gtest/gtest.h>
#include <pcxx/core/files.h>

#include <filesystem>
#include <set>
#include <sstream>
#include <string>

#include "support/includes.h"

namespace {

namespace fs = std::filesystem;

using pcxx::test::included_path;

// All of LibTorch at once: seconds for every file that includes a header of ours.
const std::set<std::string> kWhole = {"torch/torch.h", "torch/all.h", "torch/extension.h",
                                      "ATen/ATen.h"};

// What an installed header may include: ours, the standard library, and the three libraries that
// pcxxConfig.cmake finds for the user; of LibTorch no more than it needs.
bool is_allowed(const std::string& path) {
  if (kWhole.contains(path)) return false;
  for (const auto* library : {"pcxx/", "ATen/", "c10/", "torch/", "fmt/", "nlohmann/"}) {
    if (path.starts_with(library)) return true;
  }
  return path.find_first_of("/.") == std::string::npos;
}

// Oracle: the rule above, against every #include of the public headers.
TEST(PublicHeaders, IncludeOnlyWhatTheirUsersHave) {
  const fs::path source = PCXX_SOURCE_DIR;
  int headers = 0;
  for (const auto& root : {source / "lib/include", source / "apps/include"}) {
    for (const auto& entry : fs::recursive_directory_iterator(root)) {
      if (!entry.is_regular_file()) continue;
      ++headers;
      std::istringstream text(pcxx::read_file(entry.path()));
      for (std::string line; std::getline(text, line);) {
        const auto path = included_path(line);
        EXPECT_TRUE(!path || is_allowed(*path)) << entry.path() << " includes " << *path;
      }
    }
  }
  EXPECT_GT(headers, 50);
}

// Oracle: paths made up by hand, with one for each way to be right and to be wrong.
TEST(PublicHeaders, RuleFindsForeignAndWholeIncludes) {
  for (const auto* right : {"vector", "pcxx/nn/dense.h", "ATen/core/Tensor.h", "c10/core/Device.h",
                            "torch/nn/pimpl.h", "fmt/format.h", "nlohmann/json.hpp"}) {
    EXPECT_TRUE(is_allowed(right)) << right;
  }
  for (const auto* wrong : {"torch/torch.h", "ATen/ATen.h", "toml++/toml.h", "cxxopts.hpp",
                            "hwy/highway.h", "zlib.h", "core/text.h", "sys/types.h"}) {
    EXPECT_FALSE(is_allowed(wrong)) << wrong;
  }
}

}  // namespace
