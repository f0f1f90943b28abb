#include <gtest/gtest.h>
#include <pcxx/core/share.h>

#include "support/environment.h"

namespace pcxx {
namespace {

namespace fs = std::filesystem;

// Contract: a build that is not installed takes its source tree. The installed tree has a test of
// its own in tests/package.
TEST(Share, IsTheSourceTreeOfABuild) {
  const test::Variable unset("PCXX_SHARE", std::nullopt);
  EXPECT_TRUE(fs::equivalent(share_folder(), PCXX_SOURCE_DIR)) << share_folder();
  EXPECT_TRUE(fs::exists(share_folder() / "plots/regression.py"));
  EXPECT_TRUE(fs::exists(share_folder() / "configs/paper/figure2.toml"));
}

// Contract: the environment decides, unless it is empty.
TEST(Share, IsWhatTheEnvironmentSays) {
  {
    const test::Variable chosen("PCXX_SHARE", "/some where");
    EXPECT_EQ(share_folder(), "/some where");
  }
  const test::Variable empty("PCXX_SHARE", "");
  EXPECT_TRUE(fs::equivalent(share_folder(), PCXX_SOURCE_DIR)) << share_folder();
}

}  // namespace
}  // namespace pcxx
