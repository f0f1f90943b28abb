// The event files of the programs, where a Python with the package tensorboard is found.

#include <gtest/gtest.h>

#include "support/environment.h"
#include "support/python.h"

namespace pcxx {
namespace {

using Words = std::vector<std::string>;

// Oracle: TensorBoard's own reader, and metrics.csv. By hand: how many runs, values and pictures.
TEST(Tensorboard, ReadsWhatTheProgramsWrite) {
  const auto interpreter = test::python_with("tensorboard, PIL");
  if (interpreter.empty()) GTEST_SKIP() << "no Python with tensorboard and PIL";
  const test::Variable drawing("PCXX_PYTHON", "/nonexistent");
  const Words images{"dataset=digits", "samples=64", "test_samples=20",        "batch_size=8",
                     "steps=4",        "seeds=2",    "dtype=[float32,float64]"};
  const auto and_more = [](Words words, const Words& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  const struct {
    std::string program;
    Words settings;
    std::string expected;
  } runs[] = {
      // The best rate of each model, 5 errors of each of 2 seeds.
      {"regression",
       {"rule=[bp,pc]", "width=4", "steps=4", "seeds=2", "learning_rate=[0.01,0.1]"},
       "4 20 0\n"},
      // 2 dtypes, 2 seeds, 2 rates: 5 test errors and 4 training errors; one picture a dtype.
      {"autoencoder", and_more(images, {"rule=bp", "learning_rate=[0.1,0.2]"}), "8 72 2\n"},
      // Also 5 accuracies.
      {"classifier", and_more(images, {"rule=bp", "learning_rate=0.1", "test_every=1"}),
       "4 56 0\n"},
      // 5 steps: two predictions at each, and an alignment before each but the last.
      {"trajectory", {"rule=[bp,pc]", "steps=4"}, "2 28 0\n"},
      // After 0, 1, 2 and 3 passes: gap and residual.
      {"inference",
       {"task=teacher", "architecture=dln", "widths=[]", "width=4", "hidden_layers=2",
        "batch_size=4", "inference_steps=3", "inference=lbfgs", "inference_step_size=0"},
       "1 8 0\n"},
  };
  for (const auto& [name, settings, expected] : runs) {
    SCOPED_TRACE(name);
    const auto program = PCXX_BINARY_DIR "/bin/pcxx-" + name;
    const test::TemporaryFolder folder;
    const auto out = (folder / "run").string();
    Words command{program, "--quiet", "--out", out, "--tensorboard"};
    for (const auto& setting : settings) command.insert(command.end(), {"--set", setting});
    std::string text;
    ASSERT_EQ(test::run_command(command, text), 0) << text;
    EXPECT_EQ(
        test::run_command(
            {interpreter, PCXX_SOURCE_DIR "/tests/integration/read_tensorboard.py", out}, text),
        0)
        << text;
    EXPECT_EQ(text, expected);
  }
}

}  // namespace
}  // namespace pcxx
