#include <ATen/ATen.h>
#include <c10/util/Exception.h>
#include <gtest/gtest.h>
#include <pcxx/core/error.h>
#include <pcxx/core/files.h>
#include <pcxx/core/random.h>
#include <pcxx/run/program.h>
#include <torch/cuda.h>
#include <torch/version.h>

#include <csignal>
#include <limits>
#include <new>
#include <set>

#include "support/environment.h"
#include "support/process.h"
#include "support/small_program.h"
#include "support/temporary_folder.h"

namespace pcxx::run {
namespace {

namespace fs = std::filesystem;

using test::run_program;
using test::small_program;

using Names = std::set<std::string>;

Names names_in(const fs::path& folder) {
  Names names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename());
  return names;
}

const Names kFiles{"config.toml", "environment.json", "metrics.csv", "summary.json"};

// Draws a number per model, rate and seed.
void draw_numbers(run::Run& run) {
  if (run.config().text("dataset") == "auto") run.resolve("dataset", {std::string("digits")});
  for (const auto& model : run.config().models()) {
    for (const double rate : model.reals("learning_rate")) {
      for (const auto seed : model.integers("seeds")) {
        auto generator = make_generator(static_cast<std::uint64_t>(seed), Purpose::kNoise);
        const auto cell = run.records().cell(model).with("learning_rate", rate).with("seed", seed);
        run.records().add(cell, 1, "number",
                          rate * at::rand({}, generator, at::kDouble).item<double>());
      }
    }
  }
  run.summary()["nothing"] = std::numeric_limits<double>::quiet_NaN();
  run.summary()["width"] = run.config().integer("width");
  run.print("a table of {} rows", run.records().rows());
}

// Every test has an empty current folder.
class ProgramTest : public ::testing::Test {
 protected:
  // Exit code, one line on stderr with `part`, and nothing anywhere.
  void expect_failure(const test::Outcome& outcome, int code, const std::string& part) const {
    EXPECT_EQ(outcome.code, code) << outcome.errors;
    EXPECT_TRUE(outcome.errors.starts_with("pcxx-small: ")) << outcome.errors;
    EXPECT_NE(outcome.errors.find(part), std::string::npos) << outcome.errors;
    EXPECT_EQ(outcome.errors.find('\n'), outcome.errors.size() - 1) << outcome.errors;
    EXPECT_EQ(folder_.size(), files_before_) << "something was left";
  }

  std::size_t files_before_ = 0;
  test::TemporaryFolder folder_;
  test::CurrentFolder current_{folder_.path()};
};

// Oracle of the tests here: the contract in program.h.

TEST_F(ProgramTest, WritesItsFolder) {
  const auto outcome = run_program(small_program(draw_numbers),
                                   {"--out", "runs/a b", "--seed", "3", "--threads", "1"});
  EXPECT_EQ(outcome.code, 0) << outcome.errors;
  EXPECT_EQ(outcome.errors, "");
  EXPECT_EQ(outcome.out, "a table of 200 rows\nresults: runs/a b\n");
  EXPECT_EQ(names_in("runs/a b"), kFiles);

  const auto summary = nlohmann::json::parse(read_file("runs/a b/summary.json"));
  EXPECT_EQ(summary, nlohmann::json::parse(R"({"nothing": null, "width": 512})"));

  const auto environment = nlohmann::json::parse(read_file("runs/a b/environment.json"));
  for (const auto* name :
       {"version", "date", "libtorch", "compiler", "build_type", "os", "cores"}) {
    EXPECT_TRUE(environment.contains(name)) << name;
  }
  EXPECT_EQ(environment["program"], "pcxx-small");
  EXPECT_EQ(environment["command_line"], "pcxx-small --out 'runs/a b' --seed 3 --threads 1");
  EXPECT_EQ(environment["device"], "cpu");
  EXPECT_EQ(environment["threads"], 1);
  EXPECT_EQ(environment["libtorch"], TORCH_VERSION);
  EXPECT_GE(environment["seconds"], 0.0);
  EXPECT_EQ(environment["files"].get<Names>(), kFiles);

  const auto config = read_file("runs/a b/config.toml");
  EXPECT_EQ(config.substr(0, config.find('\n')),
            "# pcxx-small " + environment["version"].get<std::string>() +
                "; to repeat the run: pcxx-small --config 'runs/a b/config.toml'");
}

TEST_F(ProgramTest, TakesAFolderOfItsOwnByDefault) {
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(run_program(small_program(draw_numbers), {"--quiet"}).code, 0);
  }
  EXPECT_EQ(names_in(".").size(), 1U);
  const auto runs = names_in("runs");
  EXPECT_EQ(runs.size(), 2U);
  for (const auto& run : runs) EXPECT_EQ(names_in("runs/" + run), kFiles);
}

