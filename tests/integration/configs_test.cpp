// The experiments of configs/ as the programs read them.

#include <gtest/gtest.h>

#include <filesystem>

#include "support/process.h"

namespace pcxx {
namespace {

namespace fs = std::filesystem;

// The program is a word of the name.
std::string program_of(const std::string& stem) {
  for (const std::string name :
       {"alignment", "regression", "autoencoder", "classifier", "trajectory"}) {
    if (stem.find(name) != std::string::npos) return "pcxx-" + name;
  }
  return "";
}

std::string print_config(const std::string& program, const fs::path& file) {
  const test::Process process({std::string(PCXX_BINARY_DIR) + "/bin/" + program, "--config",
                               file.string(), "--print-config"});
  EXPECT_EQ(process.wait(), 0) << process.errors();
  return process.out();
}

// Contract: every experiment resolves, and reading the result again changes nothing.
TEST(Configs, EveryExperimentResolves) {
  int count = 0;
  for (const auto& entry : fs::recursive_directory_iterator(PCXX_SOURCE_DIR "/configs")) {
    if (entry.path().extension() != ".toml") continue;
    if (entry.path().parent_path().filename() == "paper") continue;  // figures, not runs
    SCOPED_TRACE(entry.path());
    const auto program = program_of(entry.path().stem());
    ASSERT_FALSE(program.empty());
    const auto resolved = print_config(program, entry.path());
    EXPECT_GT(resolved.size(), 200U);
    const test::TemporaryFolder folder;
    write_file(folder / "resolved.toml", resolved);
    EXPECT_EQ(print_config(program, folder / "resolved.toml"), resolved);
    ++count;
  }
  EXPECT_GE(count, 25);
}

}  // namespace
}  // namespace pcxx
