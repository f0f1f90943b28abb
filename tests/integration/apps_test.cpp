// The built programs, as a user runs them.

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <pcxx/core/files.h>
#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <thread>

#include "support/csv.h"
#include "support/environment.h"
#include "support/idx_files.h"
#include "support/markdown.h"
#include "support/process.h"
#include "support/tables.h"
#include "support/temporary_folder.h"

namespace pcxx {
namespace {

namespace fs = std::filesystem;

using Words = std::vector<std::string>;
using Names = std::set<std::string>;

const Words kPrograms{"pcxx-alignment", "pcxx-inference", "pcxx-regression", "pcxx-autoencoder",
                      "pcxx-classifier"};

// Small, and with tensors large enough for several threads to share one. In float64: an iterative
// inference that stops by a tolerance hides no rounding of 1e-16, but one of 1e-7 may cost a pass.
const std::map<std::string, Words> kTasks{
    {"pcxx-alignment",
     {"--set", "rule=[bp,pc]", "--set", "rescaling=[none,decorrelation]", "--set", "width=200",
      "--set", "batch_size=[1,300]", "--set", "seeds=2", "--set", "held_out=200"}},
    {"pcxx-inference",
     {"--set", "task=teacher", "--set", "architecture=dln", "--set", "widths=[]", "--set",
      "width=200", "--set", "hidden_layers=2", "--set", "batch_size=50", "--set", "seeds=2",
      "--set", "inference_steps=15", "--set", "dtype=float64"}},
    {"pcxx-regression",
     {"--set", "rule=[bp,pc]", "--set", "rescaling=[none,projection]", "--set", "width=40", "--set",
      "learning_rate={from=0.01,to=1,points=15}", "--set", "steps=4", "--set", "seeds=[3,5]"}},
    {"pcxx-autoencoder",
     {"--set", "rescaling=[none,projection]", "--set", "dataset=digits", "--set", "samples=200",
      "--set", "test_samples=100", "--set", "steps=3", "--set", "seeds=1", "--set",
      "learning_rate=[0.1,1]", "--set", "test_every=2", "--set", "dtype=float64"}},
    {"pcxx-classifier", {"--set", "optimizer=[sgd,adam]",
                         "--set", "dataset=digits",
                         "--set", "samples=300",
                         "--set", "test_samples=100",
                         "--set", "widths=[784,32,10]",
                         "--set", "steps=4",
                         "--set", "seeds=2",
                         "--set", "learning_rate=[0.003,0.1]",
                         "--set", "test_every=2",
                         "--set", "dtype=float64"}}};

std::string binary(const std::string& name) {
  return std::string(PCXX_BINARY_DIR) + "/bin/" + name;
}

Names names_in(const fs::path& folder) {
  Names names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename());
  return names;
}

// The rows of a file of measurements, each by the names of its columns.
std::vector<std::map<std::string, std::string>> rows_of(const fs::path& path) {
  std::istringstream lines(read_file(path));
  std::string line;
  std::getline(lines, line);
  const auto header = test::fields(line);
  std::vector<std::map<std::string, std::string>> rows;
  while (std::getline(lines, line)) {
    const auto words = test::fields(line);
    auto& row = rows.emplace_back();
    for (std::size_t c = 0; c < header.size(); ++c) row[header[c]] = words.at(c);
  }
  return rows;
}

struct Outcome {
  int code;
  std::string out;
  std::string errors;
};

// Every test has an empty current folder, and no Python that could draw.
class Apps : public ::testing::Test {
 protected:
  static Outcome run(const std::string& program, const Words& words) {
    Words command{binary(program)};
    command.insert(command.end(), words.begin(), words.end());
    const test::Process process(command);
    const int code = process.wait();
    return {code, process.out(), process.errors()};
  }

  static Outcome run_task(const std::string& program, const Words& more) {
    auto words = kTasks.at(program);
    words.insert(words.end(), more.begin(), more.end());
    return run(program, words);
  }