// Oracle: the first run.
TEST_F(ProgramTest, ItsConfigGivesTheSameNumbersAgain) {
  write_file("my.toml",
             "width = 7\nlearning_rate = { from = 1e-3, to = 0.7, points = 5 }\n"
             "seeds = [4, 11]\n[[models]]\nrule = \"bp\"\n[[models]]\nrule = \"pc\"\n"
             "rescaling = \"alpha\"\nlearning_rate = 0.3\n");
  const auto program = small_program(draw_numbers);
  ASSERT_EQ(run_program(program, {"--config", "my.toml", "--out", "a", "--set", "width=8"}).code,
            0);
  ASSERT_EQ(run_program(program, {"--config", "a/config.toml", "--out", "b"}).code, 0);
  const auto metrics = read_file("a/metrics.csv");
  EXPECT_EQ(std::count(metrics.begin(), metrics.end(), '\n'), 1 + 5 * 2 + 2);
  EXPECT_EQ(read_file("b/metrics.csv"), metrics);
  EXPECT_NE(read_file("a/config.toml").find("\ndataset = \"digits\"\n"), std::string::npos);
  const auto without_comment = [](const std::string& text) { return text.substr(text.find('\n')); };
  EXPECT_EQ(without_comment(read_file("b/config.toml")),
            without_comment(read_file("a/config.toml")));
}

TEST_F(ProgramTest, AnswersQuestionsWithoutRunning) {
  const auto program = small_program([](run::Run&) { FAIL(); });
  const auto help = run_program(program, {"--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_EQ(help.out, help_text(program));
  const auto version = run_program(program, {"--version"});
  EXPECT_EQ(version.code, 0);
  EXPECT_TRUE(version.out.starts_with("pcxx-small ") && version.out.ends_with("\n"));
  const auto config = run_program(program, {"--print-config", "--set", "width=[3,4]"});
  EXPECT_EQ(config.code, 0);
  EXPECT_EQ(config.out, config::Config::read(program.schema, std::nullopt, {"width=[3,4]"}).toml());
  for (const auto& outcome : {help, version, config}) EXPECT_EQ(outcome.errors, "");
  EXPECT_EQ(folder_.size(), 0U);
}

TEST_F(ProgramTest, RefusesBadInputBeforeItRuns) {
  write_file("file", "");
  write_file("bad.toml", "width = 3\nwidht = 4\n");
  files_before_ = 2;
  const struct {
    std::vector<std::string> words;
    std::string part;
  } cases[] = {{{"--bogus"}, "'bogus'"},
               {{"--quiet", "False"}, "'False'"},
               {{"--set", "widht=3"}, "width"},
               {{"--set", "width=-3"}, "width"},
               {{"--seed", "x"}, "seeds"},
               {{"--threads", "many"}, "threads"},
               {{"--config", "missing.toml"}, "missing.toml"},
               {{"--config", "bad.toml"}, "bad.toml:2:1"},
               {{"--device", "tpu"}, "'tpu'"},
               {{"--device", "cuda:x"}, "'cuda:x'"},
               {{"--device", "cuda:"}, "'cuda:'"},
               {{"--device", "cuda:99"}, "'cuda:99'"},
               {{"--out", "file"}, "'file'"},
               {{"--out", "file/below"}, "file/below"},
               {{"--out", "/proc/nowhere"}, "/proc/nowhere"}};
  const auto program = small_program([](run::Run&) { FAIL(); });
  for (const auto& [words, part] : cases) expect_failure(run_program(program, words), 2, part);
}

TEST_F(ProgramTest, RefusesADeviceThatIsNotThere) {
  if (torch::cuda::is_available()) GTEST_SKIP() << "this machine has a CUDA device";
  expect_failure(run_program(small_program(draw_numbers), {"--device", "cuda"}), 2,
                 "no CUDA device");
}

// Writes to all kinds of files, then fails.
Program failing(std::function<void(run::Run&)> fail) {
  return small_program([fail](run::Run& run) {
    draw_numbers(run);
    run.folder().file("picture.pgm").stream() << "half";
    write_file(run.folder().file("weights.pt").temporary(), "half");
    fail(run);
  });
}

TEST_F(ProgramTest, AFailureIsOneSentenceAndLeavesNothing) {
  const auto run = [](const std::function<void(run::Run&)>& fail) {
    return run_program(failing(fail), {"--quiet", "--out", "runs/deep/a"});
  };
  expect_failure(run([](run::Run&) { user_error("width {} is too much", 3); }), 2,
                 "width 3 is too much");
  expect_failure(run([](run::Run&) { TORCH_CHECK(false, "a bug"); }), 1, "a bug\n");
  expect_failure(run([](run::Run&) { at::ones({2, 3}).mm(at::ones({2, 3})); }), 1, "mat1 and mat2");
  expect_failure(run([](run::Run&) { throw std::runtime_error("no luck"); }), 1, "no luck");
  expect_failure(run([](run::Run&) { throw std::bad_alloc(); }), 1, "out of memory");
}

TEST_F(ProgramTest, ASignalEndsItCleanly) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU}) {
    const auto program = failing([signal](run::Run& run) {
      run.check_interrupted();
      std::raise(signal);
      std::raise(signal);
      try {
        run.check_interrupted();
      } catch (const std::exception&) {
        FAIL() << "experiments catch those";
      }
      FAIL() << "it went on";
    });
    expect_failure(run_program(program, {"--quiet", "--out", "runs/a"}), 130, "interrupted");
  }
  // It is forgotten by the next run.
  EXPECT_EQ(run_program(small_program(draw_numbers), {}).code, 0);
}

