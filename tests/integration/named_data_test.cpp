// What a user names, data and limits, is used or refused by the built programs.

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <pcxx/core/files.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "support/environment.h"
#include "support/idx_files.h"
#include "support/process.h"
#include "support/temporary_folder.h"

namespace pcxx {
namespace {

namespace fs = std::filesystem;

using Words = std::vector<std::string>;

struct Outcome {
  int code;
  std::string out;
  std::string errors;
};

Outcome run(const std::string& program, const Words& words) {
  Words command{std::string(PCXX_BINARY_DIR) + "/bin/" + program};
  command.insert(command.end(), words.begin(), words.end());
  const test::Process process(command);
  const int code = process.wait();
  return {code, process.out(), process.errors()};
}

// A small autoencoder of images of 12 pixels.
Outcome run_autoencoder(const Words& more) {
  Words words{"--threads", "1"};
  for (const char* assignment :
       {"rule=bp", "learning_rate=0.1", "seeds=1", "steps=1", "batch_size=2", "widths=[12,3,12]"}) {
    words.insert(words.end(), {"--set", assignment});
  }
  words.insert(words.end(), more.begin(), more.end());
  return run("pcxx-autoencoder", words);
}

// Exit code 2, and one sentence with `part` on stderr.
void expect_refused(const Outcome& outcome, const std::string& part) {
  EXPECT_EQ(outcome.code, 2) << outcome.errors;
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(outcome.errors.find('\n'), outcome.errors.size() - 1) << outcome.errors;
  EXPECT_NE(outcome.errors.find(part), std::string::npos) << outcome.errors;
}

// Every test has a current folder with a small data set, and no Python that could draw.
class NamedData : public ::testing::Test {
 protected:
  NamedData() {
    fs::create_directories("store/mnist");
    for (const std::string split : {"train", "t10k"}) {
      write_file("store/mnist/" + split + "-images-idx3-ubyte", test::idx_file({6, 4, 3}));
      write_file("store/mnist/" + split + "-labels-idx1-ubyte", test::idx_file({6}));
    }
  }

  static std::string dataset_of(const fs::path& folder) {
    return nlohmann::json::parse(read_file(folder / "summary.json"))["dataset"];
  }