  test::TemporaryFolder folder_;
  test::CurrentFolder current_{folder_.path()};
  test::Variable python_{"PCXX_PYTHON", "/nonexistent"};
};

// Oracle: the first run. Its config.toml gives the same numbers to the last bit, on any number of
// threads; where several threads share one run, and split its sums otherwise, to rounding.
TEST_F(Apps, RunsAreRepeatable) {
  for (const auto& program : kPrograms) {
    SCOPED_TRACE(program);
    const auto first = run_task(program, {"--threads", "1", "--out", "a"});
    ASSERT_EQ(first.code, 0) << first.errors;
    EXPECT_EQ(first.errors, "");
    EXPECT_NE(first.out.find("\nresults: a\n"), std::string::npos) << first.out;
    const auto names = names_in("a");
    for (const auto* name : {"config.toml", "environment.json", "metrics.csv", "summary.json"}) {
      EXPECT_TRUE(names.contains(name)) << name;
    }
    for (const auto& name : names) EXPECT_FALSE(name.starts_with('.')) << name;

    const auto second = run(program, {"--config", "a/config.toml", "--quiet", "--out", "b"});
    ASSERT_EQ(second.code, 0) << second.errors;
    EXPECT_EQ(second.out + second.errors, "");
    const auto metrics = read_file("a/metrics.csv");
    EXPECT_GT(metrics.size(), 1000U);
    EXPECT_TRUE(read_file("b/metrics.csv") == metrics);

    const auto third =
        run(program, {"--config", "a/config.toml", "--threads", "2", "--quiet", "--out", "c"});
    ASSERT_EQ(third.code, 0) << third.errors;
    EXPECT_EQ(nlohmann::json::parse(read_file("c/environment.json"))["threads"], 2);
    EXPECT_TRUE(read_file("c/metrics.csv") == metrics);

    const auto fourth = run(
        program, {"--config", "a/config.toml", "--set", "run_threads=2", "--quiet", "--out", "d"});
    ASSERT_EQ(fourth.code, 0) << fourth.errors;
    EXPECT_LT(test::largest_difference(metrics, read_file("d/metrics.csv")), 1e-11);
    for (const auto* folder : {"a", "b", "c", "d"}) fs::remove_all(folder);
  }
}

// Exit code 2, one sentence with `part`, and no file or folder.
TEST_F(Apps, RefuseBadInput) {
  write_file("text.pt", "no weights");
  write_file("bad.toml", "seeds = 2\nwidth = \"wide\"\n");
  const auto before = names_in(".");
  const struct {
    std::string program;
    Words words;
    std::string part;
  } cases[] = {
      {"pcxx-alignment", {"--wdith", "3"}, "'wdith'"},
      {"pcxx-alignment", {"--set", "width=[3,x]"}, "width"},
      {"pcxx-alignment", {"--config", "bad.toml"}, "bad.toml:2:"},
      {"pcxx-alignment", {"--set", "architecture=residual", "--set", "inputs=3"}, "one width"},
      {"pcxx-alignment", {"--load", "text.pt"}, "'load'"},
      {"pcxx-autoencoder", {"--set", "widths=[]"}, "widths"},
      {"pcxx-alignment", {"--set", "seeds=1", "--out", "text.pt"}, "'text.pt'"},
      {"pcxx-regression", {"--set", "learning_rat=1"}, "learning_rate"},
      {"pcxx-regression", {"--set", "rule=hebb"}, "rule"},
      {"pcxx-regression", {"--set", "rule=kpc", "--set", "optimizer=adam"}, "optimizer"},
      {"pcxx-alignment", {"--set", "rule=pc", "--set", "nudging=[1,0]"}, "nudging = 0"},
      {"pcxx-regression", {"--set", "run_threads=[1,2]"}, "run_threads"},
      {"pcxx-regression", {"--quiet", "False"}, "'False'"},
      {"pcxx-regression",
       {"--set", "architecture=relu", "--set", "inference=closed_form", "--set", "rule=pc"},
       "closed_form"},
      {"pcxx-inference",
       {"--set", "inference=state_descent", "--set", "inference_step_size=0"},
       "inference_step_size above 0"},
      {"pcxx-inference",
       {"--set", "task=labels", "--set", "dataset=digits", "--set", "samples=99", "--set",
        "test_samples=9", "--set", "widths=[784,20,9]"},
       "labels up to 9"},
      {"pcxx-inference",
       {"--set", "dataset=digits", "--set", "samples=99", "--set", "test_samples=9", "--set",
        "widths=[784,20,10]"},
       "from 784 to 784"},
      {"pcxx-inference",
       {"--set", "inference=closed_form", "--set", "inference_step_size=0"},
       "closed_form"},
      {"pcxx-inference",
       {"--set", "task=labels", "--set", "dataset=idx", "--set", "train_images=images"},
       "train_labels"},
      {"pcxx-reproduce", {"--figure", "1B", "--out", "text.pt"}, "'text.pt' is no folder"},
      {"pcxx-trajectory", {"--set", "target=[1]"}, "2 outputs"},
      {"pcxx-trajectory", {"--set", "widths=[2]"}, "widths"},
      {"pcxx-autoencoder", {"--set", "dataset=idx"}, "train_images"},
      {"pcxx-autoencoder", {"--set", "dataset=mnist", "--data", "nowhere"}, "nowhere"},
      {"pcxx-autoencoder",
       {"--set", "dataset=digits", "--set", "samples=9", "--set", "test_samples=9", "--load",
        "text.pt"},
       "'text.pt'"},
      {"pcxx-autoencoder",
       {"--set", "dataset=digits", "--set", "samples=9", "--set", "test_samples=9", "--set",
        "widths=[700,30,700]"},
       "784"},
      {"pcxx-classifier", {"--set", "widths=[10]"}, "widths"},
      {"pcxx-autoencoder",
       {"--set", "dataset=digits", "--set", "samples=9", "--set", "test_samples=9", "--set",
        "loss=cross_entropy"},
       "architecture = 'autoencoder'"},
      {"pcxx-classifier",
       {"--set", "dataset=digits", "--set", "samples=9", "--set", "test_samples=9", "--set",
        "loss=cross_entropy", "--set", "rule=kpc", "--set", "learning_rate=1", "--set",
        "noise_fraction=1"},
       "noise_fraction"},
      {"pcxx-classifier",
       {"--set", "dataset=idx", "--set", "train_images=images", "--set", "test_images=images"},
       "train_labels"},
      {"pcxx-classifier",
       {"--set", "dataset=digits", "--set", "samples=9", "--set", "test_samples=9", "--set",
        "widths=[700,10]"},
       "784"},
      {"pcxx-classifier",
       {"--set", "dataset=digits", "--set", "samples=99", "--set", "test_samples=9", "--set",
        "widths=[784,9]"},
       "labels up to 9"},
      {"pcxx-classifier",
       {"--set", "dataset=digits", "--set", "samples=9", "--set", "test_samples=9", "--load",
        "text.pt"},
       "'text.pt'"},
  };
  for (const auto& [program, words, part] : cases) {
    SCOPED_TRACE(program + " " + words.back());
    const auto outcome = run(program, words);
    EXPECT_EQ(outcome.code, 2) << outcome.errors;
    EXPECT_EQ(outcome.out, "");
    EXPECT_TRUE(outcome.errors.starts_with(program + ": ")) << outcome.errors;
    EXPECT_NE(outcome.errors.find(part), std::string::npos) << outcome.errors;
    EXPECT_EQ(outcome.errors.find('\n'), outcome.errors.size() - 1) << outcome.errors;
    EXPECT_EQ(names_in("."), before);
  }
}

// The examples of --help, as bash takes them.
TEST_F(Apps, TheExamplesOfTheHelpAreRight) {
  auto programs = kPrograms;
  programs.insert(programs.end(), {"pcxx-activities", "pcxx-trajectory"});
  for (const auto& program : programs) {
    std::istringstream help(run(program, {"--help"}).out);
    int examples = 0;
    for (std::string line; std::getline(help, line);) {
      if (!line.starts_with("  " + program)) continue;
      ++examples;
      const auto config = line.find("configs/");
      const auto file =
          config == std::string::npos
              ? fs::path()
              : PCXX_SOURCE_DIR / fs::path(line.substr(config, line.find(' ', config)));
      if (!file.empty() && !fs::exists(file)) continue;
      const test::Process process({"bash", "-c",
                                   "cd '" PCXX_SOURCE_DIR "' && '" PCXX_BINARY_DIR "/bin/'" +
                                       line.substr(2) + " --print-config"});
      EXPECT_EQ(process.wait(), 0) << line << "\n" << process.errors();
    }
    EXPECT_GE(examples, 2) << program;
  }
}

// Oracle: what the test gave when the weights were saved.
TEST_F(Apps, SavedWeightsGiveTheirTestErrorAgain) {
  for (const std::string program : {"pcxx-autoencoder", "pcxx-classifier"}) {
    SCOPED_TRACE(program);
    ASSERT_EQ(run_task(program, {"--out", "a", "--quiet", "--set", "seeds=1"}).code, 0);
    const auto model = nlohmann::json::parse(read_file("a/summary.json"))["models"][1];
    const auto outcome =
        run_task(program, {"--quiet", "--out", "b", "--set", "steps=0", "--set", "learning_rate=1",
                           "--set", "rule=pc", "--load",
                           "a/" + model["weights"][0].get<std::string>(), "--set", "seeds=1"});
    ASSERT_EQ(outcome.code, 0) << outcome.errors;
    const auto again = nlohmann::json::parse(read_file("b/summary.json"))["models"][0];
    EXPECT_EQ(again["final_error"], model["final_error"]);
    EXPECT_EQ(again.value("final_accuracy", -1.0), model.value("final_accuracy", -1.0));
    for (const auto* folder : {"a", "b"}) fs::remove_all(folder);
  }
}

// Oracle: the first update of a training at next to no rate, whose passes do follow one another;
// alignment is measured with weights that stand still.
TEST_F(Apps, AlignmentOfSeveralStepsIsThatOfTheirSum) {
  const Words model{"--set", "rule=ipc",         "--set", "rescaling=recursive_projection",
                    "--set", "width=8",          "--set", "hidden_layers=2",
                    "--set", "batch_size=4",     "--set", "seeds=2",
                    "--set", "ipc_passes=5",     "--set", "ipc_step_size=0.2",
                    "--set", "bias=true",        "--set", "init=kaiming",
                    "--set", "architecture=relu"};
  const auto alignments = [&](const std::string& program, const Words& more) {
    auto words = model;
    words.insert(words.end(), more.begin(), more.end());
    EXPECT_EQ(run(program, words).code, 0);
    std::map<std::string, double> of_seeds;
    for (const auto& row : rows_of(more.back() + "/metrics.csv")) {
      const bool first = row.at("metric") == "target_alignment" && row.at("step") == "0";
      if (first) of_seeds[row.at("seed")] = std::stod(row.at("value"));
    }
    return of_seeds;
  };
  const auto measured = alignments("pcxx-alignment", {"--out", "a"});
  const auto trained =
      alignments("pcxx-regression", {"--set", "steps=1", "--set", "learning_rate=1e-9", "--set",
                                     "measure=[\"target_alignment\"]", "--out", "b"});
  ASSERT_EQ(measured.size(), 2U);
  for (const auto& [seed, value] : measured) EXPECT_NEAR(trained.at(seed), value, 1e-6);
}

// Oracle: metrics.csv. The rate that ends most accurate is chosen, in the mean over the seeds, and
// its accuracy is that of the summary and of the table.
TEST_F(Apps, TheMostAccurateRateIsChosen) {
  const auto outcome = run_task("pcxx-classifier", {"--out", "a"});
  ASSERT_EQ(outcome.code, 0) << outcome.errors;
  std::map<std::string, std::map<std::string, double>> accuracies;  // by optimizer and rule, rate
  for (const auto& row : rows_of("a/metrics.csv")) {
    if (row.at("metric") != "test_accuracy" || row.at("step") != "4") continue;
    accuracies[row.at("rule") + " " + row.at("optimizer")][row.at("learning_rate")] +=
        std::stod(row.at("value")) / 2;
  }
  const auto models = nlohmann::json::parse(read_file("a/summary.json"))["models"];
  ASSERT_EQ(models.size(), 4U);
  for (const auto& model : models) {
    EXPECT_EQ(model["metric"], "test_accuracy");
    const auto& by_rate = accuracies.at(model["rule"].get<std::string>() + " " +
                                        model["optimizer"].get<std::string>());
    ASSERT_EQ(by_rate.size(), 2U);
    double best = 0;
    for (const auto& [rate, accuracy] : by_rate) best = std::max(best, accuracy);
    EXPECT_NEAR(by_rate.at(fmt::format("{}", model["best_rate"].get<double>())), best, 1e-12);
    EXPECT_NEAR(model["final_accuracy"].get<double>(), best, 1e-12);
    EXPECT_NE(outcome.out.find(fmt::format("{:.3g}", best)), std::string::npos) << outcome.out;
  }
}

// Oracle: metrics.csv, and the labels of the test images. Rows sum to the images of their class, and
// the diagonal to the accuracy, of every model and seed at its best rate.
TEST_F(Apps, ClassifiersCountWhatTheyConfuse) {
  ASSERT_EQ(run_task("pcxx-classifier", {"--out", "a", "--quiet"}).code, 0);
  std::map<std::string, std::map<std::string, int>> rows;  // by network, and class
  std::map<std::string, int> right;
  for (const auto& row : rows_of("a/confusion.csv")) {
    const auto whose = row.at("rule") + " " + row.at("optimizer") + " " + row.at("seed");
    rows[whose][row.at("target")] += std::stoi(row.at("count"));
    if (row.at("target") == row.at("predicted")) right[whose] += std::stoi(row.at("count"));
    EXPECT_TRUE(row.at("model").starts_with(row.at("rule")));
  }
  ASSERT_EQ(rows.size(), 8U);
  int total = 0;
  for (const auto& [label, count] : rows.begin()->second) total += count;
  EXPECT_EQ(total, 100);
  std::map<std::string, double> best;  // rate
  const auto models = nlohmann::json::parse(read_file("a/summary.json"))["models"];
  for (const auto& model : models) {
    best[model["rule"].get<std::string>() + " " + model["optimizer"].get<std::string>()] =
        model["best_rate"];
  }
  for (const auto& row : rows_of("a/metrics.csv")) {
    const auto model = row.at("rule") + " " + row.at("optimizer");
    const bool last = row.at("metric") == "test_accuracy" && row.at("step") == "4";
    if (!last || std::stod(row.at("learning_rate")) != best.at(model)) continue;
    const auto whose = model + " " + row.at("seed");
    EXPECT_NEAR(right.at(whose), 100 * std::stod(row.at("value")), 1e-9) << whose;
    EXPECT_TRUE(rows.at(whose) == rows.begin()->second) << whose;
    EXPECT_EQ(rows.at(whose).size(), 10U);
  }
}

// A grey PNG of rows without filters, as [rows][columns].
std::vector<std::vector<int>> pixels_of(const fs::path& path) {
  const auto file = read_file(path);
  const auto number = [&](std::size_t at) {
    std::size_t value = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      value = value << 8U | static_cast<std::uint8_t>(file[at + i]);
    }
    return value;
  };
  const auto columns = number(16);
  const auto rows = number(20);
  const auto data = file.find("IDAT");
  std::string unpacked(rows * (columns + 1), '\0');
  auto size = static_cast<uLongf>(unpacked.size());
  EXPECT_EQ(::uncompress(reinterpret_cast<Bytef*>(unpacked.data()), &size,
                         reinterpret_cast<const Bytef*>(file.data() + data + 4), number(data - 4)),
            Z_OK);
  EXPECT_EQ(size, unpacked.size());
  std::vector<std::vector<int>> pixels(rows);
  for (std::size_t i = 0; i < rows; ++i) {
    const auto* row = unpacked.data() + i * (columns + 1) + 1;
    for (std::size_t j = 0; j < columns; ++j)
      pixels[i].push_back(static_cast<std::uint8_t>(row[j]));
  }
  return pixels;
}