// The same command started again while the first is at work.
TEST_F(ProgramTest, ASecondRunInTheSameFolderIsRefused) {
  test::Outcome second;
  const auto first = run_program(
      small_program([&](run::Run& run) {
        draw_numbers(run);
        const test::Arguments words("pcxx-small", {"--quiet", "--out", "a"});
        second.code = run_program(small_program(draw_numbers), words.count(), words.words());
      }),
      {"--quiet", "--out", "a"});
  EXPECT_EQ(second.code, 2);
  EXPECT_TRUE(first.errors.starts_with("pcxx-small: 'a' is in use: pcxx-small, process "))
      << first.errors;
  EXPECT_EQ(first.code, 0);
  EXPECT_EQ(names_in("a"), kFiles);
}

// A signal after the last check counts too.
TEST_F(ProgramTest, ASignalBeforeTheEndEndsIt) {
  expect_failure(run_program(failing([](run::Run&) { std::raise(SIGINT); }), {"--quiet"}), 130,
                 "interrupted");
}

// The handlers of the caller come back.
TEST_F(ProgramTest, SignalsAreTheCallersAgainAfterwards) {
  const auto before = std::signal(SIGTERM, SIG_IGN);
  run_program(small_program(draw_numbers), {});
  EXPECT_EQ(std::signal(SIGTERM, before), SIG_IGN);
}

Program saving(const std::vector<std::string>& names) {
  return small_program([names](run::Run& run) {
    draw_numbers(run);
    for (const auto& name : names) run.folder().write(name, "new");
  });
}

TEST_F(ProgramTest, AnOlderRunIsReplacedWholeAndOnlyAtTheEnd) {
  ASSERT_EQ(run_program(saving({"weights1.pt", "weights2.pt"}), {"--out", "a"}).code, 0);
  write_file("a/notes.txt", "mine");
  const auto old = read_file("a/metrics.csv");
  files_before_ = 1;
  expect_failure(run_program(failing([](run::Run&) { user_error("no"); }),
                             {"--quiet", "--out", "a", "--seed", "5"}),
                 2, "no");
  auto expected = kFiles;
  expected.insert({"weights1.pt", "weights2.pt", "notes.txt"});
  EXPECT_EQ(names_in("a"), expected);
  EXPECT_EQ(read_file("a/metrics.csv"), old);

  ASSERT_EQ(run_program(saving({"weights1.pt"}), {"--out", "a", "--seed", "5"}).code, 0);
  expected.erase("weights2.pt");
  EXPECT_EQ(names_in("a"), expected);
  EXPECT_NE(read_file("a/metrics.csv"), old);
}

