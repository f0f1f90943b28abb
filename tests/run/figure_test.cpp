#include <gtest/gtest.h>
#include <pcxx/core/files.h>
#include <pcxx/run/figure.h>

#include "support/environment.h"
#include "support/python.h"
#include "support/temporary_folder.h"

namespace pcxx::run {
namespace {

namespace fs = std::filesystem;

using test::TemporaryFolder;
using test::Variable;

// A folder of scripts, a folder of results with an odd name, and a Python that is a shell script.
class Figure : public ::testing::Test {
 protected:
  Figure() {
    fs::create_directory(folder_ / "plots");
    write_file(folder_ / "plots/small.py", "");
    fs::create_directories(results());
  }

  fs::path results() const { return folder_ / "it's; a \"$HOME\" &\n folder"; }
  fs::path figure() const { return results() / "figure.png"; }

  // Answers `-c ...` with `has_matplotlib`, and runs `body` for a script. Arguments of the script:
  // $1 its path, $2 the folder, $3 --out, $4 the figure.
  void install_python(const std::string& body, bool has_matplotlib = true) {
    const auto python = folder_ / "a python";
    write_file(python, "#!/bin/sh\n[ \"$1\" = -c ] && exit " +
                           std::string(has_matplotlib ? "0" : "1") + "\n" + body + "\n");
    fs::permissions(python, fs::perms::owner_all);
    python_.emplace("PCXX_PYTHON", python.string());
  }

  Drawing draw() const { return run::draw(results(), "small"); }

  void expect_not_drawn(const std::string& part) const {
    const auto drawing = draw();
    EXPECT_FALSE(drawing.drawn);
    EXPECT_NE(drawing.message.find(part), std::string::npos) << drawing.message;
    EXPECT_EQ(drawing.message.find('\n'), std::string::npos) << drawing.message;
    EXPECT_EQ(std::distance(fs::directory_iterator(results()), fs::directory_iterator()), 0)
        << "something was left";
  }

  TemporaryFolder folder_;
  Variable plots_{"PCXX_PLOTS", (folder_ / "plots").string()};
  std::optional<Variable> python_;
};

// Oracle: what the fake Python was given, word by word.
TEST_F(Figure, IsDrawnByTheScriptOfItsName) {
  install_python(
      "printf '%s|' \"$MPLBACKEND\" \"$1\" \"$2\" \"$3\" > \"$2/seen\"\n"
      "printf picture > \"$4\"; echo talk; case $4 in *.png) ;; *) exit 1;; esac");
  const Variable backend("MPLBACKEND", "TkAgg");
  ::testing::internal::CaptureStdout();
  const auto drawing = draw();
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), "");
  EXPECT_TRUE(drawing.drawn) << drawing.message;
  EXPECT_NE(drawing.message.find("figure.png"), std::string::npos);
  EXPECT_EQ(read_file(figure()), "picture");
  EXPECT_EQ(read_file(results() / "seen"),
            "Agg|" + (folder_ / "plots/small.py").string() + "|" + results().string() + "|--out|");
}

TEST_F(Figure, SaysHowToDrawItLater) {
  const std::string command = "python3 " + (folder_ / "plots/small.py").string();
  {
    const Variable none("PCXX_PYTHON", "/nonexistent");
    expect_not_drawn(command);
    expect_not_drawn("no Python with numpy and matplotlib");
    expect_not_drawn("PCXX_PYTHON");
  }
  install_python("printf picture > \"$4\"", false);
  expect_not_drawn("no Python with numpy and matplotlib");
}

TEST_F(Figure, SaysWhyTheScriptFailed) {
  install_python(
      R"(printf half > "$4"; printf 'Traceback\n  in line 1\nKeyError: x\n\n' >&2; exit 1)");
  expect_not_drawn("no figure: KeyError: x;");
  install_python("exit 3");
  expect_not_drawn("a python failed");
  install_python("exit 0");
  expect_not_drawn("the script wrote none");
  install_python("kill -9 $$");
  expect_not_drawn("a python failed");
}

