// The figures that the programs draw, where a Python with matplotlib is found.

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "support/python.h"

namespace pcxx {
namespace {

namespace fs = std::filesystem;

struct Program {
  std::string name;
  std::vector<std::string> settings = {};  // of --set
  std::vector<std::string> words = {};
};

std::vector<Program> programs() {
  return {{"trajectory", {"rescaling=[none,alpha]"}},
          {"alignment", {"width=8", "batch_size=[1,4]", "seeds=2"}},
          {"regression", {"width=5", "learning_rate=[0.1,0.3]", "steps=5", "seeds=2"}},
          {"regression", {"width=5", "steps=5", "noise=[0,0.1]", "bias=[true,false]"}},
          {"autoencoder",
           {"dataset=digits", "samples=100", "test_samples=50", "steps=2", "seeds=1",
            "learning_rate=[0.1,0.3]", "rescaling=[none,projection]"}},
          {"inference",
           {"task=teacher", "architecture=dln", "widths=[]", "width=4", "hidden_layers=2",
            "batch_size=4", "inference_steps=5"}},
          {"classifier",
           {"dataset=digits", "samples=100", "test_samples=50", "steps=2", "seeds=2",
            "learning_rate=[0.1,1e9]", "optimizer=[sgd,adam]"}}};
}

int run(std::vector<std::string> command, std::string& text) {
  return test::run_command(std::move(command), text);
}

std::string python() {
  return test::python_with("numpy, matplotlib");
}

std::ptrdiff_t lines_of(const std::string& text) {
  return std::count(text.begin(), text.end(), '\n');
}

// "330 x 250", from the header of a PNG file.
std::string pixels_of(const fs::path& picture) {
  const auto bytes = read_file(picture);
  const auto number = [&](std::size_t place) {
    unsigned value = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      value = value << 8 | static_cast<unsigned char>(bytes.at(place + i));
    }
    return value;
  };
  return std::to_string(number(16)) + " x " + std::to_string(number(20));
}

const std::string kRedraw = PCXX_SOURCE_DIR "/plots/redraw.py";

// Oracle: the sizes that were asked for, as the formats store them: pixels, and points of 1/72
// inch.
void expect_redrawn(const std::string& interpreter, const fs::path& folder,
                    const std::string& results) {
  const auto style = (folder / "own.mplstyle").string();
  write_file(style, "font.family: monospace  # a comment\nsavefig.dpi: 100\naxes.grid: False\n");
  const std::vector<std::string> common{interpreter, kRedraw,   results,  "--style", style,
                                        "--size",    "3.3x2.5", "--font", "6"};
  for (const std::string name : {"own.png", "own.pdf"}) {
    auto command = common;
    command.insert(command.end(), {"--out", (folder / name).string(), "--set", "note=false"});
    std::string text;
    ASSERT_EQ(run(command, text), 0) << text;
    EXPECT_EQ(text, (folder / name).string() + "\n");
  }
  EXPECT_EQ(pixels_of(folder / "own.png"), "330 x 250");
  EXPECT_NE(read_file(folder / "own.pdf").find("/MediaBox [ 0 0 237.6 180 ]"), std::string::npos);
}

// A run of a program into `folder`/NAME.
std::string results_of(const Program& program, const fs::path& folder) {
  const auto results = (folder / program.name).string();
  std::vector<std::string> command{PCXX_BINARY_DIR "/bin/pcxx-" + program.name, "--out", results};
  for (const auto& setting : program.settings) command.insert(command.end(), {"--set", setting});
  command.insert(command.end(), program.words.begin(), program.words.end());
  std::string text;
  EXPECT_EQ(run(command, text), 0) << text;
  return results;
}

// A run leaves a picture, the script draws it again in each format, and redraw.py in a style and a
// size of one's own.
void expect_drawn(const std::string& interpreter, const Program& program, const fs::path& folder) {
  SCOPED_TRACE(program.name);
  const auto results = results_of(program, folder);
  EXPECT_GT(fs::file_size(fs::path(results) / "figure.png"), 10'000U);
  const auto pdf = (folder / "again.pdf").string();
  const auto script = PCXX_SOURCE_DIR "/plots/" + program.name + ".py";
  std::string text;
  ASSERT_EQ(run({interpreter, script, results, "--out", pdf}, text), 0) << text;
  EXPECT_TRUE(read_file(pdf).starts_with("%PDF"));
  expect_redrawn(interpreter, folder, results);

  EXPECT_EQ(run({interpreter, script, (folder / "absent").string()}, text), 2);
  EXPECT_NE(text.find("absent"), std::string::npos);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
}

// Contract: every program's run is drawn by itself and again.
TEST(Plots, DrawWhatTheProgramsWrite) {
  const auto interpreter = python();
  if (interpreter.empty()) GTEST_SKIP() << "no Python with numpy and matplotlib";
  for (const auto& program : programs()) {
    const test::TemporaryFolder folder;
    expect_drawn(interpreter, program, folder.path());
  }
}

// Contract: the same inside trained networks, one that gives images and one that tells classes.
TEST(Plots, DrawWhatIsInsideNetworks) {
  const auto interpreter = python();
  if (interpreter.empty()) GTEST_SKIP() << "no Python with numpy and matplotlib";
  for (const auto& [trained, widths] : {std::pair("autoencoder", "widths=[784,7,5,784]"),
                                        std::pair("classifier", "widths=[784,9,8,7,6,5,4,10]")}) {
    const test::TemporaryFolder folder;
    const auto weights = results_of({trained,
                                     {"dataset=digits", "samples=64", "test_samples=9", "steps=1",
                                      "seeds=1", "rule=pc", "learning_rate=0.1", widths}},
                                    folder.path()) +
                         "/weights1-pc-none-seed0.safetensors";
    expect_drawn(interpreter, {"activities", {"dataset=digits"}, {"--load", weights}},
                 folder.path());
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
      "import sys; sys.path.insert(0, sys.argv[1]); from pcxx_plots import paper\n"
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

// Contract: what names its interpreter can be called.
TEST(Scripts, AreExecutable) {
  for (const std::string folder : {"plots", "python", "scripts", "benchmarks", "docker", "data"}) {
    for (const auto& file : fs::directory_iterator(fs::path(PCXX_SOURCE_DIR) / folder)) {
      if (!file.is_regular_file() || !read_file(file.path()).starts_with("#!")) continue;
      EXPECT_NE(file.status().permissions() & fs::perms::owner_exec, fs::perms::none)
          << file.path();
    }
  }
}

// By hand: the validation images choose the rate 0.1, the test images would choose 1.
TEST(Rivals, AreChosenByTheValidationImages) {
  const auto interpreter = python();
  if (interpreter.empty()) GTEST_SKIP() << "no Python with numpy and matplotlib";
  const test::TemporaryFolder out;
  const auto row = [](const std::string& rate, const std::string& metric,
                      const std::string& value) {
    return "bp,none,relu,lecun,,,0,2," + rate + ",,2,float32,0,2," + metric + "," + value + "\n";
  };
  fs::create_directories(out / "a");
  write_file(out / "a/metrics.csv",
             "rule,rescaling,architecture,init,hidden_layers,width,condition_number,batch_size,"
             "learning_rate,targets,steps,dtype,seed,step,metric,value\n" +
                 row("0.1", "test_accuracy", "0.5") + row("0.1", "validation_accuracy", "0.7") +
                 row("1", "test_accuracy", "0.6") + row("1", "validation_accuracy", "0.4"));
  write_file(out / "a/config.toml", "dataset = \"mnist\"\n");
  std::string text;
  ASSERT_EQ(run({interpreter, PCXX_SOURCE_DIR "/plots/rivals.py", (out / "a").string(), "--csv",
                 (out / "table.csv").string(), "--out", (out / "picture.svg").string()},
                text),
            0)
      << text;
  EXPECT_NE(read_file(out / "table.csv").find("bp,none,sgd,4,2,0.1,1,0.5,0,,"), std::string::npos)
      << read_file(out / "table.csv");
}

// By hand: 2 seeds, B = 2; the best of BP's rates is 0.1 after 2 samples and 1 after 4. PC has
// diverged at one rate, and in the longer run, which has one seed, stands alone.
TEST(Rivals, AreComparedAtTheirBestRates) {
  const auto interpreter = python();
  if (interpreter.empty()) GTEST_SKIP() << "no Python with numpy and matplotlib";
  const test::TemporaryFolder out;
  const std::string header =
      "rule,rescaling,architecture,init,hidden_layers,width,condition_number,batch_size,"
      "learning_rate,targets,steps,dtype,seed,step,metric,value\n";
  for (const std::string name : {"a", "b"}) fs::create_directories(out / name);
  const auto row = [](const std::string& rule, const std::string& rate, int seed, int step,
                      const std::string& value) {
    return rule + ",none,relu,lecun,,,0,2," + rate + ",,2,float32," + std::to_string(seed) + "," +
           std::to_string(step) + ",test_accuracy," + value + "\n";
  };
  write_file(out / "a/metrics.csv",
             header + row("bp", "0.1", 0, 0, "0.1") + row("bp", "0.1", 0, 1, "0.5") +
                 row("bp", "0.1", 1, 1, "0.7") + row("bp", "0.1", 0, 2, "0.5") +
                 row("bp", "0.1", 1, 2, "0.7") + row("bp", "1", 0, 1, "0.4") +
                 row("bp", "1", 1, 1, "0.4") + row("bp", "1", 0, 2, "0.8") +
                 row("bp", "1", 1, 2, "0.6") + row("pc", "0.1", 0, 2, "0.9") +
                 row("pc", "0.1", 1, 2, "0.8") + row("pc", "1", 0, 2, "0.99") +
                 row("pc", "1", 1, 2, "nan"));
  write_file(out / "a/config.toml", "dataset = \"mnist\"\n");
  write_file(out / "b/metrics.csv",
             header + row("pc", "1", 0, 2, "0.5") + row("pc", "1", 0, 3, "0.95"));
  write_file(out / "b/config.toml", "dataset = \"mnist\"\n");
  const std::string script = PCXX_SOURCE_DIR "/plots/rivals.py";
  const auto table = (out / "table.csv").string();
  const auto picture = (out / "picture.svg").string();
  std::string text;
  ASSERT_EQ(run({interpreter, script, (out / "a").string(), (out / "b").string(), "--reference",
                 "pc", "--csv", table, "--out", picture},
                text),
            0)
      << text;
  EXPECT_EQ(read_file(table),
            "rule,rescaling,optimizer,samples,rates,learning_rate,seeds,mean,sd,difference,"
            "difference_error\n"
            "bp,none,sgd,2,2,0.1,2,0.6,0.14,,\n"
            "bp,none,sgd,4,2,1,2,0.7,0.14,-0.15,0.05\n"
            "pc,none,sgd,4,2,0.1,2,0.85,0.071,,\n"
            "pc,none,sgd,6,1,1,1,0.95,0,,\n");
  EXPECT_NE(read_file(picture).find("training samples"), std::string::npos);

  // The kept table stands for the runs; a row of as many seeds and rates replaces its own.
  const auto longer = (out / "longer.csv").string();
  write_file(out / "b/metrics.csv",
             header + row("pc", "3", 0, 2, "0.99") + row("pc", "3", 0, 3, "0.97"));
  ASSERT_EQ(run({interpreter, script, table, (out / "b").string(), "--metric", "test_accuracy",
                 "--csv", longer, "--out", picture},
                text),
            0)
      << text;
  EXPECT_EQ(read_file(longer),
            "rule,rescaling,optimizer,samples,rates,learning_rate,seeds,mean,sd,difference,"
            "difference_error\n"
            "bp,none,sgd,2,2,0.1,2,0.6,0.14,,\n"
            "bp,none,sgd,4,2,1,2,0.7,0.14,-0.15,0.05\n"
            "pc,none,sgd,4,2,0.1,2,0.85,0.071,,\n"
            "pc,none,sgd,6,1,3,1,0.97,0,,\n");
  write_file(out / "bad.csv", "rule,samples\nbp,3\n");
  EXPECT_EQ(run({interpreter, script, table, "--out", picture}, text), 2);
  EXPECT_NE(text.find("table.csv does not tell what was measured"), std::string::npos) << text;
  EXPECT_EQ(run({interpreter, script, (out / "bad.csv").string(), "--metric", "test_accuracy",
                 "--out", picture},
                text),
            2);
  EXPECT_NE(text.find("bad.csv is no table of this program"), std::string::npos) << text;

  // What one run varies and the other has in its config alone: three tasks.
  auto with_noise = header;
  with_noise.insert(with_noise.find(",step,metric"), ",noise");
  std::string noisy;
  for (const std::string noise : {"0.1", "0.2"}) {
    auto text_of_row = row("bp", "1", 0, 2, "0.5");
    noisy += text_of_row.insert(text_of_row.find(",2,test"), "," + noise);
  }
  write_file(out / "b/metrics.csv", with_noise + noisy);
  write_file(out / "a/config.toml", "dataset = \"mnist\"\nnoise = 0.0\n");
  ASSERT_EQ(run({interpreter, script, (out / "a").string(), (out / "b").string(), "--samples", "4",
                 "--csv", table, "--out", picture},
                text),
            0)
      << text;
  EXPECT_EQ(read_file(table),
            "noise,rule,rescaling,optimizer,samples,rates,learning_rate,seeds,mean,sd,difference,"
            "difference_error\n"
            "0,bp,none,sgd,4,2,1,2,0.7,0.14,,\n"
            "0,pc,none,sgd,4,2,0.1,2,0.85,0.071,,\n"
            "0.1,bp,none,sgd,4,1,1,1,0.5,0,,\n"
            "0.2,bp,none,sgd,4,1,1,1,0.5,0,,\n");

  EXPECT_EQ(
      run({interpreter, script, (out / "a").string(), "--metric", "loss", "--out", picture}, text),
      2);
  EXPECT_NE(text.find("metrics.csv has no metric loss, only test_accuracy"), std::string::npos);
}

// The folder of a regression of BP and PC with its environment.json.
void write_regression(const fs::path& folder) {
  write_run(folder, {"map_error"});
  write_file(folder / "environment.json", R"({"program": "pcxx-regression"})");
}

// Oracle: the settings, as SVG has them in words: colours of lines and the words of the legend.
TEST(Redraw, TakesColoursDashesAndWords) {
  const auto interpreter = python();
  if (interpreter.empty()) GTEST_SKIP() << "no Python with numpy and matplotlib";
  const test::TemporaryFolder folder;
  write_regression(folder / "run");
  const auto results = (folder / "run").string();
  std::string text;
  ASSERT_EQ(run({interpreter, kRedraw, results, "--format", "svg"}, text), 0) << text;
  const auto usual = read_file(folder / "run/redrawn.svg");
  ASSERT_EQ(run({interpreter, kRedraw, results, "--out", (folder / "own.svg").string(),  //
                 "--set", "colour.pc=#123456", "--set", "marker.none=X",                 //
                 "--set", "dash.none=--", "--set", "label.pc=Predictive coding",         //
                 "--set", "lines.linewidth=3", "--set", "note=false"},
                text),
            0)
      << text;
  const auto own = read_file(folder / "own.svg");
  for (const std::string part :
       {"stroke: #123456", ">Predictive coding<", "stroke-dasharray", "stroke-width: 2.8"}) {
    EXPECT_EQ(usual.find(part), std::string::npos) << part;
    EXPECT_NE(own.find(part), std::string::npos) << part;
  }
  for (const std::string part : {"stroke: #0072b2", ">PC<", ">Curves: "}) {
    EXPECT_NE(usual.find(part), std::string::npos) << part;
    EXPECT_EQ(own.find(part), std::string::npos) << part;
  }
  EXPECT_NE(own.find("stroke: #e69f00"), std::string::npos);  // BP's stays
}

// Contract: exit code 2, one sentence with what is wrong, and no picture. All in one Python.
TEST(Redraw, RefusesWhatIsNoStyle) {
  const auto interpreter = python();
  if (interpreter.empty()) GTEST_SKIP() << "no Python with numpy and matplotlib";
  const test::TemporaryFolder folder;
  const auto path = [&](const std::string& name) { return (folder / name).string(); };
  write_regression(path("run"));
  auto commands = nlohmann::json::array();
  std::vector<std::string> parts;
  const auto refused = [&](const std::string& part, std::vector<std::string> words,
                           const std::string& run = "run") {
    words.insert(words.begin(), path(run));
    commands.push_back(words);
    parts.push_back(part);
  };
  for (const std::string text :
       {"colour=red", "colour.abc=red", "colour.pc.none=red", "marker.pc=o", "wdith=3", "=3"}) {
    refused("no style key " + text.substr(0, text.find('=')), {"--set", text});
  }
  for (const std::string text : {"colour.pc=reddish", "marker.none=oo", "dash.none=dots",
                                 "width=-1", "font=big", "legend=maybe", "lines.linewidth=thick"}) {
    refused(text.substr(0, text.find('=')), {"--set", text});
  }
  refused("'width'", {"--set", "width"});
  refused("'3.3'", {"--size", "3.3"});
  refused("width is", {"--size", "0x2"});
  refused("absent", {"--style", path("absent")});
  write_file(path("key.mplstyle"), "font.sizes: 3\n");
  refused("no parameter font.sizes", {"--style", path("key.mplstyle")});
  write_file(path("value.mplstyle"), "font.size: big\n");
  refused("value.mplstyle", {"--style", path("value.mplstyle")});
  refused("a.pdf", {"--out", path("a.pdf"), "--format", "png"});
  refused("a.txt", {"--out", path("a.txt")});
  refused("no figure 7", {"--figure", "7"});
  refused("no folder", {}, "nowhere");
  for (const std::string text : {"{}", "none", R"({"program": "pcxx-other"})", "[]"}) {
    const auto name = "run" + std::to_string(parts.size());
    write_run(path(name), {"map_error"});
    write_file(folder / name / "environment.json", text);
    refused(name, {}, name);
  }

  const std::string script =
      "import json, sys; sys.path.insert(0, sys.argv[1]); from pcxx_plots import redraw\n"
      "print(*[redraw.main(words) for words in json.loads(sys.argv[2])])\n";
  std::string text;
  ASSERT_EQ(run({interpreter, "-c", script, PCXX_SOURCE_DIR "/plots", commands.dump()}, text), 0)
      << text;
  std::istringstream lines(text);
  std::string line;
  std::getline(lines, line);
  std::string codes = "2";
  for (std::size_t i = 1; i < parts.size(); ++i) codes += " 2";
  EXPECT_EQ(line, codes);
  for (const auto& part : parts) {
    ASSERT_TRUE(std::getline(lines, line)) << text;
    EXPECT_NE(line.find(part), std::string::npos) << part << " is not in: " << line;
  }
  EXPECT_FALSE(std::getline(lines, line)) << line;
  for (const auto& entry : fs::recursive_directory_iterator(folder.path())) {
    EXPECT_NE(entry.path().extension(), ".png") << entry.path();
    EXPECT_NE(entry.path().extension(), ".pdf") << entry.path();
  }
}

// By hand: 8 measurements; the size that was asked for; and the user's own parameters of matplotlib
// stay as they were.
TEST(Redraw, IsAModuleToo) {
  const auto interpreter = python();
  if (interpreter.empty()) GTEST_SKIP() << "no Python with numpy and matplotlib";
  const test::TemporaryFolder folder;
  write_regression(folder / "run");
  write_reproduction(folder / "paper");
  const std::string script =
      "import sys; sys.path.insert(0, sys.argv[1])\n"
      "import matplotlib\n"
      "matplotlib.rcParams['font.size'] = 13\n"
      "before = dict(matplotlib.rcParams)\n"
      "import pcxx_plots\n"
      "records = pcxx_plots.load(sys.argv[2])\n"
      "print(len(records['value']), records['value'].sum(), sorted(set(records['rule'])))\n"
      "fig = pcxx_plots.figure(sys.argv[2], size=(4, 3), font=10)\n"
      "print(*fig.get_size_inches(), len(fig.axes), fig.axes[0].xaxis.label.get_size())\n"
      "fig = pcxx_plots.figure(sys.argv[3], of='7', settings={'width': 5})\n"
      "print(fig.get_figwidth())\n"
      "print([k for k in before if k != 'backend' and before[k] != matplotlib.rcParams[k]])\n";
  std::string text;
  ASSERT_EQ(run({interpreter, "-c", script, PCXX_SOURCE_DIR "/plots", (folder / "run").string(),
                 (folder / "paper").string()},
                text),
            0)
      << text;
  EXPECT_EQ(text, "8 6.0 ['bp', 'pc']\n4.0 3.0 2 10.0\n5.0\n[]\n");
}

}  // namespace
}  // namespace pcxx