// Those of float64 of a file of weights.
std::vector<double> weights_of(const fs::path& path, const std::string& name, std::size_t count) {
  const auto file = read_file(path);
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof(length));
  const auto header = nlohmann::json::parse(file.substr(8, length));
  const auto begin = header[name]["data_offsets"][0].get<std::size_t>();
  std::vector<double> weights(count);
  std::memcpy(weights.data(), file.data() + 8 + length + begin, count * sizeof(double));
  return weights;
}

// Oracle: the saved weights. Each unit's row is an image scaled by its largest weight.
TEST_F(Apps, FiltersAreTheFirstWeights) {
  for (const std::string program : {"pcxx-autoencoder", "pcxx-classifier"}) {
    SCOPED_TRACE(program);
    const std::string widths = program == "pcxx-classifier" ? "[784,5,10]" : "[784,5,784]";
    ASSERT_EQ(run_task(program, {"--out", "a", "--quiet", "--set", "seeds=1", "--set", "rule=pc",
                                 "--set", "widths=" + widths})
                  .code,
              0);
    const auto summary = nlohmann::json::parse(read_file("a/summary.json"));
    ASSERT_EQ(summary["filter_models"].size(), summary["models"].size());
    const auto pixels = pixels_of("a/filters.png");
    ASSERT_EQ(pixels.front().size(), 3U * 56 + 8);
    ASSERT_EQ(pixels.size(), 2U * (2 * 56 + 4) + 16);
    for (std::size_t m = 0; m < 2; ++m) {
      const auto file = summary["models"][m]["weights"][0].get<std::string>();
      const auto weights = weights_of(fs::path("a") / file, "layer1.weight", 5 * 784);
      for (std::size_t unit = 0; unit < 5; ++unit) {
        const auto* row = weights.data() + unit * 784;
        double most = 0;
        for (std::size_t i = 0; i < 784; ++i) most = std::max(most, std::abs(row[i]));
        for (std::size_t i = 0; i < 784; ++i) {
          const int found = pixels[m * (2 * 56 + 4 + 16) + unit / 3 * 60 + i / 28 * 2]
                                  [unit % 3 * 60 + i % 28 * 2];
          ASSERT_NEAR(found, 128 + 127 * row[i] / most, 0.51) << m << " " << unit << " " << i;
        }
      }
    }
    fs::remove_all("a");
  }
}

