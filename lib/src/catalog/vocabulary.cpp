#include <pcxx/catalog/vocabulary.h>
#include <pcxx/core/names.h>
#include <pcxx/data/linear_teacher.h>
#include <pcxx/metrics/sample_efficiency.h>

#include <algorithm>
#include <utility>

#include "catalog/registry.h"

namespace pcxx::catalog {
namespace {

using config::Key;
using config::Kind;
using config::Shape;

// Beyond these a network fits no machine, and the number is a slip of the hand.
constexpr double kMostLayers = 10'000;
constexpr double kMostUnits = 1'000'000;
// The same for what is done how often, and to how many samples.
constexpr double kMostSteps = 1e9;
constexpr double kMostEpochs = 1e6;
constexpr double kMostSamples = 1e8;
constexpr double kMostInABatch = 1e7;
constexpr double kLongestWait = 1e8;  // seconds

// Every built-in part, with its sentence.
template <typename PartKind>
std::vector<config::Choice> choices_of(const Registry<PartKind>& registry) {
  std::vector<config::Choice> choices;
  for (const auto& part : registry.built_in()) {
    choices.emplace_back(part.name, part.doc, part.fixes);
  }
  return choices;
}

template <typename Enum>
std::vector<config::Choice> choices_of() {
  std::vector<config::Choice> choices;
  for (const auto& named : kNames<Enum>) choices.emplace_back(std::string(named.name));
  return choices;
}

std::vector<config::Choice> with_auto(std::vector<config::Choice> choices) {
  choices.insert(choices.begin(), "auto");
  return choices;
}

// The options of all values of a key, each once.
template <typename PartKind>
std::vector<Key> options_of(const char* key, const Registry<PartKind>& registry) {
  std::vector<Key> options;
  for (const auto& part : registry.built_in()) {
    for (auto option : part.options) {
      const auto same = std::find_if(options.begin(), options.end(),
                                     [&](const Key& known) { return known.name == option.name; });
      if (same != options.end()) {
        same->of_choices.push_back(part.name);
        continue;
      }
      option.of_key = key;
      option.of_choices = {part.name};
      options.push_back(std::move(option));
    }
  }
  return options;
}

std::vector<Key> option_keys() {
  auto options = options_of("rule", rules());
  for (auto more : {options_of("rescaling", rescalings()), options_of("optimizer", optimizers()),
                    options_of("schedule", schedules()), options_of("init", inits())}) {
    options.insert(options.end(), more.begin(), more.end());
  }
  return options;
}

std::vector<Key> model_keys() {
  return {
      {.name = "rule",
       .kind = Kind::kText,
       .initial = R"(["bp", "pc"])",
       .doc = "learning rule: backpropagation, predictive coding, Kalman or incremental predictive "
              "coding",
       .shape = Shape::kSweep,
       .choices = choices_of(rules()),
       .per_model = true},
      {.name = "rescaling",
       .kind = Kind::kText,
       .initial = R"("none")",
       .doc = "what each layer's update is multiplied by",
       .shape = Shape::kSweep,
       .choices = choices_of(rescalings()),
       .per_model = true},
      {.name = "learning_rate",
       .kind = Kind::kReal,
       .initial = "{ from = 3.1622776601683795e-4, to = 3.1622776601683795, points = 100 }",
       .doc =
           "step of the weights; with several, each model's best is found; kpc has none: it takes "
           "its steps as they are",
       .shape = Shape::kSweep,
       .minimum = 0,
       .open_minimum = true,
       .per_model = true,
       .searched = true},
      {.name = "optimizer",
       .kind = Kind::kText,
       .initial = R"("sgd")",
       .doc = "what steps along the rescaled update, with PyTorch's settings",
       .shape = Shape::kSweep,
       .choices = choices_of(optimizers()),
       .per_model = true},
      {.name = "schedule",
       .kind = Kind::kText,
       .initial = R"("constant")",
       .doc = "how learning_rate changes over the steps of a run",
       .shape = Shape::kSweep,
       .choices = choices_of(schedules()),
       .per_model = true},
  };
}

std::vector<Key> network_keys() {
  return {
      {.name = "architecture",
       .kind = Kind::kText,
       .initial = R"("dln")",
       .doc = "what the layers do",
       .shape = Shape::kSweep,
       .choices = choices_of(architectures())},
      {.name = "activation",
       .kind = Kind::kText,
       .initial = R"("relu")",
       .doc = "f of the hidden layers of a ReLU network, autoencoder or muPC network, in place of "
              "ReLU",
       .shape = Shape::kSweep,
       .choices = choices_of(activations()),
       .per_model = true,
       .of_key = "architecture",
       .of_choices = nonlinear_architectures()},
      {.name = "layer",
       .kind = Kind::kText,
       .initial = R"("dense")",
       .doc = "kind of every hidden layer",
       .shape = Shape::kSweep,
       .choices = {"dense"}},
      {.name = "layers",
       .kind = Kind::kText,
       .initial = R"("")",
       .doc = "the network layer by layer, as in 'conv2d(channels=16, stride=2) dense(width=10)', "
              "or as [[layers]] tables with a kind, between the inputs and outputs that the other "
              "keys say; the last width may be left out; empty leaves it to architecture",
       .shape = Shape::kSweep,
       .per_model = true,
       .calls = true},
      {.name = "init",
       .kind = Kind::kText,
       .initial = R"("kaiming")",
       .doc = "distribution of the first weights",
       .shape = Shape::kSweep,
       .choices = choices_of(inits())},
      {.name = "hidden_layers",
       .kind = Kind::kInteger,
       .initial = "1",
       .doc = "number of hidden layers",
       .shape = Shape::kSweep,
       .minimum = 0,
       .maximum = kMostLayers},
      {.name = "width",
       .kind = Kind::kInteger,
       .initial = "512",
       .doc = "units of every hidden layer",
       .shape = Shape::kSweep,
       .minimum = 1,
       .maximum = kMostUnits},
      {.name = "inputs",
       .kind = Kind::kInteger,
       .initial = "0",
       .doc = "inputs; 0 takes the width",
       .shape = Shape::kSweep,
       .minimum = 0,
       .maximum = kMostUnits},
      {.name = "outputs",
       .kind = Kind::kInteger,
       .initial = "0",
       .doc = "outputs; 0 takes the width",
       .shape = Shape::kSweep,
       .minimum = 0,
       .maximum = kMostUnits},
      {.name = "widths",
       .kind = Kind::kInteger,
       .initial = "[]",
       .doc = "units of all layers from inputs to outputs; where hidden_layers, width, inputs and "
              "outputs are keys too, [] leaves it to them",
       .shape = Shape::kList,
       .minimum = 1,
       .maximum = kMostUnits},
      {.name = "condition_number",
       .kind = Kind::kReal,
       .initial = "0",
       .doc = "largest over smallest singular value that every weight matrix starts with; 0 leaves "
              "them as drawn",
       .shape = Shape::kSweep,
       .minimum = 1,
       .zero_is_off = true},
      {.name = "bias",
       .kind = Kind::kBoolean,
       .initial = "false",
       .doc = "whether layers have biases; they start at 0",
       .shape = Shape::kSweep},
      {.name = "collapsed",
       .kind = Kind::kBoolean,
       .initial = "false",
       .doc = "linear networks: whether the layers are multiplied into one matrix before training; "
              "bp + projection then makes natural-gradient steps of the whole map",
       .shape = Shape::kSweep,
       .per_model = true},
      {.name = "loss",
       .kind = Kind::kText,
       .initial = R"("squared_error")",
       .doc = "what predictions are wrong by",
       .shape = Shape::kSweep,
       .choices = choices_of(losses()),
       .per_model = true},
  };
}

std::vector<Key> task_keys() {
  return {
      {.name = "batch_size",
       .kind = Kind::kInteger,
       .initial = "1",
       .doc = "samples of every update",
       .shape = Shape::kSweep,
       .minimum = 1,
       .maximum = kMostInABatch},
      {.name = "targets",
       .kind = Kind::kText,
       .initial = R"("teacher")",
       .doc =
           "of a random linear map of the inputs, of a random ReLU network with one hidden layer "
           "of 5 units an input, or drawn independently of them",
       .shape = Shape::kSweep,
       .choices = choices_of<data::Targets>()},
      {.name = "noise",
       .kind = Kind::kReal,
       .initial = "0",
       .doc = "standard deviation of the noise on the targets",
       .shape = Shape::kSweep,
       .minimum = 0},
      {.name = "rank",
       .kind = Kind::kInteger,
       .initial = "0",
       .doc = "rank of the linear teacher's map; 0 for the full one",
       .shape = Shape::kSweep,
       .minimum = 0,
       .maximum = kMostUnits},
      {.name = "steps",
       .kind = Kind::kInteger,
       .initial = "500",
       .doc = "updates of every run",
       .shape = Shape::kSweep,
       .minimum = 0,
       .maximum = kMostSteps},
      {.name = "epochs",
       .kind = Kind::kInteger,
       .initial = "0",
       .doc = "passes over the training images, in place of steps; 0 takes steps",
       .shape = Shape::kSweep,
       .minimum = 0,
       .maximum = kMostEpochs},
      {.name = "dtype",
       .kind = Kind::kText,
       .initial = R"("float64")",
       .doc = "precision of the numbers",
       .shape = Shape::kSweep,
       .choices = {"float32", "float64"}},
      {.name = "seeds",
       .kind = Kind::kInteger,
       .initial = "10",
       .doc = "every run is made from each of these seeds",
       .shape = Shape::kSeeds,
       .minimum = 0},
      {.name = "change",
       .kind = Kind::kText,
       .initial = R"("first_order")",
       .doc =
           "change of the prediction that target alignment is measured on: in first order of the "
           "rate, or by an update at finite_rate",
       .choices = {"first_order", "finite"}},
      {.name = "finite_rate",
       .kind = Kind::kReal,
       .initial = "1e-4",
       .doc = "learning rate of the update for change = \"finite\"",
       .minimum = 0,
       .open_minimum = true},
      {.name = "best_by",
       .kind = Kind::kText,
       .initial = R"("final")",
       .doc =
           "what makes a learning rate a model's best: final, as the paper has it, is the lowest "
           "mean over seeds at the end of the run (below 1e-28 all are tied, and area decides); "
           "area is the lowest mean of the logarithm over the whole run",
       .choices = choices_of<metrics::BestBy>()},
      {.name = "test_every",
       .kind = Kind::kInteger,
       .initial = "1",
       .doc =
           "steps between measurements on the test images; 0 leaves test_at, the start and the end",
       .minimum = 0,
       .maximum = kMostSteps},
      {.name = "test_at",
       .kind = Kind::kInteger,
       .initial = "[]",
       .doc = "numbers of training samples after which the test images are measured too",
       .shape = Shape::kList,
       .minimum = 1,
       .maximum = kMostSteps * kMostInABatch},
  };
}

std::vector<Key> inference_keys() {
  std::vector<Key> keys{
      {.name = "inference",
       .kind = Kind::kText,
       .initial = R"("auto")",
       .doc = "how predictive coding finds its equilibrium; auto takes the closed form for linear "
              "networks and lbfgs, which needs no step size, for others",
       .shape = Shape::kSweep,
       .choices = with_auto(choices_of(inferences())),
       .per_model = true}};
  for (auto& option : options_of("inference", inferences())) keys.push_back(std::move(option));
  return keys;
}

std::vector<Key> image_keys() {
  return {
      {.name = "dataset",
       .kind = Kind::kText,
       .initial = R"("auto")",
       .doc =
           "images to learn; auto takes train_images where they are named, else MNIST where it is "
           "found, drawn digits where nothing is named; idx takes train_images and test_images",
       .choices = with_auto(choices_of(datasets()))},
      {.name = "data",
       .kind = Kind::kText,
       .initial = R"("")",
       .doc =
           "folder of the data sets, which has mnist/ or torchvision's MNIST/raw; empty takes the "
           "environment's PCXX_DATA_DIR, else ./data",
       .free = true},
      {.name = "train_images",
       .kind = Kind::kText,
       .initial = R"("")",
       .doc = "IDX file, plain or gzip, for dataset = \"idx\"",
       .file = true},
      {.name = "test_images",
       .kind = Kind::kText,
       .initial = R"("")",
       .doc = "IDX file, plain or gzip, for dataset = \"idx\"",
       .file = true},
      {.name = "train_labels",
       .kind = Kind::kText,
       .initial = R"("")",
       .doc = "IDX file of the labels of train_images",
       .file = true},
      {.name = "test_labels",
       .kind = Kind::kText,
       .initial = R"("")",
       .doc = "IDX file of the labels of test_images",
       .file = true},
      {.name = "samples",
       .kind = Kind::kInteger,
       .initial = "0",
       .doc = "training images; 0 takes all",
       .minimum = 0,
       .maximum = kMostSamples},
      {.name = "validation_samples",
       .kind = Kind::kInteger,
       .initial = "0",
       .doc = "the last of all training images, which no network learns from: the best rate is "
              "chosen by them, and the test images only report; 0 chooses by the test images, as "
              "the paper does",
       .minimum = 1,
       .maximum = kMostSamples,
       .zero_is_off = true},
      {.name = "keep",
       .kind = Kind::kText,
       .initial = R"("last")",
       .doc = "which weights a run ends with, is measured by last and saves: those of its last "
              "step, or those of the test at which validation_samples were best",
       .choices = {"last", "best"}},
      {.name = "patience",
       .kind = Kind::kInteger,
       .initial = "0",
       .doc = "tests in a row without an improvement on validation_samples after which a run with "
              "keep = \"best\" learns no more; 0 is off",
       .minimum = 0,
       .maximum = kMostSteps},
      {.name = "test_samples",
       .kind = Kind::kInteger,
       .initial = "0",
       .doc = "test images; 0 takes all",
       .minimum = 0,
       .maximum = kMostSamples},
  };
}

std::vector<Key> machine_keys() {
  return {
      {.name = "threads",
       .kind = Kind::kInteger,
       .initial = "0",
       .doc = "runs that are trained side by side, each in a thread of its own; 0 takes the "
              "processors at hand; results do not depend on it",
       .minimum = 0,
       .maximum = 4096,
       .free = true},
      {.name = "run_threads",
       .kind = Kind::kInteger,
       .initial = "1",
       .doc = "threads inside one run, for few runs of large networks; the same number gives the "
              "same results to the last bit, another one to rounding",
       .minimum = 1,
       .maximum = 4096},
      {.name = "checkpoint_every",
       .kind = Kind::kInteger,
       .initial = "1000",
       .doc =
           "steps after which a run keeps its whole state, to be resumed from it after a kill; 0 "
           "keeps it only when the run is interrupted; results do not depend on it; networks that "
           "are trained side by side count together",
       .minimum = 0,
       .maximum = kMostSteps,
       .free = true},
      {.name = "rank_timeout",
       .kind = Kind::kReal,
       .initial = "600",
       .doc = "seconds after which a rank that gets no answer from the others ends them all; "
              "results do not depend on it",
       .minimum = 1,
       .maximum = kLongestWait,
       .free = true},
      {.name = "engine",
       .kind = Kind::kText,
       .initial = R"("auto")",
       .doc = "what trains the networks of a sweep: lanes, with one SIMD lane a network, for small "
              "linear ones; tensor for all others; auto takes the faster one that can",
       .choices = {"auto", "tensor", "lanes"}},
      {.name = "device",
       .kind = Kind::kText,
       .initial = R"("cpu")",
       .doc = "where to compute: cpu, cuda, or one of several, such as cuda:1"},
  };
}

}  // namespace

const std::vector<Key>& vocabulary() {
  static const auto keys = [] {
    std::vector<Key> all;
    for (auto* group : {model_keys, option_keys, network_keys, task_keys, inference_keys,
                        image_keys, machine_keys}) {
      for (auto& key : group()) all.push_back(std::move(key));
    }
    return all;
  }();
  return keys;
}

}  // namespace pcxx::catalog
