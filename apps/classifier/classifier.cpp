#include <ATen/ATen.h>
#include <fmt/ranges.h>
#include <pcxx/catalog/experiment.h>
#include <pcxx/core/error.h>
#include <pcxx/metrics/accuracy.h>
#include <pcxx/programs.h>
#include <pcxx/run/program.h>
#include <pcxx/train/filters.h>
#include <pcxx/train/image_training.h>
#include <pcxx/train/report.h>

#include <algorithm>
#include <limits>

namespace {

using namespace pcxx;
using run::Run;

// The part of wrong answers, infinite at the end of a run whose squared error diverged. It stays
// above what would make a few wrong answers after none look like divergence.
metrics::Curve wrong_answers(const train::Training& training) {
  auto curve = training.tests.at("test_accuracy");
  for (auto& value : curve) value = std::max(1 - value, 1 / metrics::kDivergence);
  if (metrics::diverged(training.tests.at("test_error"))) {
    curve.back() = std::numeric_limits<double>::infinity();
  }
  return curve;
}

// Which key says how many inputs, and outputs, there are.
std::string_view first_of(const catalog::Model& model) {
  return catalog::lists_widths(model.config) ? "widths starts with" : "inputs is";
}
std::string_view last_of(const catalog::Model& model) {
  return catalog::lists_widths(model.config) ? "widths ends with" : "outputs is";
}

// Throws UserError where the network's shape is said twice.
void check_shape(const config::Config& config) {
  if (!catalog::lists_widths(config)) return;
  const config::Config defaults(config.schema());
  for (const char* key : {"hidden_layers", "width", "inputs", "outputs"}) {
    if (config.values(key) == defaults.values(key)) continue;
    user_error("{} = {} says nothing beside widths = {}: widths = [] leaves the shape to it", key,
               config.toml_of(key), config.toml_of("widths"));
  }
}

// The target of an image is 1 at its label and 0 elsewhere.
class Classification final : public train::ImageTask {
 public:
  explicit Classification(std::int64_t classes) : classes_(classes) {}

  std::string_view name() const override { return "classifier"; }
  std::string_view criterion() const override { return "test_accuracy"; }
  bool more_is_better() const override { return true; }

  void check(const catalog::Model& model, const train::ImageSets& sets) const override {
    const auto inputs = model.widths.front();
    for (const auto* images : {&sets.train, &sets.test}) {
      if (images->features() != inputs) {
        user_error("{} {}, but the images have {} pixels", first_of(model), inputs,
                   images->features());
      }
      const auto highest = images->labels.max().item<std::int64_t>();
      if (highest >= classes_) {
        user_error("{} {}, which is too few outputs for labels up to {}", last_of(model), classes_,
                   highest);
      }
    }
  }

  data::Batch batch(const data::Images& images, const at::Tensor& index,
                    at::TensorOptions options) const override {
    return data::classification_batch(images, index, classes_, options);
  }

  std::map<std::string, double> test(const nn::NetworkImpl& network,
                                     const data::Batch& batch) const override {
    const auto labels = batch.target.argmax(-1);
    return {{"test_accuracy", metrics::accuracy(network, batch.input, labels).item<double>()}};
  }

  // By wrong answers, not by the error.
  std::optional<metrics::BestRate> best_rate(const std::vector<std::vector<train::Training>>& runs,
                                             const std::vector<double>& rates,
                                             metrics::BestBy best_by) const override {
    std::vector<std::vector<metrics::Curve>> curves;
    for (const auto& seeds : runs) {
      auto& wrong = curves.emplace_back();
      for (const auto& training : seeds) wrong.push_back(wrong_answers(training));
    }
    return metrics::best_rate(curves, rates, best_by);
  }