  test::TemporaryFolder folder_;
  test::CurrentFolder current_{folder_.path()};
  test::Variable python_{"PCXX_PYTHON", "/nonexistent"};
  test::Variable data_{"PCXX_DATA_DIR", std::nullopt};
};

// Contract: a name that leads nowhere is refused, whoever gave it; drawn digits do not stand in.
TEST_F(NamedData, IsNotReplacedByDigits) {
  fs::create_directory("pictures");
  write_file("pictures/1.png", "");
  const struct {
    std::string folder;
    std::string part;
  } cases[] = {{"nowhere", "there is no folder 'nowhere' (--data)"},
               {"pictures", "it holds '1.png'"},
               {"pictures/1.png", "is a file"},
               {"store/mnist", "name the folder above it"},
               {"~/data", "whose ~ the shell has left"}};
  for (const auto& [name, part] : cases) {
    expect_refused(run_autoencoder({"--data", name}), part);
    expect_refused(run_autoencoder({"--set", "data=" + name}), part);
  }
  {
    const test::Variable data("PCXX_DATA_DIR", "~/data");
    expect_refused(run_autoencoder({}), "'~/data' (PCXX_DATA_DIR)");
  }
  expect_refused(run_autoencoder({"--set", "dataset=digits", "--set", "train_images=a"}),
                 "train_images = 'a' is for dataset = 'idx'");
  expect_refused(run_autoencoder({"--set", "test_images=a"}), "train_images");
  expect_refused(run_autoencoder({"--data", "store", "--set", "train_images=a"}), "'store'");
  expect_refused(run("pcxx-inference", {"--set", "task=teacher", "--data", "store"}), "'teacher'");
  EXPECT_FALSE(fs::exists("runs"));
}

// Contract: the first line of the output says which data set was taken and from where.
TEST_F(NamedData, IsUsedAndTold) {
  const auto expect_used = [](const Outcome& outcome, const std::string& line,
                              const std::string& dataset) {
    ASSERT_EQ(outcome.code, 0) << outcome.errors;
    EXPECT_EQ(outcome.out.substr(0, outcome.out.find('\n')), line);
    EXPECT_EQ(dataset_of("a"), dataset);
  };
  expect_used(run_autoencoder({"--out", "a", "--data", "store"}),
              "dataset: mnist, from 'store/mnist'", "mnist");
  {
    const test::Variable data("PCXX_DATA_DIR", "store");
    expect_used(run_autoencoder({"--out", "a"}), "dataset: mnist, from 'store/mnist'", "mnist");
  }
  const std::string images = "store/mnist/train-images-idx3-ubyte";
  expect_used(run_autoencoder({"--out", "a", "--set", "train_images=" + images, "--set",
                               "test_images=" + images}),
              fmt::format("dataset: idx, from '{}' and '{}'", images, images), "idx");
  fs::create_directories("tv/MNIST");
  fs::rename("store/mnist", "tv/MNIST/raw");
  expect_used(run_autoencoder({"--out", "a", "--data", "tv"}),
              "dataset: mnist, from 'tv/MNIST/raw'", "mnist");
  expect_used(run_autoencoder({"--out", "a", "--set", "widths=[784,3,784]", "--set", "samples=9",
                               "--set", "test_samples=9"}),
              "dataset: digits, drawn by the program", "digits");
  expect_used(
      run_autoencoder({"--out", "a", "--data", "tv", "--set", "dataset=digits", "--set",
                       "widths=[784,3,784]", "--set", "samples=9", "--set", "test_samples=9"}),
      "dataset: digits, drawn by the program", "digits");
}

// Contract: what no machine holds, or float32, is bad input: exit code 2 and one sentence that
// names the key, before anything is allocated.
TEST_F(NamedData, NumbersHaveLimits) {
  const struct {
    std::string program;
    Words assignments;
    std::string part;
  } cases[] = {
      {"pcxx-autoencoder", {"learning_rate=1e39"}, "learning_rate = 1e+39"},
      {"pcxx-regression", {"dtype=float32", "learning_rate=[0.1,3e38]"}, "learning_rate = 3e+38"},
      {"pcxx-regression", {"steps=9223372036854775807"}, "steps = 9223372036854775807"},
      {"pcxx-regression", {"steps=4e12"}, "steps = 4000000000000"},
      {"pcxx-regression", {"steps=1000000000", "seeds=1000"}, "steps = 1"},
      {"pcxx-regression", {"width=1000000"}, "the weights of a network"},
      {"pcxx-regression", {"width=1", "inputs=1000000", "outputs=1000000"}, "the teacher's map"},
      {"pcxx-regression", {"batch_size=10000000", "width=100000"}, "batch_size = 1"},
      {"pcxx-regression", {"batch_size=1e18"}, "batch_size = 1"},
      {"pcxx-regression",
       {"rule=kpc", "inputs=1000000", "width=2", "outputs=1"},
       "what rule = 'kpc'"},
      {"pcxx-alignment", {"held_out=9e18"}, "held_out = 9"},
      {"pcxx-alignment", {"held_out=10000000", "width=100000"}, "held_out = 1"},
      {"pcxx-classifier", {"samples=9223372036854775807"}, "samples = 9"},
      {"pcxx-classifier", {"test_at=[9223372036854775807]"}, "test_at = 9"},
      {"pcxx-classifier",
       {"dataset=digits", "samples=9", "test_samples=9", "epochs=1e18"},
       "epochs = 1"},
      {"pcxx-autoencoder", {"rank_timeout=1e300"}, "rank_timeout = 1e+300"},
      {"pcxx-inference", {"inference_steps=9e18"}, "inference_steps = 9"},
      {"pcxx-trajectory", {"steps=1e12"}, "steps = 1"},
      {"pcxx-trajectory", {"dtype=float32", "weight=1e300"}, "weight = 1e+300"},
      {"pcxx-trajectory", {"dtype=float32", "target=[1,-1e39]"}, "target = -1e+39"},
  };
  for (const auto& [program, assignments, part] : cases) {
    Words words;
    for (const auto& assignment : assignments) words.insert(words.end(), {"--set", assignment});
    SCOPED_TRACE(program + " " + assignments.front());
    expect_refused(run(program, words), part);
  }
}

}  // namespace
}  // namespace pcxx
