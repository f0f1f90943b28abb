#include <gtest/gtest.h>
#include <pcxx/catalog/extend.h>
#include <pcxx/core/error.h>
#include <pcxx/core/files.h>
#include <pcxx/data/drawn_digits.h>
#include <pcxx/inference/equilibrium.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/nn/init.h>
#include <pcxx/programs.h>
#include <pcxx/run/program.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <regex>

#include "support/heavy_ball.h"
#include "support/own_layers.h"
#include "support/small_program.h"
#include "support/temporary_folder.h"

// Parts of one's own in the programs. Each part here is a part that the library has, under another
// name, so that the library's own is the oracle.
namespace pcxx::train {
namespace {

// D_l times a number.
class Scaled final : public optim::Rescaling {
 public:
  explicit Scaled(double factor) : factor_(factor) {}
  std::vector<optim::Direction> directions(
      const std::vector<learning::LayerFactors>& layers) override {
    auto found = optim::Plain().directions(layers);
    for (auto& direction : found) {
      direction.weight.mul_(factor_);
      if (direction.bias.defined()) direction.bias.mul_(factor_);
    }
    return found;
  }
  std::string_view name() const override { return "scaled"; }

 private:
  double factor_;
};

class Extend : public ::testing::Test {
 protected:
  // Once a process: names stay taken.
  static void SetUpTestSuite() {
    ::setenv("PCXX_PYTHON", "/nonexistent", 1);
    catalog::add_layer({"disguised", "f(W x)"}, [](const config::Config& config) -> nn::LayerMaker {
      const auto activation =
          config.text("architecture") == "relu" ? nn::Activation::kReLU : nn::Activation::kIdentity;
      return [activation](std::int64_t in, std::int64_t out) {
        return std::make_shared<test::DisguisedDense>(in, out, activation, /*biased=*/false);
      };
    });
    catalog::add_layer({"gated", "tanh(V x) sigmoid(G x) + s"},
                       [](const config::Config&) { return test::gated(); });
    catalog::add_rescaling({.name = "scaled",
                            .doc = "the direction times a factor",
                            .keys = {{.name = "factor",
                                      .kind = config::Kind::kReal,
                                      .initial = "0.5",
                                      .doc = "of scaled",
                                      .shape = config::Shape::kSweep,
                                      .minimum = 0,
                                      .open_minimum = true,
                                      .per_model = true}}},
                           [](const config::Config& config) {
                             return std::make_unique<Scaled>(config.real("factor"));
                           });
    catalog::add_init({.name = "uniform",
                       .doc = "kaiming times a factor",
                       .keys = {{.name = "init_gain",
                                 .kind = config::Kind::kReal,
                                 .initial = "1",
                                 .doc = "of uniform",
                                 .shape = config::Shape::kSweep,
                                 .minimum = 0}}},
                      [](const config::Config& config) -> nn::DrawWeight {
                        return
                            [gain = config.real("init_gain")](std::int64_t n_out, std::int64_t n_in,
                                                              const at::Generator& generator) {
                              return nn::init::kaiming(n_out, n_in, generator) * gain;
                            };
                      });
    catalog::add_optimizer(
        {.name = "heavy_ball",
         .doc = "descent with momentum",
         .keys = {{.name = "ball_momentum",
                   .kind = config::Kind::kReal,
                   .initial = "0.9",
                   .doc = "of heavy_ball",
                   .shape = config::Shape::kSweep,
                   .minimum = 0,
                   .per_model = true}}},
        [](const config::Config& config, std::vector<at::Tensor> parameters, double rate) {
          return std::make_unique<test::HeavyBall>(std::move(parameters), rate,
                                                   config.real("ball_momentum"));
        });
    catalog::add_optimizer(
        {"torch_momentum", "LibTorch's"},
        [](const config::Config&, std::vector<at::Tensor> parameters, double rate) {
          return std::make_unique<torch::optim::SGD>(std::move(parameters),
                                                     torch::optim::SGDOptions(rate).momentum(0.9));
        });
    catalog::add_inference({"solved", "the closed form"}, [](const config::Config&) {
      return std::make_shared<inference::ClosedForm>();
    });
    catalog::add_rule({"gradient", "backpropagation"}, [](const config::Config&) {
      return std::make_unique<learning::Backpropagation>();
    });
    catalog::add_dataset({.name = "numerals",
                          .doc = "drawn digits as real numbers",
                          .keys = {{.name = "numerals_missing",
                                    .kind = config::Kind::kBoolean,
                                    .initial = "false",
                                    .doc = "whether they cannot be found"}}},
                         numerals);
  }

