// The figures that the programs draw, where a Python with matplotlib is found.

#include <gtest/gtest.h>

#include "support/process.h"

namespace pcxx {
namespace {

namespace fs = std::filesystem;

struct Program {
  std::string name;
  std::vector<std::string> settings;
};

std::vector<Program> programs() {
  return {{"trajectory", {"rescaling=[none,alpha]"}},
          {"alignment", {"width=8", "batch_size=[1,4]", "seeds=2"}},
          {"regression", {"width=5", "learning_rate=[0.1,0.3]", "steps=5", "seeds=2"}},
          {"regression", {"width=5", "steps=5", "noise=[0,0.1]", "bias=[true,false]"}},
          {"autoencoder",
           {"dataset=digits", "samples=100", "test_samples=50", "steps=2", "seeds=1",
            "learning_rate=[0.1,0.3]", "rescaling=[none,projection]"}},
          {"classifier",
           {"dataset=digits", "samples=100", "test_samples=50", "steps=2", "seeds=2",
            "learning_rate=[0.1,1e9]", "optimizer=[sgd,adam]"}}};
}

int run(std::vector<std::string> command, std::string& text) {
  const test::Process process(std::move(command));
  const int code = process.wait();
  text = process.out() + process.errors();
  return code;
}

std::string python() {
  std::string ignored;
  for (const std::string name : {PCXX_SOURCE_DIR "/.venv/bin/python", "python3"}) {
    if (name.front() == '/' && !fs::exists(name)) continue;
    if (run({name, "-c", "import numpy, matplotlib"}, ignored) == 0) return name;
  }
  return "";
}

// Contract: a run leaves a picture, and the script draws it again in each format.
TEST(Plots, DrawWhatTheProgramsWrite) {
  const auto interpreter = python();
  if (interpreter.empty()) GTEST_SKIP() << "no Python with numpy and matplotlib";
  for (const auto& [name, settings] : programs()) {
    SCOPED_TRACE(name);
    const test::TemporaryFolder folder;
    const auto results = (folder / "run").string();
    std::vector<std::string> command{PCXX_BINARY_DIR "/bin/pcxx-" + name, "--out", results};
    for (const auto& setting : settings) command.insert(command.end(), {"--set", setting});
    std::string text;
    ASSERT_EQ(run(command, text), 0) << text;
    EXPECT_GT(fs::file_size(fs::path(results) / "figure.png"), 10'000U) << text;
    const auto pdf = (folder / "again.pdf").string();
    const auto script = PCXX_SOURCE_DIR "/plots/" + name + ".py";
    ASSERT_EQ(run({interpreter, script, results, "--out", pdf}, text), 0) << text;
    EXPECT_TRUE(read_file(pdf).starts_with("%PDF"));

    EXPECT_EQ(run({interpreter, script, (folder / "absent").string()}, text), 2);
    EXPECT_NE(text.find("absent"), std::string::npos);
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
  }
}

}  // namespace
}  // namespace pcxx