// Contract: nothing of the current folder is run, whatever PATH says of it.
TEST_F(Figure, IsNotDrawnByWhatLiesInTheCurrentFolder) {
  const auto stranger = folder_ / "stranger";
  const std::string trap = "#!/bin/sh\ntouch " + (folder_ / "sprung").string() + "\n";
  for (const std::string name : {".venv/bin/python", "python3", "bin/python3"}) {
    fs::create_directories((stranger / name).parent_path());
    write_file(stranger / name, trap);
    fs::permissions(stranger / name, fs::perms::owner_all);
  }
  fs::create_directories(stranger / "plots");
  write_file(stranger / "plots/small.py", "");
  const test::CurrentFolder current(stranger);
  const Variable none("PCXX_PYTHON", std::nullopt);
  for (const std::string path : {"", ":", ".", "bin", ".:bin:/nonexistent", "/nonexistent:"}) {
    const Variable where("PATH", path);
    expect_not_drawn("no Python with numpy and matplotlib");
    const Variable named("PCXX_PYTHON", "python3");
    expect_not_drawn("no Python with numpy and matplotlib");
  }
  EXPECT_FALSE(fs::exists(folder_ / "sprung"));
}

// Contract: Python takes no module, and matplotlib no settings, of the current folder.
TEST_F(Figure, TakesNoModulesOfTheCurrentFolder) {
  const auto python = test::python_with("numpy, matplotlib");
  if (python.empty()) GTEST_SKIP() << "no Python with numpy and matplotlib";
  const auto stranger = folder_ / "stranger";
  fs::create_directory(stranger);
  const auto sprung = folder_ / "sprung";
  const std::string trap = "open('" + sprung.string() + "', 'w')\n";
  for (const std::string name : {"numpy", "matplotlib", "contextlib", "importlib", "sitecustomize",
                                 "usercustomize", "warnings", "records", "re", "json"}) {
    write_file(stranger / (name + ".py"), trap);
  }
  write_file(stranger / "matplotlibrc", "lines.linewidth: 77\n");
  write_file(folder_ / "plots/small.py",
             "import contextlib, json, re, sys, warnings\n"
             "import matplotlib, numpy\n"
             "assert matplotlib.rcParams['lines.linewidth'] != 77\n"
             "open(sys.argv[3], 'w').write('picture')\n");
  const test::CurrentFolder current(stranger);
  const Variable chosen("PCXX_PYTHON", python);
  for (const std::string modules : {"", ":", ".", "stranger:", "../stranger"}) {
    const Variable path("PYTHONPATH", modules);
    const auto drawing = draw();
    EXPECT_TRUE(drawing.drawn) << drawing.message;
    EXPECT_FALSE(fs::exists(sprung)) << modules;
  }
}

// A folder that is named from the current one is found from the scripts' own.
TEST_F(Figure, FoldersMayBeRelative) {
  install_python("printf picture > \"$4\"");
  const test::CurrentFolder current(folder_.path());
  const Variable plots("PCXX_PLOTS", "plots");
  const Variable python("PCXX_PYTHON", "./a python");
  EXPECT_TRUE(run::draw(fs::path("./") / results().filename(), "small").drawn);
  EXPECT_EQ(read_file(figure()), "picture");
}

// A pipe holds 64 KiB: more must be read while the child runs.
TEST_F(Figure, ReadsLongComplaints) {
  install_python(
      "i=0; while [ $i -lt 3000 ]; do echo 'a line of a very long traceback, forty characters' >&2;"
      " i=$((i+1)); done; echo last >&2; exit 1");
  expect_not_drawn("no figure: last;");
}

TEST_F(Figure, NeedsItsScript) {
  install_python("printf picture > \"$4\"");
  const Variable plots("PCXX_PLOTS", (folder_ / "nowhere").string());
  expect_not_drawn("nowhere/small.py' is not there");
  expect_not_drawn("PCXX_PLOTS");
}

}  // namespace
}  // namespace pcxx::run