  static data::ImageSets numerals(const config::Config& config) {
    if (config.boolean("numerals_missing")) user_error("there are no numerals here");
    auto sets = data::ImageSets{data::drawn_digits(300, 0), data::drawn_digits(50, 0, 60'300)};
    for (auto* images : {&sets.train, &sets.test}) images->pixels = images->values(at::kDouble);
    return sets;
  }

  test::Outcome run(const run::Program& program, std::vector<std::string> words) {
    words.insert(words.end(), {"--out", (folder_ / "run").string(), "--quiet"});
    std::filesystem::remove_all(folder_ / "run");
    return test::run_program(program, words);
  }
  nlohmann::json models() const {
    return nlohmann::json::parse(read_file(folder_ / "run" / "summary.json"))["models"];
  }
  // One model's final errors, of every seed at its only rate.
  std::vector<double> final_errors(const run::Program& program, std::vector<std::string> words) {
    const auto outcome = run(program, std::move(words));
    EXPECT_EQ(outcome.code, 0) << outcome.errors;
    return models().at(0)["final_errors"].get<std::vector<double>>();
  }

  test::TemporaryFolder folder_;
};

std::vector<std::string> regression_words(std::vector<std::string> more) {
  std::vector<std::string> words{"--set", "width=6",          "--set", "batch_size=8",
                                 "--set", "steps=20",         "--set", "seeds=2",
                                 "--set", "hidden_layers=2",  "--set", "init=kaiming",
                                 "--set", "learning_rate=0.1"};
  for (auto& word : more) words.insert(words.end(), {"--set", std::move(word)});
  return words;
}

void expect_near(const std::vector<double>& found, const std::vector<double>& expected,
                 double tolerance) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_NEAR(found[i] / expected[i], 1, tolerance) << i;
  }
}

// Oracle: networks of Dense layers, which start with the same weights. With predictive coding
// linear ones: at a kink of ReLU rounding decides on the side.
TEST_F(Extend, LayersTrainLikeTheDenseOnesThatTheyAre) {
  for (const auto& model :
       {std::vector<std::string>{"rule=bp", "architecture=relu"},
        std::vector<std::string>{"rule=pc", "architecture=dln", "inference=lbfgs"}}) {
    auto keys = model;
    keys.insert(keys.end(), {"targets=relu_teacher", "inference_tolerance=1e-11",
                             "inference_energy_tolerance=0", "engine=tensor", "steps=5"});
    auto own = keys;
    own.emplace_back("layer=disguised");
    expect_near(final_errors(programs::regression(), regression_words(own)),
                final_errors(programs::regression(), regression_words(keys)), 1e-8);
  }
}

// Oracle: plain updates at the product of rate and factor.
TEST_F(Extend, RescalingsHaveKeysOfTheirOwn) {
  expect_near(
      final_errors(programs::regression(),
                   regression_words({"rule=bp", "rescaling=scaled", "factor=0.25"})),
      final_errors(programs::regression(), regression_words({"rule=bp", "learning_rate=0.025"})),
      1e-9);
}

// Oracle: the built-in one that it is, to the last bit, in lanes and tensors; another gain is
// another network.
TEST_F(Extend, InitsAreDrawn) {
  for (const char* engine : {"engine=lanes", "engine=tensor"}) {
    const auto errors = [&](std::vector<std::string> keys) {
      keys.insert(keys.end(), {"rule=bp", engine});
      return final_errors(programs::regression(), regression_words(std::move(keys)));
    };
    const auto built_in = errors({"init=kaiming"});
    EXPECT_EQ(errors({"init=uniform"}), built_in);
    EXPECT_NE(errors({"init=uniform", "init_gain=2"}), built_in);
  }
}

// Oracle: LibTorch's own, and at momentum 0 plain descent.
TEST_F(Extend, OptimizersStep) {
  const auto errors = [&](std::vector<std::string> keys) {
    keys.insert(keys.end(), {"rule=pc", "engine=tensor", "learning_rate=0.02"});
    return final_errors(programs::regression(), regression_words(std::move(keys)));
  };
  expect_near(errors({"optimizer=heavy_ball"}), errors({"optimizer=torch_momentum"}), 1e-12);
  expect_near(errors({"optimizer=heavy_ball", "ball_momentum=0"}), errors({"optimizer=sgd"}),
              1e-12);
}

// Oracle: the closed form and backpropagation under their own names.
TEST_F(Extend, InferencesAndRulesAreChosenByName) {
  expect_near(
      final_errors(programs::regression(), regression_words({"rule=pc", "inference=solved"})),
      final_errors(programs::regression(), regression_words({"rule=pc", "engine=tensor"})), 1e-12);
  expect_near(final_errors(programs::regression(), regression_words({"rule=gradient"})),
              final_errors(programs::regression(), regression_words({"rule=bp", "engine=tensor"})),
              1e-12);
}

// Oracle: the drawn digits that they are.
TEST_F(Extend, DatasetsAreLearntFrom) {
  const auto words = [](const std::string& dataset) {
    return std::vector<std::string>{
        "--set", "dataset=" + dataset, "--set", "samples=200", "--set", "test_samples=50",
        "--set", "steps=10",           "--set", "seeds=1",     "--set", "widths=[784,16,10]",
        "--set", "learning_rate=0.1",  "--set", "rule=bp",     "--set", "dtype=float64"};
  };
  const auto own = final_errors(programs::classifier(), words("numerals"));
  EXPECT_EQ(nlohmann::json::parse(read_file(folder_ / "run" / "summary.json"))["dataset"],
            "numerals");
  // digits takes its test images after the 60,000 + samples that training might take.
  EXPECT_LT(std::abs(own.at(0) / final_errors(programs::classifier(), words("digits")).at(0) - 1),
            0.2);
  auto missing = words("numerals");
  missing.insert(missing.end(), {"--set", "numerals_missing=true"});
  const auto outcome = run(programs::classifier(), missing);
  EXPECT_EQ(outcome.code, 2);
  EXPECT_NE(outcome.errors.find("there are no numerals here"), std::string::npos);
}

// Oracle: the same sweep once more, killed parts and all; rates, seeds and both kinds of layer in
// one.
TEST_F(Extend, PartsAreSweptAndRecorded) {
  const auto outcome = run(
      programs::regression(),
      regression_words({"architecture=relu", "layer=[dense,gated]", "rule=[bp,pc,gradient]",
                        "rescaling=[none,scaled]", "factor=[0.5,1]", "learning_rate=[0.01,0.1]",
                        "measure=[target_alignment,held_out_alignment]", "steps=2", "width=4"}));
  ASSERT_EQ(outcome.code, 0) << outcome.errors;
  // rule x rescaling x factor x layer
  EXPECT_EQ(models().size(), 3U * 2 * 2 * 2);
  const auto csv = read_file(folder_ / "run" / "metrics.csv");
  EXPECT_NE(csv.find("layer"), std::string::npos);
  EXPECT_NE(csv.find("gated"), std::string::npos);
  EXPECT_NE(csv.find("factor"), std::string::npos);
  std::filesystem::copy(folder_ / "run" / "config.toml", folder_ / "again.toml");
  ASSERT_EQ(run(programs::regression(), {"--config", (folder_ / "again.toml").string()}).code, 0);
  EXPECT_EQ(read_file(folder_ / "run" / "metrics.csv"), csv);
}

// Oracle: an autoencoder whose training was cut in two by checkpoints, and its weights loaded
// again.
TEST_F(Extend, LayersAreSavedAndLoaded) {
  std::vector<std::string> words{"--set", "dataset=numerals",
                                 "--set", "layer=gated",
                                 "--set", "widths=[784,12,784]",
                                 "--set", "seeds=1",
                                 "--set", "rule=pc",
                                 "--set", "learning_rate=0.1",
                                 "--set", "test_samples=20",
                                 "--set", "steps=5",
                                 "--set", "measure=[inference,target_alignment]"};
  const auto trained = final_errors(programs::autoencoder(), words);
  const auto weights = folder_ / "weights.safetensors";
  std::filesystem::copy(folder_ / "run" / "weights1-pc-none-seed0.safetensors", weights);
  words.insert(words.end(), {"--set", "steps=0", "--load", weights.string()});
  EXPECT_EQ(final_errors(programs::autoencoder(), words), trained);
}

// Oracle: the measurement before any training, of the same network.
TEST_F(Extend, LayersHaveATargetAlignment) {
  const auto outcome =
      run(programs::alignment(), {"--set", "layer=gated", "--set", "width=6", "--set",
                                  "hidden_layers=2", "--set", "seeds=2", "--set", "rule=[bp,pc]",
                                  "--set", "rescaling=[none,scaled]", "--set", "batch_size=1"});
  ASSERT_EQ(outcome.code, 0) << outcome.errors;
  const auto cells = nlohmann::json::parse(read_file(folder_ / "run" / "summary.json"))["cells"];
  ASSERT_EQ(cells.size(), 4U);
  for (const auto& cell : cells) {
    const double alignment = cell["target_alignment"]["mean"].get<double>();
    // At B = 1 the gradient's change of the prediction is J J^T r, at an acute angle to r.
    EXPECT_GT(alignment, 0);
    EXPECT_LE(alignment, 1);
  }
}

std::vector<std::string> digits_words(const std::string& layers, std::vector<std::string> more) {
  std::vector<std::string> words{"--set", "dataset=digits",  "--set", "samples=256",
                                 "--set", "test_samples=64", "--set", "batch_size=32",
                                 "--set", "seeds=1",         "--set", "layers=" + layers};
  for (auto& word : more) words.insert(words.end(), {"--set", std::move(word)});
  return words;
}

constexpr const char* kConvolutions =
    "conv2d(channels=4, stride=2, padding=1, activation=relu) "
    "block(conv2d(channels=4, padding=1, activation=relu)) dense(width=20, activation=relu) dense";

// Oracle: the error before training, which both rules lower, also where they rescale.
TEST_F(Extend, StacksOfLayersLearnToTellDigits) {
  for (const auto& model :
       {std::vector<std::string>{"rule=bp", "learning_rate=0.3"},
        std::vector<std::string>{"rule=pc", "learning_rate=0.3"},
        std::vector<std::string>{"rule=pc", "learning_rate=0.3", "inference=error_descent"},
        std::vector<std::string>{"rule=pc", "rescaling=[alpha,decorrelation,projection]",
                                 "learning_rate=0.03"},
        std::vector<std::string>{"rule=bp", "rescaling=recursive_projection", "learning_rate=0.1",
                                 "batch_size=4"}}) {
    auto keys = model;
    keys.insert(keys.end(), {"steps=12", "test_every=6"});
    const auto outcome = run(programs::classifier(), digits_words(kConvolutions, keys));
    ASSERT_EQ(outcome.code, 0) << outcome.errors;
    for (const auto& trained : models()) {
      keys = {"steps=0", model[0], "learning_rate=1"};
      const double after = trained["final_errors"].at(0).get<double>();
      ASSERT_EQ(run(programs::classifier(), digits_words(kConvolutions, keys)).code, 0);
      const double before = models().at(0)["final_errors"].at(0).get<double>();
      EXPECT_LT(after, before) << trained.dump();
    }
  }
}

// Oracle: the config that is printed, read again; its [[layers]] tables mean the same.
TEST_F(Extend, StacksArePrintedAsTheyAreRead) {
  const auto printed = [&](const std::vector<std::string>& words) {
    return test::run_program(programs::classifier(), words).out;
  };
  const auto first = printed({"--set", std::string("layers=") + kConvolutions, "--print-config"});
  EXPECT_NE(first.find(std::string("layers = \"") + kConvolutions + "\""), std::string::npos);
  write_file(folder_ / "printed.toml", first);
  EXPECT_EQ(printed({"--config", (folder_ / "printed.toml").string(), "--print-config"}), first);
  write_file(folder_ / "tables.toml",
             "[[layers]]\nkind = \"dense\"\nwidth = 7\n[[layers]]\nkind = \"dense\"\n");
  EXPECT_EQ(printed({"--config", (folder_ / "tables.toml").string(), "--print-config"}),
            printed({"--set", "layers=dense(width=7) dense()", "--print-config"}));
}

// Oracle: the same network by its name, to the last bit; in lanes too.
TEST_F(Extend, StacksOfDenseLayersTrainLikeNamedNetworks) {
  for (const char* engine : {"engine=tensor", "engine=lanes"}) {
    EXPECT_EQ(final_errors(programs::regression(),
                           regression_words(
                               {"rule=pc", engine, "layers=dense(width=6) dense(width=6) dense"})),
              final_errors(programs::regression(), regression_words({"rule=pc", engine})));
  }
}

// Oracle: layers of the program's own, one of them by `layer`.
TEST_F(Extend, StacksTakeLayersOfTheProgram) {
  EXPECT_EQ(final_errors(programs::regression(), regression_words({"rule=bp", "hidden_layers=1",
                                                                   "layers=gated(width=6) dense"})),
            final_errors(programs::regression(),
                         regression_words({"rule=bp", "hidden_layers=1", "layer=gated"})));
}

// Oracle: at B = 1 bp moves the prediction along J J^T r, at an acute angle to r.
TEST_F(Extend, StacksHaveATargetAlignment) {
  const auto outcome = run(
      programs::alignment(),
      {"--set", "width=16", "--set", "seeds=2", "--set", "rule=[bp,pc]", "--set", "batch_size=1",
       "--set", R"(layers=["conv2d(channels=2, activation=tanh) dense", "dense(width=3) dense"])"});
  ASSERT_EQ(outcome.code, 0) << outcome.errors;
  const auto cells = nlohmann::json::parse(read_file(folder_ / "run" / "summary.json"))["cells"];
  ASSERT_EQ(cells.size(), 4U);
  for (const auto& cell : cells) EXPECT_GT(cell["target_alignment"]["mean"].get<double>(), 0);
}

// Contract: one sentence, which names the layer.
TEST_F(Extend, StacksThatCannotBeAreRefused) {
  const auto refused = [&](std::vector<std::string> keys, const std::string& text) {
    const auto outcome = run(programs::regression(), regression_words(std::move(keys)));
    EXPECT_EQ(outcome.code, 2) << text;
    EXPECT_NE(outcome.errors.find(text), std::string::npos) << outcome.errors;
  };
  refused({"layers=dense(width=7)"}, "layers: layer 1 gives 7 units, and the targets have 6");
  refused({"layers=conv2d(channels=2) dense"}, "layers: layer 1 needs an image below");
  refused({"layers=gated(width=6) dense", "engine=lanes", "rule=bp"}, "layer 1 is not Dense");
  refused({"layers=gated(width=6) dense", "rule=kpc", "learning_rate=1"},
          "needs layers of one weight or none, and layer 1 has other parameters");
  refused({"layers=dense(width=6, residual=true) dense", "engine=lanes", "rule=bp"},
          "only some layers are residual");
}

// Oracle: the sentence and the exit code.
TEST_F(Extend, WhatDoesNotGoTogetherIsSaid) {
  const auto refused = [&](std::vector<std::string> keys, const std::string& text) {
    const auto outcome = run(programs::regression(), regression_words(std::move(keys)));
    EXPECT_EQ(outcome.code, 2) << text;
    EXPECT_NE(outcome.errors.find(text), std::string::npos) << outcome.errors;
  };
  refused({"layer=gated", "rule=pc", "inference=closed_form"},
          "inference = 'closed_form' needs a linear network, not layer = 'gated'");
  refused({"layer=gated", "architecture=residual"}, "does not go with architecture = 'residual'");
  refused({"layer=gated", "hidden_layers=0"}, "is of hidden layers, and the network has none");
  refused({"layer=gated", "collapsed=true"}, "collapsed = true needs a linear network");
  refused({"rescaling=scaled", "engine=lanes", "rule=bp"},
          "rescaling = 'scaled' is the program's own");
  refused({"optimizer=heavy_ball", "engine=lanes", "rule=bp"}, "the optimizer is heavy_ball");
  refused({"optimizer=heavy_ball", "rule=kpc"},
          "rule = 'kpc' needs optimizer = 'sgd', not 'heavy_ball'");
  refused({"factor=0"}, "factor");
  refused({"layer=gatd"}, "gated");
}

// Oracle: the closed form under its own name in the program that compares methods.
TEST_F(Extend, InferencesAreCompared) {
  const test::TemporaryFolder folder;
  const auto ended =
      test::run_program(programs::inference(),
                        {"--quiet", "--out", (folder / "run").string(), "--set", "task=teacher",
                         "--set", "architecture=dln", "--set", "widths=[]", "--set", "width=6",
                         "--set", "dtype=float64", "--set", "inference=[closed_form,solved]",
                         "--set", "inference_step_size=0", "--set", "inference_steps=3"});
  ASSERT_EQ(ended.code, 0) << ended.errors;
  const auto solvers = nlohmann::json::parse(read_file(folder / "run/summary.json")).at("solvers");
  ASSERT_EQ(solvers.size(), 2U);
  EXPECT_EQ(solvers[1].at("solver"), "solved");
  EXPECT_NEAR(solvers[1].at("final_energy_gap").get<double>(),
              solvers[0].at("final_energy_gap").get<double>(), 1e-12);
}

// Contract: what a program cannot use is no value of its keys, and brings it no keys.
TEST_F(Extend, ProgramsTakeWhatTheyUse) {
  const auto expect_refused = [](const run::Program& program, const std::string& setting,
                                 const std::string& part) {
    const auto ended = test::run_program(program, {"--set", setting});
    EXPECT_EQ(ended.code, 2) << setting;
    EXPECT_NE(ended.errors.find(part), std::string::npos) << ended.errors;
  };
  expect_refused(programs::inference(), "rule=gradient", "rule");
  expect_refused(programs::inference(), "rescaling=scaled", "rescaling");
  expect_refused(programs::inference(), "factor=2", "factor");
  expect_refused(programs::inference(), "optimizer=heavy_ball", "optimizer");
  expect_refused(programs::trajectory(), "rule=gradient", "rule");
}

// Oracle: the help names every part and key with its documentation.
TEST_F(Extend, PartsAreInTheHelp) {
  const auto wrapped = test::run_program(programs::regression(), {"--help"}).out;
  const auto help = std::regex_replace(wrapped, std::regex("\\s+"), " ");
  for (const auto* text :
       {"dense | disguised | gated", "tanh(V x) sigmoid(G x) + s", "scaled",
        "the direction times a factor", "solved", "gradient", "uniform: kaiming times a factor",
        "heavy_ball: descent with momentum"}) {
    EXPECT_NE(help.find(text), std::string::npos) << text;
  }
  EXPECT_NE(test::run_program(programs::classifier(), {"--help"}).out.find("numerals"),
            std::string::npos);
  EXPECT_EQ(test::run_program(programs::trajectory(), {"--help"}).out.find("gated"),
            std::string::npos);
}

// Oracle: a name that is in use throws, and changes nothing.
TEST_F(Extend, NamesAreTakenOnce) {
  const auto make = [](const config::Config&) { return std::make_unique<Scaled>(1); };
  EXPECT_THROW(catalog::add_rescaling({"none", ""}, make), c10::Error);
  EXPECT_THROW(catalog::add_rescaling({"scaled", ""}, make), c10::Error);
  EXPECT_THROW(catalog::add_rescaling({"", ""}, make), c10::Error);
  EXPECT_THROW(catalog::add_rescaling({"other", "", {{.name = "width"}}}, make), c10::Error);
  EXPECT_THROW(catalog::add_rescaling({"other", ""}, nullptr), c10::Error);
  EXPECT_THROW(catalog::add_init({"lecun", ""}, nullptr), c10::Error);
  EXPECT_THROW(catalog::add_init({"other", ""}, nullptr), c10::Error);
  EXPECT_THROW(catalog::add_optimizer({"adam", ""}, nullptr), c10::Error);
  EXPECT_THROW(catalog::add_optimizer({"other", ""}, nullptr), c10::Error);
  EXPECT_THROW(
      catalog::add_layer({"dense", ""}, [](const config::Config&) { return test::gated(); }),
      c10::Error);
}

}  // namespace
}  // namespace pcxx::train
