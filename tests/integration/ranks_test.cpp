// Programs that train one network on several ranks.

#include <gtest/gtest.h>
#include <pcxx/core/files.h>

#include <chrono>
#include <fstream>
#include <sstream>
#include <thread>

#include "support/environment.h"
#include "support/process.h"
#include "support/tables.h"
#include "support/temporary_folder.h"

namespace pcxx {
namespace {

namespace fs = std::filesystem;

using Clock = std::chrono::steady_clock;
using Words = std::vector<std::string>;

const std::string kBin = PCXX_BINARY_DIR "/bin/";

Words operator+(Words a, const Words& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// As many passes for every sample, so that nothing but rounding depends on the size of a batch.
Words command(const std::string& program = "pcxx-autoencoder") {
  return {kBin + program, "--quiet",
          "--set",        "dataset=digits",
          "--set",        "samples=200",
          "--set",        "test_samples=50",
          "--set",        "dtype=float64",
          "--set",        "seeds=1",
          "--set",        "inference=error_descent",
          "--set",        "inference_steps=4",
          "--set",        "inference_step_size=0.1",
          "--set",        "inference_tolerance=0",
          "--set",        "inference_energy_tolerance=0"};
}

Words on_ranks(int ranks, const Words& command) {
  return Words{PCXX_MPIEXEC, "-n", std::to_string(ranks)} + command;
}

// The lines of ours; the launcher adds its own.
std::string own_lines(const std::string& errors) {
  std::istringstream stream(errors);
  std::string found;
  for (std::string line; std::getline(stream, line);) {
    if (line.starts_with("pcxx-")) found += line + "\n";
  }
  return found;
}

std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> found;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const auto name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream stream(entry.path() / "stat");
    const std::string stat{std::istreambuf_iterator<char>(stream), {}};
    std::istringstream fields(stat.substr(std::min(stat.size(), stat.rfind(')') + 1)));
    std::string state;
    pid_t from = 0;
    fields >> state >> from;
    if (from == parent) found.push_back(std::stoi(name));
  }
  return found;
}

std::string variable_of(pid_t process, const std::string& name) {
  std::ifstream stream("/proc/" + std::to_string(process) + "/environ");
  for (std::string entry; std::getline(stream, entry, '\0');) {
    if (entry.starts_with(name + "=")) return entry.substr(name.size() + 1);
  }
  return "";
}

class Ranks : public ::testing::Test {
 protected:
  void SetUp() override {
    if (std::string(PCXX_MPIEXEC).empty()) GTEST_SKIP() << "this build has no MPI";
  }

  int run(const Words& words, std::string* errors = nullptr) {
    const test::Process process(words);
    const int code = process.wait();
    if (errors != nullptr) *errors = own_lines(process.errors());
    if (errors == nullptr && code != 0) ADD_FAILURE() << process.errors();
    return code;
  }

  static double difference(const fs::path& a, const fs::path& b) {
    return test::largest_difference(read_file(a / "metrics.csv"), read_file(b / "metrics.csv"));
  }

  void expect_like_one_process(const Words& train, const std::vector<int>& sizes,
                               double tolerance) {
    ASSERT_EQ(run(train + Words{"--out", "alone"}), 0);
    for (const int ranks : sizes) {
      ASSERT_EQ(run(on_ranks(ranks, train + Words{"--out", "ranks"})), 0);
      EXPECT_LT(difference("alone", "ranks"), tolerance) << ranks << " ranks, " << train.back();
      fs::remove_all("ranks");
    }
    fs::remove_all("alone");
  }

