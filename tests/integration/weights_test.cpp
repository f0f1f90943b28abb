// The weights that the programs save, as a program in another language finds them.

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <pcxx/core/files.h>

#include <algorithm>
#include <filesystem>

#include "support/environment.h"
#include "support/idx_files.h"
#include "support/python.h"

namespace pcxx {
namespace {

namespace fs = std::filesystem;

using Words = std::vector<std::string>;

// Images of 6 x 5 pixels with labels 0 to 3, as IDX files.
void write_images(const fs::path& folder) {
  for (const auto& [split, count] : {std::pair("train", 64U), std::pair("test", 41U)}) {
    write_file(folder / fmt::format("{}_images", split), test::idx_file({count, 6, 5}));
    auto labels = test::some_bytes(count);
    for (auto& label : labels) label = static_cast<char>(label & 3);
    write_file(folder / fmt::format("{}_labels", split), test::idx_header({count}) + labels);
  }
}

// Oracle: numpy, which reads the files by the description of their format.
TEST(Weights, GiveTheirTestErrorInNumpy) {
  const auto interpreter = test::python_with("numpy");
  if (interpreter.empty()) GTEST_SKIP() << "no Python with numpy";
  const test::Variable drawing("PCXX_PYTHON", "/nonexistent");
  const struct {
    std::string program;
    Words labels;
    std::string widths;
  } programs[] = {{"classifier", {"test_labels"}, "[30,12,8,4]"},
                  {"autoencoder", {}, "[30,12,30]"}};
  const std::pair<std::string, std::string> precisions[] = {{"float64", "1e-12"},
                                                            {"float32", "1e-5"}};
  for (const auto& [name, labels, widths] : programs) {
    const auto program = PCXX_BINARY_DIR "/bin/pcxx-" + name;
    for (const auto& [dtype, tolerance] : precisions) {
      for (const std::string bias : {"true", "false"}) {
        SCOPED_TRACE(name + " " + dtype + " " + bias);
        const test::TemporaryFolder folder;
        write_images(folder.path());
        const auto out = (folder / "run").string();
        Words command{program, "--quiet", "--out", out};
        const auto set = [&](const std::string& key, const std::string& value) {
          command.insert(command.end(), {"--set", key + "=" + value});
        };
        set("dataset", "idx");
        for (const std::string split : {"train", "test"}) {
          set(split + "_images", (folder / (split + "_images")).string());
          if (!labels.empty()) {
            set(split + "_labels", (folder / (split + "_labels")).string());
          }
        }
        set("widths", widths);
        set("dtype", dtype);
        set("bias", bias);
        set("batch_size", "8");
        set("steps", "20");
        set("seeds", "2");
        set("learning_rate", "[0.02,0.05]");
        std::string text;
        ASSERT_EQ(test::run_command(command, text), 0) << text;

        Words check{interpreter, PCXX_SOURCE_DIR "/tests/integration/forward_pass.py", out,
                    (folder / "test_images").string()};
        for (const auto& file : labels) check.push_back((folder / file).string());
        check.insert(check.end(), {"--tolerance", tolerance});
        EXPECT_EQ(test::run_command(check, text), 0) << text;
        EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), labels.empty() ? 2 : 4) << text;
      }
    }
  }
}

}  // namespace
}  // namespace pcxx
