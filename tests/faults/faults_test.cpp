// Small runs of every program, interrupted at every operation on their files.

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <pcxx/core/files.h>
#include <pcxx/programs.h>
#include <pcxx/run/program.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "faults/preloaded.h"
#include "reproduce/reproduce.h"
#include "support/environment.h"
#include "support/small_program.h"
#include "support/temporary_folder.h"

namespace pcxx {
namespace {

namespace fs = std::filesystem;

using Words = std::vector<std::string>;

Words operator+(Words a, const Words& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

struct Fault {
  const char* name;
  int error = 0;  // 0: a kill
  bool from_then_on = false;
};

constexpr Fault kFaults[] = {{"kill"},
                             {"ENOSPC once", ENOSPC},
                             {"ENOSPC from then on", ENOSPC, true},
                             {"EIO once", EIO},
                             {"EIO from then on", EIO, true},
                             {"EINTR once", EINTR},
                             {"EINTR from then on", EINTR, true}};

struct Ending {
  int status = 0;      // of waitpid
  bool struck = true;  // whether the run came as far as the fault
  std::string errors = {};

  bool killed() const { return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL; }
  bool exited(int code) const { return WIFEXITED(status) && WEXITSTATUS(status) == code; }
};

// A program and its words. `out` is the folder that it is watched in.
struct Subject {
  std::function<int(const Words&)> run;
  Words words;
  bool works = true;  // has --resume
};

Subject subject(const run::Program& program, const Words& settings) {
  Subject made{.run =
                   [program](const Words& words) {
                     const test::Arguments arguments(program.name, words);
                     return run::run_program(program, arguments.count(), arguments.words());
                   },
               .words = {"--quiet", "--threads", "1"},
               .works = program.works};
  for (const auto& setting : settings) made.words = made.words + Words{"--set", setting};
  return made;
}

class Faults : public ::testing::Test {
 protected:
  // In a child of this process, which has LibTorch already.
  Ending run(const Subject& subject, const Words& words, const Fault& fault, long n) const {
    const auto errors = folder_ / "errors";
    auto* const counted = static_cast<long*>(
        ::mmap(nullptr, sizeof(long), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    *counted = n;
    const pid_t child = ::fork();
    if (child == 0) {
      ::dup2(::open("/dev/null", O_WRONLY), STDOUT_FILENO);
      ::dup2(::open(errors.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), STDERR_FILENO);
      pcxx_faults_arm(out_.c_str(), n, fault.error, fault.from_then_on);
      const int code = subject.run(words);
      *counted = pcxx_faults_count();
      ::_exit(code);
    }
    Ending ending;
    ::waitpid(child, &ending.status, 0);
    ending.struck = *counted >= n;
    ending.errors = read_file(errors);
    ::munmap(counted, sizeof(long));
    return ending;
  }

  // All names, and the measurements.
  std::map<std::string, std::string> results() const {
    static const std::set<std::string> kMeasured{"metrics.csv", "verdicts.json", "summary.csv"};
    std::map<std::string, std::string> found;
    for (const auto& entry : fs::recursive_directory_iterator(out_)) {
      const bool measured = kMeasured.contains(entry.path().filename().string());
      const auto name = entry.path().lexically_relative(out_).string();
      found[name] = measured ? read_file(entry.path()) : "";
    }
    return found;
  }

  // As a user goes on.
  Words again(const Subject& subject) const {
    const auto same = subject.words + Words{"--out", out_.string()};
    if (!subject.works) return same;
    const bool begun = fs::exists(out_ / "parts/run.json");
    const bool complete = fs::exists(out_) && run::RunFolder::whole_run(out_);
    if (begun || complete) return {"--resume", "--out", out_.string()};
    return same + Words{"--resume", "--config", empty_.string()};
  }

  void expect_survives(const Subject& subject) {
    const auto words = subject.words + Words{"--out", out_.string()};
    ASSERT_TRUE(run(subject, words, {"none"}, 0).exited(0));
    const auto expected = results();
    long operations = 0;
    for (const auto& fault : kFaults) {
      for (long n = 1;; ++n) {
        SCOPED_TRACE(fmt::format("{} at operation {}", fault.name, n));
        fs::remove_all(out_);
        const auto ending = run(subject, words, fault, n);
        if (!ending.struck) break;
        operations = std::max(operations, n);
        if (fault.error == 0) {
          ASSERT_TRUE(ending.killed()) << ending.status;
        } else if (ending.exited(1)) {
          EXPECT_NE(ending.errors.find(std::strerror(fault.error)), std::string::npos)
              << ending.errors;
          EXPECT_EQ(std::count(ending.errors.begin(), ending.errors.end(), '\n'), 1)
              << ending.errors;
        } else {
          ASSERT_TRUE(ending.exited(0)) << ending.status << ' ' << ending.errors;
          for (const auto& [name, text] : expected) {
            if (text.empty()) continue;
            EXPECT_EQ(read_file(out_ / name), text) << name;
          }
        }
        const auto resumed = run(subject, again(subject), {"none"}, 0);
        ASSERT_TRUE(resumed.exited(0)) << resumed.status << ' ' << resumed.errors;
        EXPECT_EQ(results(), expected);
        if (HasFailure()) return;
      }
    }
    EXPECT_GT(operations, 20) << "it is not watched";
    RecordProperty("operations", static_cast<int>(operations));
  }

  test::TemporaryFolder folder_;
  fs::path out_ = folder_ / "out";
  fs::path empty_ = folder_ / "empty.toml";
  test::Variable python_{"PCXX_PYTHON", "/nonexistent"};

  void SetUp() override { write_file(empty_, ""); }
};

// Oracle of the tests here: the run that nothing interrupts. After a kill or an error at any
// operation the same command, or --resume, gives its files, and metrics.csv byte for byte; the
// program ended with exit code 0, or 1 and one sentence with the reason, or by that kill.

TEST_F(Faults, Alignment) {
  expect_survives(subject(programs::alignment(), {"width=3", "hidden_layers=[1,2]", "seeds=2"}));
}

TEST_F(Faults, Regression) {
  expect_survives(subject(programs::regression(), {"width=3", "hidden_layers=1", "steps=2",
                                                   "seeds=2", "learning_rate=0.1"}));
}

const Words kImages{"dataset=digits", "samples=8", "test_samples=4",    "steps=2",
                    "seeds=1",        "rule=bp",   "learning_rate=0.1", "checkpoint_every=1"};

TEST_F(Faults, Autoencoder) {
  expect_survives(subject(programs::autoencoder(), kImages + Words{"widths=[784,3,784]"}));
}

TEST_F(Faults, Classifier) {
  expect_survives(subject(programs::classifier(), kImages + Words{"widths=[784,3,10]"}));
}

TEST_F(Faults, Inference) {
  expect_survives(subject(programs::inference(),
                          {"task=teacher", "architecture=dln", "widths=[]", "width=3",
                           "dtype=float64", "inference=closed_form", "inference_steps=2"}));
}

TEST_F(Faults, Trajectory) {
  expect_survives(subject(programs::trajectory(), {"steps=2"}));
}

// A panel of a program with parts and one of a program without, and the report. What draws the
// figures does nothing here.
TEST_F(Faults, Reproduce) {
  const auto configs = folder_ / "configs";
  make_folders(configs / "paper");
  const fs::path shipped = PCXX_SOURCE_DIR "/configs";
  fs::copy_file(shipped / "fig1b_trajectory.toml", configs / "trajectory.toml");
  fs::copy_file(shipped / "fig2e_regression_1.toml", configs / "regression.toml");
  write_file(configs / "paper/figure1B.toml",
             "title = \"two panels\"\n[[panels]]\nid = \"1B\"\ntitle = \"without parts\"\n"
             "program = \"pcxx-trajectory\"\nconfig = \"../trajectory.toml\"\n"
             "set = [\"steps=2\"]\n"
             "[[panels]]\nid = \"2E\"\ntitle = \"with parts\"\n"
             "program = \"pcxx-regression\"\nconfig = \"../regression.toml\"\n"
             "set = [\"steps=1\", \"width=3\", \"hidden_layers=1\", \"seeds=1\", "
             "\"learning_rate=0.1\"]\n");
  const test::Variable chosen("PCXX_CONFIGS", configs.string());
  const test::Variable python("PCXX_PYTHON", "/bin/true");
  const Subject subject{.run =
                            [](const Words& words) {
                              const test::Arguments arguments("pcxx-reproduce", words);
                              return reproduce::run(arguments.count(), arguments.words());
                            },
                        .words = {"--figure", "1B", "--quiet", "--threads", "1"},
                        .works = false};
  // The misprints are measured here, once, and not in every child.
  ASSERT_EQ(subject.run(subject.words + Words{"--out", (folder_ / "first").string()}), 0);
  expect_survives(subject);
}

}  // namespace
}  // namespace pcxx
