// The programs on a CUDA device: the same numbers as on the CPU, stopped and resumed too.

#include <gtest/gtest.h>
#include <pcxx/core/files.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "device/on_device.h"
#include "support/environment.h"
#include "support/process.h"
#include "support/tables.h"
#include "support/temporary_folder.h"

namespace pcxx {
namespace {

namespace fs = std::filesystem;

using Words = std::vector<std::string>;

const Words kImages{"--set", "dataset=digits", "--set", "samples=200", "--set", "test_samples=100",
                    "--set", "dtype=float64",  "--set", "steps=4",     "--set", "seeds=1",
                    "--set", "test_every=2"};

Words with(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

class OfPrograms_CUDA : public test::OnDevice {
 protected:
  static void run(const std::string& program, const Words& words) {
    const test::Process process(with({std::string(PCXX_BINARY_DIR) + "/bin/" + program}, words));
    ASSERT_EQ(process.wait(), 0) << process.errors();
  }

  test::TemporaryFolder folder_;
  test::CurrentFolder current_{folder_.path()};
  test::Variable python_{"PCXX_PYTHON", "/nonexistent"};
};

class Programs_CUDA : public OfPrograms_CUDA,
                      public ::testing::WithParamInterface<std::pair<std::string, Words>> {};

// Oracle: the same command on the CPU. Training of a few steps, to rounding.
TEST_P(Programs_CUDA, GivesTheSameNumbers) {
  const auto& [program, words] = GetParam();
  run(program, with(words, {"--device", "cpu", "--out", "here"}));
  run(program, with(words, {"--device", "cuda", "--out", "there"}));
  EXPECT_LT(test::largest_difference(read_file("here/metrics.csv"), read_file("there/metrics.csv")),
            1e-6);
}

INSTANTIATE_TEST_SUITE_P(
    All, Programs_CUDA,
    ::testing::Values(
        std::pair("pcxx-alignment",
                  Words{"--set", "rule=[bp,pc]", "--set", "rescaling=[none,alpha,projection]",
                        "--set", "width=40", "--set", "batch_size=[1,30]", "--set", "seeds=2",
                        "--set", "held_out=50", "--set", "diagnostics=true"}),
        std::pair("pcxx-inference",
                  Words{"--set", "task=teacher",
                        "--set", "architecture=dln",
                        "--set", "widths=[]",
                        "--set", "width=20",
                        "--set", "hidden_layers=2",
                        "--set", "batch_size=9",
                        "--set", "dtype=float64",
                        "--set", "inference_steps=8",
                        "--set", "inference_tolerance=0",
                        "--set", "inference_energy_tolerance=0",
                        "--set", "inference=[error_descent,state_descent,closed_form]",
                        "--set", "inference_step_size=0.1",
                        "--set", "seeds=2"}),
        std::pair("pcxx-regression",
                  Words{"--set", "rule=[bp,pc]", "--set",
                        "rescaling=[none,projection,recursive_projection]", "--set", "width=20",
                        "--set", "learning_rate=[0.01,0.1]", "--set", "steps=5", "--set", "seeds=2",
                        "--set", "measure=[target_alignment,held_out_alignment]"}),
        std::pair("pcxx-autoencoder",
                  with(kImages,
                       {"--set", "rule=[bp,pc]", "--set", "rescaling=[none,projection]", "--set",
                        "learning_rate=0.1", "--set", "measure=target_alignment"})),
        std::pair("pcxx-autoencoder",
                  with(kImages, {"--set", "rule=kpc", "--set", "narrowing=[certainty,constancy]",
                                 "--set", "learning_rate=1", "--set", "measure=kalman"})),
        std::pair("pcxx-classifier",
                  with(kImages, {"--set", "optimizer=[sgd,adam]", "--set", "learning_rate=0.01",
                                 "--set", "widths=[784,32,10]"})),
        std::pair("pcxx-trajectory", Words{"--set", "rescaling=[none,alpha]"})));

// Contract: pcxx-reproduce hands the device on to the programs that it runs.
TEST_F(OfPrograms_CUDA, ReproduceThere) {
  const test::Process process({std::string(PCXX_BINARY_DIR) + "/bin/pcxx-reproduce", "--figure",
                               "1B", "--profile", "quick", "--out", "run", "--device", "cuda"});
  process.wait();  // without Python it cannot draw, and says so
  EXPECT_NE(read_file("run/panels/1B/config.toml").find("device = \"cuda\""), std::string::npos)
      << process.errors();
}

// Contract: a device that is not there is refused with one sentence.
TEST_F(OfPrograms_CUDA, RefuseADeviceThatIsNotThere) {
  const test::Process process(
      {std::string(PCXX_BINARY_DIR) + "/bin/pcxx-trajectory", "--device", "cuda:99"});
  EXPECT_EQ(process.wait(), 2);
  EXPECT_EQ(process.errors().find("pcxx-trajectory: device = 'cuda:99', but this machine has "), 0U)
      << process.errors();
}

// Oracle: the uninterrupted run there, byte for byte, and the CPU's to rounding. A run is killed
// once it has left a checkpoint, with the memory of rule, optimizer and rescaling in it.
TEST_F(OfPrograms_CUDA, ResumeThere) {
  const std::vector<Words> models{
      {"--set", "rule=pc", "--set", "optimizer=adam", "--set", "rescaling=recursive_projection",
       "--set", "learning_rate=0.01"},
      {"--set", "rule=kpc", "--set", "narrowing=constancy", "--set", "learning_rate=1"}};
  for (const auto& model : models) {
    const auto words = with(with(kImages, model), {"--set", "widths=[784,16,784]", "--set",
                                                   "steps=30", "--set", "checkpoint_every=1"});
    run("pcxx-autoencoder", with(words, {"--device", "cpu", "--out", "here"}));
    run("pcxx-autoencoder", with(words, {"--device", "cuda", "--out", "there"}));
    {
      const test::Process killed(with({std::string(PCXX_BINARY_DIR) + "/bin/pcxx-autoencoder"},
                                      with(words, {"--device", "cuda", "--out", "killed"})));
      for (int i = 0; i < 60'000 && !fs::exists("killed/parts/job0.checkpoint.safetensors"); ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
      killed.signal(SIGKILL);
      ASSERT_EQ(killed.wait(), -1) << "it was too late";
    }
    run("pcxx-autoencoder", {"--resume", "--out", "killed"});
    EXPECT_EQ(read_file("killed/metrics.csv"), read_file("there/metrics.csv"));
    EXPECT_LT(
        test::largest_difference(read_file("here/metrics.csv"), read_file("there/metrics.csv")),
        1e-6);
    for (const auto* folder : {"here", "there", "killed"}) fs::remove_all(folder);
  }
}

}  // namespace
}  // namespace pcxx