 private:
  std::int64_t classes_;
};

// The columns of confusion.csv that say of which model a row is.
std::vector<std::string> columns_of_models(const Run& run) {
  std::vector<std::string> columns{"rule", "rescaling"};
  for (const auto& key : run.varied_keys()) columns.push_back(key);
  return columns;
}

// A row for each pair of classes.
void write_matrix(std::ostream& stream, const std::string& whose, const at::Tensor& counts) {
  const auto table = counts.accessor<std::int64_t, 2>();
  for (std::int64_t label = 0; label < counts.size(0); ++label) {
    for (std::int64_t taken = 0; taken < counts.size(1); ++taken) {
      stream << fmt::format("{},{},{},{}\n", whose, label, taken, table[label][taken]);
    }
  }
}

// What the networks at the best rates take the test images for, counted for every seed.
void write_confusions(Run& run, const train::ImageSweep& sweep,
                      const std::vector<train::ImageModel>& results) {
  const auto columns = columns_of_models(run);
  auto& stream = run.folder().file("confusion.csv").stream();
  stream << fmt::format("model,{},seed,target,predicted,count\n", fmt::join(columns, ","));
  for (const auto& result : results) {
    const auto cell = run.records().cell(result.model.config);
    auto whose = run::csv_field(result.summary["model"].get<std::string>());
    for (const auto& column : columns) {
      whose += ',';
      whose += run::csv_field(cell.field(column));
    }
    const auto& batch = sweep.test_batch(result.model);
    const auto input = batch.input.cpu();
    const auto labels = batch.target.argmax(-1).cpu();
    for (std::size_t i = 0; i < result.networks.size(); ++i) {
      write_matrix(stream, fmt::format("{},{}", whose, result.seeds[i]),
                   metrics::confusion_matrix(*result.networks[i], input, labels));
    }
  }
}

void run_classifiers(Run& run) {
  check_shape(run.config());
  const Classification task(catalog::ends(run.config().cells().front()).second);
  train::ImageSweep sweep(run, task);
  const auto results = sweep.train();
  if (results.empty()) return;
  write_confusions(run, sweep, results);
  train::write_filters(run, sweep.sets(), results);
  const auto table = train::image_table(
      run, results, {{"test accuracy", "final_accuracy"}, {"test error", "final_error"}});
  train::print_results(run, table, run.summary());
}

config::Schema schema() {
  auto keys = train::image_schema(
      {"train_labels", "test_labels", "hidden_layers", "width", "inputs", "outputs"});
  keys.initial("architecture", "\"relu\"");
  keys.initial("widths", "[784, 256, 256, 10]");
  keys.initial("hidden_layers", "2").initial("width", "256");
  keys.initial("inputs", "784").initial("outputs", "10").one({"inputs", "outputs"});
  keys.initial("bias", "true");
  keys.initial("batch_size", "128");
  keys.initial("steps", "469");
  keys.initial("test_every", "67");
  keys.initial("inference_steps", "10");
  keys.initial("learning_rate", "[0.1, 0.2, 0.3, 0.5]");
  return keys;
}

}  // namespace

run::Program pcxx::programs::classifier() {
  return {.name = "pcxx-classifier",
          .summary =
              "Trains classifiers with one output a class and squared error on MNIST, "
              "Fashion-MNIST, any IDX files with labels or drawn digits, with any set of "
              "models; measures test error and accuracy, and keeps the weights of the "
              "learning rate with which each model ends most accurate.",
          .examples = {"# predictive coding and backpropagation on drawn digits",
                       "--set dataset=digits --set rule=[bp,pc] --set seeds=1",
                       "# five epochs of MNIST with Adam, from a folder that has mnist/",
                       "--data data --set dataset=mnist --set optimizer=adam --set epochs=5 "
                       "--set learning_rate=1e-3",
                       "# the test accuracy of saved weights, without training",
                       "--load runs/a/weights1-pc-none-seed0.safetensors --set steps=0 "
                       "--set learning_rate=1 --set seeds=1",
                       "# MNIST to 98 %", "--config configs/classifier_mnist.toml"},
          .schema = schema(),
          .loads = true,
          .works = true,
          .ranks = true,
          .curves = true,
          .plot_script = "classifier",
          .run = run_classifiers};
}