// Oracle: the run at once. Parts of it that are merged, or gone on with, leave the same files.
TEST_F(Apps, FiguresWithoutPythonSurviveShards) {
  ASSERT_EQ(run_task("pcxx-classifier", {"--out", "whole", "--quiet"}).code, 0);
  for (const std::string shard : {"1/2", "0/2"}) {
    ASSERT_EQ(run_task("pcxx-classifier", {"--out", "parts", "--quiet", "--shard", shard}).code, 0);
    EXPECT_FALSE(fs::exists("parts/confusion.csv"));
    EXPECT_FALSE(fs::exists("parts/filters.png"));
  }
  ASSERT_EQ(run("pcxx-classifier", {"--merge", "parts", "--quiet"}).code, 0);
  for (const std::string name : {"confusion.csv", "filters.png"}) {
    EXPECT_TRUE(read_file("parts/" + name) == read_file("whole/" + name)) << name;
  }
}

// Contract: a network whose shape is said twice is refused; one of hidden layers and a width trains.
TEST_F(Apps, ClassifiersTakeAWidthAndHiddenLayers) {
  const Words mupc{"--set",
                   "dataset=digits",
                   "--set",
                   "samples=128",
                   "--set",
                   "test_samples=50",
                   "--set",
                   "steps=2",
                   "--set",
                   "seeds=1",
                   "--set",
                   "learning_rate=0.01",
                   "--quiet",
                   "--set",
                   "architecture=mupc",
                   "--set",
                   "width=16",
                   "--out",
                   "a"};
  auto words = mupc;
  const auto refused = run("pcxx-classifier", words);
  EXPECT_EQ(refused.code, 2);
  EXPECT_NE(refused.errors.find("width = 16 says nothing beside widths = [784, 256, 256, 10]"),
            std::string::npos)
      << refused.errors;
  words.insert(words.end(), {"--set", "widths=[]", "--set", "hidden_layers=[3,6]"});
  const auto outcome = run("pcxx-classifier", words);
  ASSERT_EQ(outcome.code, 0) << outcome.errors;
  std::set<std::string> shapes;
  for (const auto& row : rows_of("a/metrics.csv")) {
    EXPECT_EQ(row.at("init"), "normal");
    shapes.insert(row.at("architecture") + " " + row.at("hidden_layers") + " " + row.at("width"));
  }
  EXPECT_EQ(shapes, (std::set<std::string>{"mupc 3 16", "mupc 6 16"}));
  words = mupc;
  words.insert(words.end(), {"--set", "widths=[]", "--set", "inputs=100"});
  EXPECT_NE(run("pcxx-classifier", words).errors.find("inputs is 100, but the images have 784"),
            std::string::npos);
}

