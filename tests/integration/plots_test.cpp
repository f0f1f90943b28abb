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

// The run folder of BP and PC at two rates: one value of every metric, at steps 0 and 1.
void write_run(const fs::path& folder, const std::vector<std::string>& metrics) {
  std::string rows =
      "rule,rescaling,architecture,init,hidden_layers,width,condition_number,batch_size,"
      "learning_rate,targets,steps,dtype,seed,step,metric,value\n";
  for (const std::string rule : {"bp", "pc"}) {
    for (const std::string rate : {"0.1", "0.3"}) {
      for (const std::string step : {"0", "1"}) {
        for (const auto& metric : metrics) {
          rows += rule + ",none,dln,kaiming,1,8,0,1," + rate + ",teacher,1,float64,0," + step;
          rows += "," + metric + (step == "0" ? ",1\n" : ",0.5\n");
        }
      }
    }
  }
  fs::create_directories(folder);
  write_file(folder / "metrics.csv", rows);
}

// The run folder of target alignment over the depth, or of a trajectory, by BP.
void write_rows(const fs::path& folder, const std::vector<std::string>& rows) {
  std::string text =
      "hidden_layers,seed,step,metric,value,rule,rescaling,architecture,init,width,"
      "condition_number,batch_size,learning_rate,targets,steps,dtype\n";
  for (const auto& row : rows) text += row + ",bp,none,dln,kaiming,8,0,1,0.1,teacher,1,float64\n";
  fs::create_directories(folder);
  write_file(folder / "metrics.csv", text);
}

// A reproduction of three figures; panel 2E was not run.
void write_reproduction(const fs::path& out) {
  const auto panels = out / "panels";
  write_rows(panels / "1B", {"1,0,0,prediction1,1", "1,0,0,prediction2,1", "1,0,1,prediction1,0",
                             "1,0,1,prediction2,0.8"});
  write_file(panels / "1B" / "summary.json", R"({"target": [-1, 1]})");
  write_rows(panels / "2A", {"1,0,1,target_alignment,0.9", "2,0,1,target_alignment,0.8"});
  write_run(panels / "7", {"map_error"});
  write_file(out / "paper.json", R"({"profile": "quick", "figures": [
    {"id": "1B", "title": "One sample", "plot": "curves", "columns": 1, "panels": [
      {"id": "1B", "title": "1-1-2", "program": "pcxx-trajectory", "folder": "panels/1B"}]},
    {"id": "2", "title": "Alignment", "plot": "curves", "columns": 2, "panels": [
      {"id": "2A", "title": "depth", "program": "pcxx-alignment", "folder": "panels/2A"},
      {"id": "2E", "title": "errors", "program": "pcxx-regression", "folder": "panels/2E"}]},
    {"id": "7", "title": "Rates", "plot": "curves_and_sweeps", "columns": 3, "panels": [
      {"id": "7", "title": "batches", "program": "pcxx-regression", "folder": "panels/7"}]}]})");
}

std::ptrdiff_t lines_of(const std::string& text) {
  return std::count(text.begin(), text.end(), '\n');
}

const std::string kPaper = PCXX_SOURCE_DIR "/plots/paper.py";

// Contract: a PNG and a PDF of every figure, and nothing else, with a line for each figure.
TEST(Plots, DrawTheFiguresOfThePaper) {
  const auto interpreter = python();
  if (interpreter.empty()) GTEST_SKIP() << "no Python with numpy and matplotlib";
  const test::TemporaryFolder out;
  write_reproduction(out.path());
  std::string text;
  ASSERT_EQ(run({interpreter, kPaper, out.path().string(), "--figure", "7"}, text), 0) << text;
  EXPECT_EQ(lines_of(text), 1) << text;
  EXPECT_FALSE(fs::exists(out / "figures/figure2.png"));

  ASSERT_EQ(run({interpreter, kPaper, out.path().string()}, text), 0) << text;
  EXPECT_EQ(lines_of(text), 3) << text;
  for (const std::string name : {"figure1B", "figure2", "figure7"}) {
    EXPECT_TRUE(read_file(out / ("figures/" + name + ".png")).starts_with("\x89PNG")) << name;
    EXPECT_TRUE(read_file(out / ("figures/" + name + ".pdf")).starts_with("%PDF")) << name;
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(out / "figures"), fs::directory_iterator()), 6);
}

// By hand: of figure 2's panels A was run and E was not, and its folder is absent.
TEST(Plots, NoteThePanelsThatWereNotRun) {
  const auto interpreter = python();
  if (interpreter.empty()) GTEST_SKIP() << "no Python with numpy and matplotlib";
  const test::TemporaryFolder out;
  write_reproduction(out.path());
  const std::string script =
      "import sys; sys.path.insert(0, sys.argv[1]); import paper\n"
      "figure = paper.read_description(sys.argv[2])['figures'][1]\n"
      "for ax in paper.draw(sys.argv[2], figure, '').axes:\n"
      "    print(ax.get_title('left'), [t.get_text() for t in ax.texts], len(ax.lines))\n";
  std::string text;
  ASSERT_EQ(run({interpreter, "-c", script, PCXX_SOURCE_DIR "/plots", out.path().string()}, text),
            0)
      << text;
  EXPECT_EQ(text, "depth ['A'] 1\nerrors ['not run', 'E'] 0\n");
}

// Contract: exit code 2 and one line that names what is wrong.
TEST(Plots, RefuseWhatIsNoReproduction) {
  const auto interpreter = python();
  if (interpreter.empty()) GTEST_SKIP() << "no Python with numpy and matplotlib";
  const test::TemporaryFolder out;
  write_reproduction(out.path());
  const auto expect_refused = [&](std::vector<std::string> arguments, const std::string& named) {
    SCOPED_TRACE(named);
    arguments.insert(arguments.begin(), {interpreter, kPaper});
    std::string text;
    EXPECT_EQ(run(arguments, text), 2) << text;
    EXPECT_NE(text.find(named), std::string::npos) << text;
    EXPECT_EQ(lines_of(text), 1) << text;
  };
  const auto folder = out.path().string();
  expect_refused({(out / "absent").string()}, "absent");
  expect_refused({folder, "--figure", "11"}, "no figure 11");
  write_run(out / "panels/7", {"loss"});
  expect_refused({folder, "--figure", "7"}, "map_error");
  write_file(out / "panels/1B/summary.json", "{}");
  expect_refused({folder, "--figure", "1B"}, "trajectory");
  write_file(out / "paper.json", "{\"figures\": [{}]}");
  expect_refused({folder}, "paper.json");
  write_file(out / "paper.json", "figures");
  expect_refused({folder}, "not JSON");
}

}  // namespace
}  // namespace pcxx
