#include <gtest/gtest.h>
#include <pcxx/core/files.h>
#include <pcxx/train/figure.h>

#include "support/environment.h"
#include "support/temporary_folder.h"

namespace pcxx::train {
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

  Drawing draw() const { return train::draw(results(), "small"); }

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
}  // namespace pcxx::train