// Oracle: the file. The network that layers write is of no architecture by name.
TEST_F(Apps, MeasurementsSayLayers) {
  ASSERT_EQ(run("pcxx-classifier",
                {"--set", "dataset=digits", "--set", "samples=64", "--set", "test_samples=20",
                 "--set", "steps=1", "--set", "seeds=1", "--set", "learning_rate=0.01", "--quiet",
                 "--out", "a", "--set", "layers=dense(width=8, repeat=2) activation dense"})
                .code,
            0);
  for (const auto& row : rows_of("a/metrics.csv")) EXPECT_EQ(row.at("architecture"), "layers");
  const auto models = nlohmann::json::parse(read_file("a/summary.json"))["models"];
  for (const auto& model : models) EXPECT_EQ(model["architecture"], "layers");
}

// Oracle: the files. The best rate is the one with the best validation accuracy, whose test
// accuracy is told.
TEST_F(Apps, ValidationImagesChooseTheRate) {
  const Words words{"--set", "validation_samples=10",
                    "--set", "steps=12",
                    "--set", "rescaling=none",
                    "--set", "rule=bp",
                    "--set", "optimizer=sgd",
                    "--set", "learning_rate=[0.05,0.08,0.12]",
                    "--out", "a"};
  ASSERT_EQ(run_task("pcxx-classifier", words).code, 0);
  std::map<std::string, std::map<std::string, double>> ends;  // by metric and rate, over the seeds
  for (const auto& row : rows_of("a/metrics.csv")) {
    if (row.at("step") != "12") continue;
    ends[row.at("metric")][row.at("learning_rate")] += std::stod(row.at("value")) / 2;
  }
  const auto best_of = [&](const std::string& metric) {
    return std::max_element(
        ends.at(metric).begin(), ends.at(metric).end(),
        [](const auto& one, const auto& other) { return one.second < other.second; });
  };
  const auto best = best_of("validation_accuracy");
  ASSERT_NE(best->first, best_of("test_accuracy")->first) << "nothing to tell them apart by";
  const auto models = nlohmann::json::parse(read_file("a/summary.json"))["models"];
  ASSERT_EQ(models.size(), 1U);
  for (const auto& model : models) {
    EXPECT_EQ(model["chosen_by"], "validation_accuracy");
    EXPECT_EQ(fmt::format("{}", model["best_rate"].get<double>()), best->first);
    EXPECT_NEAR(model["final_accuracy"].get<double>(), ends.at("test_accuracy").at(best->first),
                1e-12);
    EXPECT_NEAR(model["final_validation_accuracy"].get<double>(), best->second, 1e-12);
  }
}

// Oracle: ln 10, the cross-entropy of ten classes that a network cannot tell yet, and chance.
TEST_F(Apps, ClassifiersLearnByCrossEntropy) {
  const auto outcome =
      run_task("pcxx-classifier", {"--set", "loss=cross_entropy", "--set", "optimizer=adam",
                                   "--set", "learning_rate=0.003", "--set", "steps=60", "--set",
                                   "seeds=1", "--set", "measure=[target_alignment]", "--out", "a"});
  ASSERT_EQ(outcome.code, 0) << outcome.errors;
  std::map<std::string, double> found;  // by rule, metric and step
  for (const auto& row : rows_of("a/metrics.csv")) {
    found[row.at("rule") + " " + row.at("metric") + " " + row.at("step")] =
        std::stod(row.at("value"));
  }
  for (const std::string rule : {"bp", "pc"}) {
    EXPECT_NEAR(found.at(rule + " test_error 0"), std::log(10), 0.3) << rule;
    EXPECT_LT(found.at(rule + " test_error 60"), std::log(10) / 2) << rule;
    EXPECT_GT(found.at(rule + " test_accuracy 60"), 0.6) << rule;
    EXPECT_GT(found.at(rule + " target_alignment 1"), 0) << rule;
  }
}