  test::TemporaryFolder folder_;
  test::CurrentFolder current_{folder_.path()};
  test::Variable python_{"PCXX_PYTHON", "/nonexistent"};
  test::Variable root_{"OMPI_ALLOW_RUN_AS_ROOT", "1"};
  test::Variable sure_{"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"};
  test::Variable many_{"OMPI_MCA_rmaps_base_oversubscribe", "1"};
};

// Oracle: one process. Batches that leave ranks with different shares, and some with none; a batch
// as thick as a layer is summed up, a thin one gathered.
TEST_F(Ranks, MeasureWhatOneProcessDoes) {
  const Words models{
      "--set", "rule=[bp,pc]",
      "--set", "rescaling=[none,alpha,decorrelation,projection,recursive_projection]",
      "--set", "regularisation=0.1",
      "--set", "learning_rate=0.05",
      "--set", "widths=[784,24,784]",
      "--set", "test_every=2",
      "--set", "measure=[inference,target_alignment,held_out_alignment]"};
  for (const auto& [steps, batch_size] : {std::pair("4", "3"), std::pair("4", "51")}) {
    SCOPED_TRACE(batch_size);
    const auto train = command() + models +
                       Words{"--set", std::string("steps=") + steps, "--set",
                             std::string("batch_size=") + batch_size};
    ASSERT_EQ(run(train + Words{"--out", "alone"}), 0);
    for (const int ranks : {2, 4}) {
      ASSERT_EQ(run(on_ranks(ranks, train + Words{"--out", "ranks"})), 0);
      EXPECT_LT(difference("alone", "ranks"), 1e-10) << ranks << " ranks";
      fs::remove_all("ranks");
    }
    fs::remove_all("alone");
  }
}

// Oracle: one process; Kalman predictive coding of a batch, and of one thinner than the ranks, with
// all that its report tells.
TEST_F(Ranks, LearnWithKalmanLikeOneProcess) {
  for (const char* batch_size : {"3", "20"}) {
    const auto train = command() + Words{"--set", "rule=kpc",
                                         "--set", "learning_rate=1",
                                         "--set", "widths=[784,24,784]",
                                         "--set", "steps=3",
                                         "--set", "test_every=1",
                                         "--set", "measure=[kalman,held_out_alignment]",
                                         "--set", std::string("batch_size=") + batch_size};
    expect_like_one_process(train, {2, 4}, 1e-10);
  }
}

// Oracle: one process; ensembles on a teacher: compressed batches of linear networks, whole ones of
// others, batches thinner than the ranks, and every metric.
TEST_F(Ranks, TrainEnsemblesLikeOneProcess) {
  const Words common{kBin + "pcxx-regression",
                     "--quiet",
                     "--engine=tensor",
                     "--set",
                     "seeds=2",
                     "--set",
                     "steps=4",
                     "--set",
                     "width=5",
                     "--set",
                     "learning_rate=[0.02,0.1]",
                     "--set",
                     "regularisation=0.1",
                     "--set",
                     "curves=all"};
  const Words rescalings{"--set",
                         "rescaling=[none,alpha,decorrelation,projection,recursive_projection]"};
  const Words all_metrics{"--set", "measure=[target_alignment,held_out_alignment,inference]"};
  const std::vector<Words> tasks{
      rescalings + Words{"--set", "rule=[bp,pc]", "--set", "batch_size=64"},
      rescalings + all_metrics + Words{"--set", "architecture=residual", "--set", "batch_size=3"},
      rescalings + all_metrics +
          Words{"--set", "architecture=relu", "--set", "bias=true", "--set", "rule=[bp,pc]",
                "--set", "inference=error_descent", "--set", "inference_steps=4", "--set",
                "inference_step_size=0.1", "--set", "inference_tolerance=0", "--set",
                "inference_energy_tolerance=0", "--set", "batch_size=11"},
      Words{"--set", "rule=kpc", "--set", "learning_rate=1", "--set", "measure=[kalman]", "--set",
            "architecture=relu", "--set", "batch_size=7"},
      Words{"--set", "rule=bp", "--set", "targets=independent", "--set", "batch_size=2", "--set",
            "optimizer=adam"}};
  for (const auto& task : tasks) {
    expect_like_one_process(common + task, {2, 3}, 1e-9);
  }
}

// Oracle: the uninterrupted run of one process. Stopped by a signal, it goes on with any number of
// ranks: on several, sweeps do not train in lanes, and their config says so. The signal goes to the
// ranks themselves: Open MPI's launcher passes it on only after a second, when all may be done.
TEST_F(Ranks, StopEnsemblesTogether) {
  const Words train{kBin + "pcxx-regression",
                    "--quiet",
                    "--set",
                    "rule=pc",
                    "--set",
                    "seeds=1",
                    "--set",
                    "steps=4000",
                    "--set",
                    "width=6",
                    "--set",
                    "learning_rate=0.05"};
  ASSERT_EQ(run(train + Words{"--engine=tensor", "--out", "alone"}), 0);
  for (const int again : {1, 3}) {
    const test::Process process(
        on_ranks(2, train + Words{"--set", "checkpoint_every=50", "--out", "stopped"}));
    const fs::path checkpoint = "stopped/parts/job0.checkpoint.safetensors";
    for (int i = 0; i < 60'000 && !fs::exists(checkpoint); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    ASSERT_TRUE(fs::exists(checkpoint)) << process.errors();
    for (const auto child : children_of(process.id())) ::kill(child, SIGTERM);
    EXPECT_NE(process.wait(), 0);
    ASSERT_FALSE(fs::exists("stopped/parts/job0.safetensors")) << "it was too late";
    EXPECT_TRUE(own_lines(process.errors()).starts_with("pcxx-regression: interrupted with 0 of 1"))
        << process.errors();
    ASSERT_EQ(
        run(on_ranks(again, {kBin + "pcxx-regression", "--resume", "--quiet", "--out", "stopped"})),
        0);
    EXPECT_LT(difference("alone", "stopped"), 1e-9);
    fs::remove_all("stopped");
  }
}

// Oracle: one process; a classifier with biases, labels and Adam.
TEST_F(Ranks, ClassifyLikeOneProcess) {
  const auto train =
      command("pcxx-classifier") + Words{"--set", "rule=[bp,pc]",   "--set", "widths=[784,12,10]",
                                         "--set", "steps=4",        "--set", "test_every=2",
                                         "--set", "optimizer=adam", "--set", "learning_rate=0.001"};
  ASSERT_EQ(run(train + Words{"--out", "alone"}), 0);
  ASSERT_EQ(run(on_ranks(3, train + Words{"--out", "ranks"})), 0);
  EXPECT_LT(difference("alone", "ranks"), 1e-8);  // Adam divides by small numbers
}

// Oracle: the uninterrupted run of one process. A rank is killed in mid-step: all end soon, with
// one sentence and a code, and any number of ranks goes on from the last checkpoint.
TEST_F(Ranks, EndTogetherAndGoOn) {
  const auto train = command() + Words{"--set", "rule=pc",
                                       "--set", "learning_rate=0.05",
                                       "--set", "widths=[784,24,784]",
                                       "--set", "test_every=100"};
  const Words steps{"--set", "steps=600"};
  ASSERT_EQ(run(train + steps + Words{"--out", "alone"}), 0);
  for (const int again : {1, 3}) {
    const test::Process process(
        on_ranks(2, train + steps + Words{"--set", "checkpoint_every=5", "--out", "killed"}));
    const fs::path checkpoint = "killed/parts/job0.checkpoint.safetensors";
    for (int i = 0; i < 60'000 && !fs::exists(checkpoint); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    ASSERT_TRUE(fs::exists(checkpoint)) << process.errors();
    for (const auto child : children_of(process.id())) {
      if (variable_of(child, "OMPI_COMM_WORLD_RANK") == "1") ::kill(child, SIGKILL);
    }
    const auto start = Clock::now();
    EXPECT_NE(process.wait(), 0);
    EXPECT_LT(Clock::now() - start, std::chrono::seconds(10));
    EXPECT_EQ(own_lines(process.errors()),
              "pcxx-autoencoder: told to stop, and another rank does not answer: it has ended, or "
              "is busy; the last checkpoint stays, and --resume goes on from it\n");
    ASSERT_FALSE(fs::exists("killed/parts/job0.safetensors")) << "it was too late";
    ASSERT_TRUE(fs::exists(checkpoint));
    ASSERT_EQ(
        run(on_ranks(again, {kBin + "pcxx-autoencoder", "--resume", "--quiet", "--out", "killed"})),
        0);
    EXPECT_LT(difference("alone", "killed"), 1e-8);
    fs::remove_all("killed");
  }
}

// Contract: one sentence that names what differs, with both values, and exit code 2.
TEST_F(Ranks, RefuseToDiffer) {
  const auto with = [](const std::string& setting) {
    return Words{"-n", "1"} + command() + Words{"--set", setting, "--out", "a"};
  };
  std::string errors;
  EXPECT_EQ(run(Words{PCXX_MPIEXEC} + with("batch_size=64") + Words{":"} + with("batch_size=32"),
                &errors),
            2);
  EXPECT_EQ(errors,
            "pcxx-autoencoder: rank 1 has batch_size = 32, and rank 0 has 64: all ranks train one "
            "network\n");
  EXPECT_FALSE(fs::exists("a"));
}

// Contract: one sentence, of the first rank, and exit code 2.
TEST_F(Ranks, RefuseWhatCannotBeShared) {
  const auto refused = [&](const Words& words) {
    std::string errors;
    EXPECT_EQ(run(on_ranks(2, words), &errors), 2);
    return errors;
  };
  EXPECT_EQ(refused({kBin + "pcxx-alignment", "--out", "a"}),
            "pcxx-alignment: runs as one process, and was started as 2; --shard "
            "shares its jobs out\n");
  EXPECT_EQ(refused({kBin + "pcxx-regression", "--set", "rule=bp", "--engine=lanes", "--out", "a"}),
            "pcxx-regression: engine = 'lanes' cannot train bp: 2 ranks share each batch\n");
  EXPECT_EQ(refused(command() + Words{"--set", "widths=3", "--out", "a"}).find("rank"),
            std::string::npos);
  EXPECT_EQ(refused({kBin + "pcxx-reproduce", "--all"}),
            "pcxx-reproduce: runs as one process, and was started as 2\n");
}

// Contract: a launcher that MPI does not know of, or a build without MPI, leaves no copies that
// write over each other.
TEST(RanksWithoutMpi, AreRefused) {
  const test::TemporaryFolder folder;
  const test::CurrentFolder current(folder.path());
  const test::Variable size("PMI_SIZE", "2");
  const test::Process process(command() + Words{"--out", "a"});
  EXPECT_EQ(process.wait(), 2);
  EXPECT_TRUE(process.errors().starts_with("pcxx-autoencoder: started as one of 2 ranks, "))
      << process.errors();
  EXPECT_FALSE(fs::exists("a"));
}

}  // namespace
}  // namespace pcxx