TEST_F(ProgramTest, QuietSaysNothing) {
  const auto outcome = run_program(small_program(draw_numbers), {"--quiet", "--out", "a"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.out + outcome.errors, "");
}

TEST_F(ProgramTest, GivesTheExperimentItsPaths) {
  std::string data;
  std::optional<fs::path> load;
  const auto program = small_program([&](run::Run& run) {
    data = run.config().text("data");
    load = run.load_path();
  });
  const test::Variable unset("PCXX_DATA_DIR", std::nullopt);
  run_program(program, {"--out", "a"});
  EXPECT_EQ(data, "");
  EXPECT_EQ(load, std::nullopt);

  const test::Variable set("PCXX_DATA_DIR", "everywhere");
  run_program(program, {"--out", "a"});
  EXPECT_EQ(data, "") << "data::data_root looks there";
  write_file("w.pt", "");
  run_program(program, {"--out", "a", "--data", "my [odd] \"data\" = folder", "--load", "w.pt"});
  EXPECT_EQ(data, "my [odd] \"data\" = folder");
  EXPECT_EQ(load, "w.pt");
  const auto config = read_file("a/config.toml");
  EXPECT_NE(config.substr(0, config.find('\n')).find("--load w.pt"), std::string::npos);
  run_program(program, {"--config", "a/config.toml", "--out", "b"});
  EXPECT_EQ(data, "my [odd] \"data\" = folder");
}

// Contract: the config.toml of a folder whose name is no UTF-8 can be run again, and its comment
// names the folder as a shell takes it. Oracle: bash's own reading of the words.
TEST_F(ProgramTest, AnOutputFolderMayHaveAnyName) {
  const auto program = small_program(draw_numbers);
  for (const std::string name :
       {"lat\xe9in", "caf\xc3\xa9", "half\xf0\x9f", "\xed\xa0\x80", "a\nb"}) {
    SCOPED_TRACE(name);
    ASSERT_EQ(run_program(program, {"--out", name}).code, 0);
    const auto config = read_file(fs::path(name) / "config.toml");
    const auto outcome =
        run_program(program, {"--config", (fs::path(name) / "config.toml").string(), "--out", "b"});
    EXPECT_EQ(outcome.code, 0) << outcome.errors;
    EXPECT_EQ(read_file("b/metrics.csv"), read_file(fs::path(name) / "metrics.csv"));
    const auto comment = config.substr(0, config.find('\n'));
    const auto word = comment.substr(comment.find("--config ") + 9);
    const test::Process shell({"bash", "-c", "printf %s " + word});
    EXPECT_EQ(shell.wait(), 0);
    EXPECT_EQ(shell.out(), (fs::path(name) / "config.toml").string()) << word;
  }
}

// Contract: one line with whatever the words hold.
TEST_F(ProgramTest, AnErrorIsOneLine) {
  const auto outcome =
      run_program(small_program(draw_numbers), {"--out", "a", "--load", "no\nfile\x1b[31m"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_NE(outcome.errors.find("no\\nfile\\x1b[31m"), std::string::npos) << outcome.errors;
  EXPECT_EQ(outcome.errors.find('\n'), outcome.errors.size() - 1);
}

// A figure that cannot be drawn is no failure; an older run's figure does not outlive it.
TEST_F(ProgramTest, DrawsItsFigure) {
  fs::create_directory("plots");
  write_file("plots/small.py", "");
  write_file("python", "#!/bin/sh\n[ \"$1\" = -c ] || cp \"$2/metrics.csv\" \"$4\"\n");
  fs::permissions("python", fs::perms::owner_all);
  const test::Variable plots("PCXX_PLOTS", "plots");
  auto program = small_program(draw_numbers);
  program.plot_script = "small";
  {
    const test::Variable python("PCXX_PYTHON", "./python");
    const auto outcome = run_program(program, {"--out", "a"});
    EXPECT_EQ(outcome.code, 0) << outcome.errors;
    EXPECT_TRUE(outcome.out.ends_with("results: a\nfigure: a/figure.png\n")) << outcome.out;
    EXPECT_EQ(read_file("a/figure.png"), read_file("a/metrics.csv"));
  }
  const test::Variable python("PCXX_PYTHON", "/nonexistent");
  const auto outcome = run_program(program, {"--out", "a"});
  EXPECT_EQ(outcome.code, 0) << outcome.errors;
  EXPECT_EQ(outcome.errors, "");
  EXPECT_NE(outcome.out.find("python3 plots/small.py a --out a/figure.png\n"), std::string::npos)
      << outcome.out;
  EXPECT_EQ(names_in("a"), kFiles);
}

}  // namespace
}  // namespace pcxx::run