// Oracle: the test errors in metrics.csv, one seed and rate: the first tested step where PC is at
// most where BP ended.
TEST_F(Apps, AutoencodersTellWhenTheyReachBackpropagation) {
  ASSERT_EQ(run_task("pcxx-autoencoder",
                     {"--out", "a", "--quiet", "--set", "seeds=1", "--set", "steps=12", "--set",
                      "test_every=3", "--set", "learning_rate=0.3", "--set", "rescaling=none"})
                .code,
            0);
  std::map<std::string, std::map<int, double>> errors;
  std::istringstream rows(read_file("a/metrics.csv"));
  for (std::string row; std::getline(rows, row);) {
    Words words;
    std::istringstream stream(row);
    for (std::string word; std::getline(stream, word, ',');) words.push_back(word);
    const auto n = words.size();
    if (words[n - 2] == "test_error") {
      errors[words[0]][std::stoi(words[n - 3])] = std::stod(words[n - 1]);
    }
  }
  ASSERT_EQ(errors["bp"].size(), 5U);
  const double goal = errors["bp"].at(12);
  const auto told = nlohmann::json::parse(read_file("a/summary.json"))["models"];
  ASSERT_FALSE(told.empty());
  for (const auto& model : told) {
    const auto& curve = errors[model["rule"].get<std::string>()];
    const auto first = std::find_if(curve.begin(), curve.end(),
                                    [&](const auto& entry) { return entry.second <= goal; });
    ASSERT_NE(first, curve.end());
    EXPECT_EQ(model["steps_to_plain_bp"], first->first) << model["model"];
  }
}

// Rows "model,step,metric" of a run and their values.
std::map<std::string, double> predictions(const fs::path& metrics) {
  std::map<std::string, double> found;
  std::istringstream rows(read_file(metrics));
  std::string row;
  std::getline(rows, row);
  while (std::getline(rows, row)) {
    Words words;
    std::istringstream stream(row);
    for (std::string word; std::getline(stream, word, ',');) words.push_back(word);
    const auto n = words.size();
    found[fmt::format("{},{},{}", words[0], words[n - 3], words[n - 2])] = std::stod(words[n - 1]);
  }
  return found;
}

// Oracle: the step in which a number of samples has been seen, ceil(samples / batch_size).
TEST_F(Apps, AutoencodersAreTestedAfterNumbersOfSamples) {
  ASSERT_EQ(run_task("pcxx-autoencoder",
                     {"--out", "a", "--quiet", "--set", "seeds=1", "--set", "steps=12", "--set",
                      "test_every=0", "--set", "test_at=[4,9,1000]", "--set", "batch_size=4",
                      "--set", "learning_rate=0.3", "--set", "rescaling=none", "--set", "rule=bp"})
                .code,
            0);
  std::vector<std::string> steps;
  for (const auto& [key, error] : predictions("a/metrics.csv")) {
    if (key.ends_with(",test_error")) steps.push_back(key);
  }
  EXPECT_EQ(steps, (std::vector<std::string>{"bp,0,test_error", "bp,1,test_error",
                                             "bp,12,test_error", "bp,3,test_error"}));
}

// Oracle: by hand. All weights are 1, x = 1, y = (-1, 1), so that yhat = (1, 1) and r = (-2, 0). BP
// moves W_1 by -2 and W_2 by (-2, 0). For PC, S = [[2, 1], [1, 2]], S^-1 r = (-4, 2) / 3, the
// hidden activity 1 - 2/3, W_1 moves by -2/3 and W_2 by (-4, 2) / 9. Target alignment is the cosine
// of (-2, 0) with (-4, -2) and with (-10, -4) / 9.
TEST_F(Apps, TrajectoriesStartAsComputedByHand) {
  ASSERT_EQ(run("pcxx-trajectory", {"--quiet", "--out", "a"}).code, 0);
  const auto found = predictions("a/metrics.csv");
  const double rate = 0.02;
  for (const auto* start : {"bp,0,prediction1", "pc,0,prediction1", "bp,0,prediction2"}) {
    EXPECT_EQ(found.at(start), 1.0) << start;
  }
  EXPECT_NEAR(found.at("bp,1,prediction1"), (1 - 2 * rate) * (1 - 2 * rate), 1e-14);
  EXPECT_NEAR(found.at("bp,1,prediction2"), 1 - 2 * rate, 1e-14);
  EXPECT_NEAR(found.at("pc,1,prediction1"), (1 - rate * 4 / 9) * (1 - rate * 2 / 3), 1e-14);
  EXPECT_NEAR(found.at("pc,1,prediction2"), (1 + rate * 2 / 9) * (1 - rate * 2 / 3), 1e-14);
  EXPECT_NEAR(found.at("bp,0,target_alignment"), 4 / std::sqrt(20.0), 1e-14);
  EXPECT_NEAR(found.at("pc,0,target_alignment"), 10 / std::sqrt(116.0), 1e-14);
}

// Oracle: figure 1B. Both reach the target; PC goes there more directly than BP and disturbs the
// output that is right less.
TEST_F(Apps, PredictiveCodingGoesMoreDirectly) {
  const auto outcome = run("pcxx-trajectory", {"--out", "a"});
  ASSERT_EQ(outcome.code, 0) << outcome.errors;
  const auto models = nlohmann::json::parse(read_file("a/summary.json"))["models"];
  ASSERT_EQ(models.size(), 2U);
  const auto& bp = models[0];
  const auto& pc = models[1];
  EXPECT_EQ(bp["rule"], "bp");
  EXPECT_TRUE(bp["reached"].get<bool>() && pc["reached"].get<bool>());
  const auto number = [](const nlohmann::json& model, const char* name) {
    return model.at(name).get<double>();
  };
  EXPECT_GT(number(pc, "path_excess"), 1);
  EXPECT_LT(number(pc, "path_excess"), number(bp, "path_excess") - 0.01);
  EXPECT_LT(number(pc, "largest_change_of_right_output"),
            0.9 * number(bp, "largest_change_of_right_output"));
}

