// Programs that are stopped in the middle of a job, and go on.

#include <gtest/gtest.h>
#include <pcxx/core/files.h>

#include <chrono>
#include <map>
#include <thread>

#include "support/environment.h"
#include "support/process.h"
#include "support/temporary_folder.h"

namespace pcxx {
namespace {

namespace fs = std::filesystem;

using Words = std::vector<std::string>;

const std::string kProgram = PCXX_BINARY_DIR "/bin/pcxx-autoencoder";
const fs::path kCheckpoint = "parts/job0.checkpoint.safetensors";

// One job of about a second, and one that is not begun when the first is stopped.
Words command(const Words& more) {
  Words words{kProgram,    "--quiet",
              "--threads", "1",
              "--set",     "rule=pc",
              "--set",     "dataset=digits",
              "--set",     "samples=200",
              "--set",     "test_samples=50",
              "--set",     "widths=[784,24,784]",
              "--set",     "steps=150",
              "--set",     "test_every=40",
              "--set",     "seeds=[4,9]",
              "--set",     "learning_rate=0.01"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

Words operator+(Words a, const Words& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

int run(const Words& more, std::string* errors = nullptr) {
  const test::Process process(command(more));
  const int code = process.wait();
  if (errors != nullptr) *errors = process.errors();
  return code;
}

// Sends the signal once the first job has left a checkpoint.
struct Stopped {
  int code;
  std::string errors;
};
Stopped stop(int signal, const fs::path& out, const Words& more) {
  const test::Process process(command(more + Words{"--out", out.string()}));
  for (int i = 0; i < 60'000 && !fs::exists(out / kCheckpoint); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  process.signal(signal);
  const int code = process.wait();
  return {code, process.errors()};
}

// Weights and measurements, by file.
std::map<std::string, std::string> results(const fs::path& folder) {
  std::map<std::string, std::string> found;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto name = entry.path().filename().string();
    if (name == "metrics.csv" || name == "summary.json" || name.starts_with("weights")) {
      found[name] = read_file(entry.path());
    }
  }
  return found;
}

class Resume : public ::testing::Test {
 protected:
  test::TemporaryFolder folder_;
  test::CurrentFolder current_{folder_.path()};
  test::Variable python_{"PCXX_PYTHON", "/nonexistent"};
};

// Oracle: the uninterrupted run, byte for byte.
TEST_F(Resume, AStoppedProgramGivesTheSameResults) {
  for (const std::string optimizer : {"sgd", "adam"}) {
    for (const std::string rescaling : {"none", "recursive_projection"}) {
      SCOPED_TRACE(optimizer + " " + rescaling);
      const Words model{"--set", "optimizer=" + optimizer, "--set", "rescaling=" + rescaling};
      ASSERT_EQ(run(model + Words{"--out", "whole"}), 0);
      const auto expected = results("whole");
      ASSERT_EQ(expected.size(), 4U);

      const auto terminated =
          stop(SIGTERM, "terminated", model + Words{"--set", "checkpoint_every=10"});
      EXPECT_EQ(terminated.code, 130);
      EXPECT_EQ(terminated.errors,
                "pcxx-autoencoder: interrupted with 0 of 2 jobs done and 1 begun; no results were "
                "written; go on with: pcxx-autoencoder --resume --out terminated\n");
      ASSERT_TRUE(fs::exists("terminated" / kCheckpoint));

      const auto killed = stop(SIGKILL, "killed", model + Words{"--set", "checkpoint_every=3"});
      EXPECT_EQ(killed.code, -1);
      ASSERT_TRUE(fs::exists("killed" / kCheckpoint));
      EXPECT_FALSE(fs::exists("killed/parts/job0.safetensors")) << "it was too late";

      for (const std::string name : {"terminated", "killed"}) {
        const test::Process resumed({kProgram, "--resume", "--quiet", "--out", name});
        ASSERT_EQ(resumed.wait(), 0) << resumed.errors();
        EXPECT_TRUE(results(name) == expected) << name;
        EXPECT_FALSE(fs::exists(fs::path(name) / "parts"));
        fs::remove_all(name);
      }
      fs::remove_all("whole");
    }
  }
}

// Contract: one sentence with the file's name, exit code 2, and the checkpoint stays.
TEST_F(Resume, ACheckpointThatDoesNotFitIsRefused) {
  const Words often{"--set", "checkpoint_every=3"};
  ASSERT_EQ(stop(SIGTERM, "a", often).code, 130);
  ASSERT_EQ(stop(SIGTERM, "b", often + Words{"--set", "batch_size=32"}).code, 130);
  const auto file = "a" / kCheckpoint;
  const auto good = read_file(file);
  const auto refused = [&](const std::string& part) {
    std::string errors;
    EXPECT_EQ(run(often + Words{"--resume", "--out", "a"}, &errors), 2);
    EXPECT_TRUE(
        errors.starts_with("pcxx-autoencoder: 'a/parts/job0.checkpoint.safetensors' " + part))
        << errors;
    EXPECT_EQ(errors.find('\n'), errors.size() - 1) << errors;
    EXPECT_TRUE(fs::exists(file));
  };
  write_file(file, good.substr(0, good.size() / 2));
  refused("is damaged");
  write_file(file, read_file("b" / kCheckpoint));
  refused("is of a run with batch_size = 32, not 64");
  write_file(file, good);
  EXPECT_EQ(run(often + Words{"--resume", "--out", "a"}), 0);
}

}  // namespace
}  // namespace pcxx