// Contract: a path that diverges ends there and is told.
TEST_F(Apps, DivergedTrajectoriesAreTold) {
  const auto outcome =
      run("pcxx-trajectory", {"--set", "rule=bp", "--set", "learning_rate=5", "--out", "a"});
  ASSERT_EQ(outcome.code, 0) << outcome.errors;
  EXPECT_NE(outcome.out.find("diverged"), std::string::npos) << outcome.out;
  const auto model = nlohmann::json::parse(read_file("a/summary.json"))["models"][0];
  EXPECT_FALSE(model["reached"].get<bool>());
  EXPECT_LT(model["steps_taken"].get<int>(), 2000);
}

// Oracle: the alignment with the batch's own errors, where the first 64 test images are the whole
// batch: they agree at every step but for the order of the sum.
TEST_F(Apps, HeldOutAlignmentIsThatOfTheFirstTestImages) {
  write_file("images", test::idx_file({100, 28, 28}));
  const auto outcome =
      run("pcxx-autoencoder", {"--out", "a",
                               "--set", "dataset=idx",
                               "--set", "train_images=images",
                               "--set", "test_images=images",
                               "--set", "samples=64",
                               "--set", "batch_size=64",
                               "--set", "rule=pc",
                               "--set", "steps=3",
                               "--set", "seeds=1",
                               "--set", "learning_rate=1",
                               "--set", "dtype=float64",
                               "--set", "measure=[target_alignment,held_out_alignment]"});
  ASSERT_EQ(outcome.code, 0) << outcome.errors;
  std::map<std::string, std::vector<double>> curves;
  std::istringstream rows(read_file("a/metrics.csv"));
  for (std::string row; std::getline(rows, row);) {
    const auto value = row.rfind(',');
    const auto metric = row.rfind(',', value - 1);
    const auto name = row.substr(metric + 1, value - metric - 1);
    if (name.ends_with("alignment")) curves[name].push_back(std::stod(row.substr(value + 1)));
  }
  const auto& held_out = curves["held_out_alignment"];
  ASSERT_EQ(held_out.size(), 3U);
  ASSERT_EQ(curves["target_alignment"].size(), 3U);
  for (std::size_t t = 0; t < 3; ++t) {
    EXPECT_NEAR(held_out[t], curves["target_alignment"][t], 1e-9);
    EXPECT_GT(held_out[t], 0);
  }
}

// Oracle: the curves in metrics.csv. With noise on the targets a high rate is soon down and ends
// high: the lowest mean final error and the lowest mean of log10 are of different rates.
TEST_F(Apps, BestRatesAreOfTheEndOrOfTheArea) {
  for (const std::string best_by : {"final", "area"}) {
    const auto outcome = run("pcxx-regression", {"--set", "rule=bp",
                                                 "--set", "width=8",
                                                 "--set", "batch_size=8",
                                                 "--set", "noise=1",
                                                 "--set", "steps=300",
                                                 "--set", "seeds=3",
                                                 "--set", "learning_rate=[0.01,0.02,0.3]",
                                                 "--set", "curves=all",
                                                 "--set", "best_by=" + best_by,
                                                 "--out", best_by});
    ASSERT_EQ(outcome.code, 0) << outcome.errors;
    std::map<double, std::pair<double, double>> sums;  // of a rate: last errors, logarithms
    for (const auto& row : rows_of(best_by + "/metrics.csv")) {
      const double value = std::stod(row.at("value"));
      auto& [last, area] = sums[std::stod(row.at("learning_rate"))];
      if (row.at("step") == "300") last += value;
      area += std::log10(value);
    }
    ASSERT_EQ(sums.size(), 3U);
    const auto lowest = [&](auto number) {
      return std::min_element(
                 sums.begin(), sums.end(),
                 [&](const auto& a, const auto& b) { return number(a.second) < number(b.second); })
          ->first;
    };
    const double by_end = lowest([](const auto& sum) { return sum.first; });
    const double by_area = lowest([](const auto& sum) { return sum.second; });
    ASSERT_NE(by_end, by_area);
    const auto summary = nlohmann::json::parse(read_file(best_by + "/summary.json"));
    EXPECT_EQ(summary["models"][0]["best_rate"], best_by == "final" ? by_end : by_area);
    EXPECT_EQ(summary["best_by"], best_by);
    EXPECT_EQ(outcome.out.find("best rate (area)") != std::string::npos, best_by == "area");
  }
}

// Contract: one sentence, exit code 2.
TEST_F(Apps, AMapOfTooHighARankIsRefused) {
  const auto outcome = run("pcxx-regression", {"--set", "width=8", "--set", "rank=9", "--quiet"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_NE(outcome.errors.find("rank = 9 is more than a map from 8 to 8 can have"),
            std::string::npos)
      << outcome.errors;
}

// Contract: a model that diverges beside one that does not is a row of the table, also where a key
// of inference tells them apart; the summary has the key as it was given.
TEST_F(Apps, DivergedModelsAreTold) {
  const auto outcome = run_task(
      "pcxx-classifier",
      {"--set", "rule=pc", "--set", "optimizer=sgd", "--set", "inference=error_descent", "--set",
       "inference_step_size=[0,1e6]", "--set", "inference_steps=[3,4]", "--out", "a"});
  ASSERT_EQ(outcome.code, 0) << outcome.errors;
  EXPECT_NE(outcome.out.find("diverged"), std::string::npos) << outcome.out;
  const auto summary = nlohmann::json::parse(read_file("a/summary.json"));
  std::multiset<int> steps;
  int diverged = 0;
  for (const auto& model : summary["models"]) {
    steps.insert(model["inference_steps"].get<int>());
    diverged += model["best_rate"].is_null() ? 1 : 0;
  }
  EXPECT_EQ(steps, (std::multiset<int>{3, 3, 4, 4}));
  EXPECT_EQ(diverged, 2);
}

// Oracle: the uninterrupted sweep. One that is killed between two jobs goes on from those it had
// finished; so do two halves, and their merge.
TEST_F(Apps, KilledSweepsGoOn) {
  const Words task{"--set",         "rule=[bp,pc]", "--set",
                   "engine=tensor", "--set",        "width=8",
                   "--set",         "seeds=4",      "--set",
                   "steps=1500",    "--set",        "learning_rate={from=0.001,to=0.1,points=100}",
                   "--quiet"};
  const auto with = [&](const Words& more) {
    Words words = task;
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  ASSERT_EQ(run("pcxx-regression", with({"--out", "whole"})).code, 0);
  const auto expected = read_file("whole/metrics.csv");

  auto command = with({"--threads", "1", "--out", "killed"});
  command.insert(command.begin(), binary("pcxx-regression"));
  const test::Process process(command);
  const fs::path first = fs::path("killed") / "parts" / "job0.safetensors";
  for (int i = 0; i < 6000 && !fs::exists(first); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  process.signal(SIGKILL);
  ASSERT_NE(process.wait(), 0) << "it had finished";
  ASSERT_TRUE(fs::exists(first));
  EXPECT_FALSE(fs::exists("killed/metrics.csv"));
  const auto resumed = run("pcxx-regression", with({"--out", "killed", "--resume"}));
  EXPECT_EQ(resumed.code, 0) << resumed.errors;
  EXPECT_TRUE(read_file("killed/metrics.csv") == expected);

  for (const std::string shard : {"1/2", "0/2"}) {
    EXPECT_EQ(run("pcxx-regression", with({"--out", "halves", "--shard", shard})).code, 0);
    EXPECT_FALSE(fs::exists("halves/metrics.csv"));
  }
  EXPECT_EQ(run("pcxx-regression", {"--merge", "halves", "--quiet"}).code, 0);
  EXPECT_TRUE(read_file("halves/metrics.csv") == expected);
}

// Oracle: the sweep done at once. Three tasks as Slurm numbers those of `--array=5-9:2`.
TEST_F(Apps, SlurmArraysShareASweepOut) {
  const Words task{"--set", "rule=[bp,pc]", "--set", "width=[4,5,6]", "--set", "steps=5"};
  auto whole = task;
  whole.insert(whole.end(), {"--quiet", "--out", "whole"});
  ASSERT_EQ(run("pcxx-regression", whole).code, 0);

  const test::Variable count("SLURM_ARRAY_TASK_COUNT", "3");
  const test::Variable first("SLURM_ARRAY_TASK_MIN", "5");
  const test::Variable step("SLURM_ARRAY_TASK_STEP", "2");
  const test::Variable programs("PCXX_BIN", PCXX_BINARY_DIR "/bin");
  for (const auto* id : {"5", "7", "9"}) {
    const test::Variable number("SLURM_ARRAY_TASK_ID", id);
    Words command{"bash", PCXX_SOURCE_DIR "/scripts/slurm_array.sh", "pcxx-regression"};
    command.insert(command.end(), task.begin(), task.end());
    command.insert(command.end(), {"--out", "shared"});
    const test::Process process(command);
    EXPECT_EQ(process.wait(), 0) << process.errors();
  }
  EXPECT_EQ(run("pcxx-regression", {"--merge", "shared", "--quiet"}).code, 0);
  EXPECT_TRUE(read_file("shared/metrics.csv") == read_file("whole/metrics.csv"));
}

TEST_F(Apps, CtrlCEndsARunCleanly) {
  const test::Process process({binary("pcxx-regression"), "--set", "steps=1000000", "--set",
                               "width=5", "--set", "seeds=1", "--out", "runs/a"});
  const auto started = [] { return fs::exists("runs/a") && !fs::is_empty("runs/a"); };
  for (int i = 0; i < 3000 && !started(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  process.signal(SIGINT);
  EXPECT_EQ(process.wait(), 130);
  EXPECT_EQ(process.errors(), "pcxx-regression: interrupted; no results were written\n");
  EXPECT_EQ(folder_.size(), 0U);
}

// Oracle: the summaries of the runs themselves. What is no run is left out, and the rest is said of
// one that did not finish.
TEST_F(Apps, RunsAreListed) {
  ASSERT_EQ(run_task("pcxx-classifier", {"--out", "study/a", "--quiet"}).code, 0);
  ASSERT_EQ(run_task("pcxx-regression", {"--out", "study/deeper/b", "--quiet"}).code, 0);
  fs::create_directories("study/notes");
  const auto outcome = run("pcxx-runs", {"study"});
  ASSERT_EQ(outcome.code, 0) << outcome.errors;
  const auto lines = test::lines_of(outcome.out);
  ASSERT_EQ(lines.size(), 3U) << outcome.out;
  for (const auto& [folder, program, place] :
       {std::tuple("study/a", "classifier", "a "),
        std::tuple("study/deeper/b", "regression", "deeper/b ")}) {
    const auto found = std::find_if(
        lines.begin(), lines.end(),
        [place = std::string(place)](const auto& line) { return line.starts_with(place); });
    ASSERT_NE(found, lines.end()) << outcome.out;
    EXPECT_NE(found->find(program), std::string::npos) << *found;
    const auto summary = nlohmann::json::parse(read_file(fs::path(folder) / "summary.json"));
    double least = std::numeric_limits<double>::infinity();
    for (const auto& model : summary["models"]) {
      least = std::min(least, model["final_error"].get<double>());
    }
    EXPECT_TRUE(found->ends_with(fmt::format("{:.3g}", least))) << *found << ' ' << least;
    if (summary.contains("dataset")) {
      EXPECT_NE(found->find(summary["dataset"].get<std::string>()), std::string::npos) << *found;
    }
  }
  EXPECT_EQ(run("pcxx-runs", {"study/notes"}).out, "no run lies in 'study/notes'\n");
  const auto absent = run("pcxx-runs", {"absent"});
  EXPECT_EQ(absent.code, 2);
  EXPECT_TRUE(absent.errors.starts_with("pcxx-runs: there is no folder 'absent'")) << absent.errors;
}

}  // namespace
}  // namespace pcxx
