#include <ATen/ATen.h>
#include <pcxx/core/error.h>
#include <pcxx/data/drawn_digits.h>
#include <pcxx/data/minibatches.h>
#include <pcxx/metrics/reconstruction.h>
#include <pcxx/metrics/sample_efficiency.h>
#include <pcxx/metrics/target_alignment.h>
#include <pcxx/train/checkpoint.h>
#include <pcxx/train/experiment.h>
#include <pcxx/train/program.h>
#include <pcxx/train/table.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "picture.h"

namespace {

using namespace pcxx;
using metrics::Curve;
using train::Cell;
using train::Config;
using train::Run;

constexpr std::int64_t kDigitsTrain = 60000;
constexpr std::int64_t kDigitsTest = 10000;
constexpr std::int64_t kPictures = 12;

struct Task {
  data::Images train;
  data::Images test;
};

data::Images limit(const data::Images& images, std::int64_t count) {
  return count > 0 ? images.first(count) : images;
}

std::int64_t count_or(std::int64_t wanted, std::int64_t standard) {
  return wanted > 0 ? wanted : standard;
}

Task load_task(Run& run) {
  const auto& config = run.config();
  const auto folder = run.data_folder();
  if (config.text("dataset") == "auto") {
    const bool found = data::find_data_folder(folder, "mnist").has_value();
    run.resolve("dataset", std::string(found ? "mnist" : "digits"));
  }
  const auto dataset = run.config().text("dataset");
  const auto samples = config.integer("samples");
  const auto test_samples = config.integer("test_samples");
  if (dataset == "digits") {
    const auto count = count_or(samples, kDigitsTrain);
    return {data::drawn_digits(count, 0),
            data::drawn_digits(count_or(test_samples, kDigitsTest), 0, kDigitsTrain + count)};
  }
  if (dataset == "idx") {
    const auto& train_images = config.text("train_images");
    const auto& test_images = config.text("test_images");
    if (train_images.empty() || test_images.empty()) {
      user_error("dataset = 'idx' needs the keys train_images and test_images");
    }
    return {limit(data::load_images(std::filesystem::path(train_images)), samples),
            limit(data::load_images(std::filesystem::path(test_images)), test_samples)};
  }
  return {limit(data::load_images(dataset, data::Split::kTrain, folder), samples),
          limit(data::load_images(dataset, data::Split::kTest, folder), test_samples)};
}

void check_shapes(const Config& config, const Task& task) {
  const auto n = train::widths(config);
  for (const auto* images : {&task.train, &task.test}) {
    if (images->features() != n.front() || n.front() != n.back()) {
      user_error("widths goes from {} to {}, but the images have {} pixels", n.front(), n.back(),
                 images->features());
    }
  }
}

// One training run. Test errors after 0, test_every, 2 test_every, ... steps and the last.
struct Training {
  std::vector<std::int64_t> steps;
  Curve test_error;
  std::vector<double> train_error;  // of the batch that each step learnt from, before it learnt
  std::vector<double> alignment;    // of each step's update with that batch's errors, where asked
  std::map<std::string, double> diagnostics;  // of the rescaling
  double inference_steps = 0;                 // mean over the run, of each batch's slowest sample
  double converged = 1;                       // part of the samples whose inference converged
  nn::Network network{nullptr};
};

class Trainer {
 public:
  Trainer(Run& run, const Task& task, const at::Tensor& test_values, train::Progress& progress)
      : run_(run), task_(task), test_values_(test_values), progress_(progress) {}

  Training operator()(const Config& model, double rate, std::int64_t seed) {
    auto network = start(model, seed);
    Training result;
    result.network = network;
    const auto rule = train::make_rule(model);
    optim::Rescaled optimizer(
        optim::make_optimizer(model.text("optimizer"), network->parameters(), rate),
        train::make_rescaling(model));
    data::Minibatches minibatches(task_.train.size(), static_cast<std::uint64_t>(seed));
    const auto options = train::tensor_options(model, run_.device());
    const auto steps = model.integer("steps");
    const auto measure = model.texts("measure");
    const bool aligned =
        std::find(measure.begin(), measure.end(), "target_alignment") != measure.end();
    double converged = 0;
    for (std::int64_t step = 0;; ++step) {
      if (step % model.integer("test_every") == 0 || step == steps) test(result, step);
      if (step == steps) break;
      const auto batch = data::autoencoding_batch(
          task_.train, minibatches.next(model.integer("batch_size")), options);
      const auto update = rule->factors(*network, batch);
      result.train_error.push_back(
          (batch.target - update.prediction).square().mean().item().toDouble());
      if (update.report) {
        result.inference_steps += static_cast<double>(update.report->max_steps());
        converged += update.report->converged.to(at::kDouble).mean().item().toDouble();
      }
      optimizer.write_gradients(update.layers);
      if (aligned) {
        const auto made = metrics::update_of_gradients(*network);
        result.alignment.push_back(
            metrics::target_alignment(*network, batch, made).mean.item<double>());
      }
      optimizer.inner().step();
      progress_.advance();
      run_.check_interrupted();
    }
    result.diagnostics = optimizer.rescaling().diagnostics();
    if (steps > 0) {
      result.inference_steps /= static_cast<double>(steps);
      result.converged = converged / static_cast<double>(steps);
    }
    return result;
  }

 private:
  nn::Network start(const Config& model, std::int64_t seed) {
    auto network = train::draw_network(model, seed, run_.device());
    if (run_.load_path()) train::load_network(network, *run_.load_path());
    return network;
  }

  void test(Training& result, std::int64_t step) {
    result.steps.push_back(step);
    result.test_error.push_back(
        metrics::reconstruction_error(*result.network, test_values_).item<double>());
  }

  Run& run_;
  const Task& task_;
  const at::Tensor& test_values_;
  train::Progress& progress_;
};

// All runs of one model, [rate][seed].
struct ModelRuns {
  Config model;
  std::vector<double> rates;
  std::vector<std::vector<Training>> runs;
  std::optional<metrics::BestRate> best;
};

void find_best(ModelRuns& result) {
  std::vector<std::vector<Curve>> curves;
  for (const auto& seeds : result.runs) {
    curves.emplace_back();
    for (const auto& training : seeds) curves.back().push_back(training.test_error);
  }
  result.best = metrics::best_rate(curves, result.rates);
}

void write_rows(Run& run, const ModelRuns& result, const std::vector<std::int64_t>& seeds) {
  for (std::size_t k = 0; k < result.rates.size(); ++k) {
    for (std::size_t s = 0; s < seeds.size(); ++s) {
      const auto cell =
          Cell(result.model).with("learning_rate", result.rates[k]).with("seed", seeds[s]);
      const auto& training = result.runs[k][s];
      for (std::size_t i = 0; i < training.steps.size(); ++i) {
        run.records().add(cell, training.steps[i], "test_error", training.test_error[i]);
      }
      for (std::size_t t = 0; t < training.train_error.size(); ++t) {
        run.records().add(cell, static_cast<std::int64_t>(t), "train_error",
                          training.train_error[t]);
      }
      for (std::size_t t = 0; t < training.alignment.size(); ++t) {
        run.records().add(cell, static_cast<std::int64_t>(t), "target_alignment",
                          training.alignment[t]);
      }
      for (const auto& [name, value] : training.diagnostics) run.records().add(cell, name, value);
      if (result.model.text("rule") == "pc") {
        run.records().add(cell, "inference_steps", training.inference_steps);
        run.records().add(cell, "inference_converged", training.converged);
      }
    }
  }
}

nlohmann::json summarise(const ModelRuns& result) {
  const auto& model = result.model;
  nlohmann::json json{{"model", train::model_name(model)},
                      {"rule", model.text("rule")},
                      {"rescaling", model.text("rescaling")},
                      {"batch_size", model.integer("batch_size")},
                      {"init", model.text("init")},
                      {"metric", "test_error"},
                      {"best_rate", nullptr}};
  std::size_t diverged = 0;
  for (const auto& seeds : result.runs) {
    for (const auto& training : seeds) diverged += metrics::diverged(training.test_error) ? 1 : 0;
  }
  json["diverged_runs"] = diverged;
  if (!result.best) return json;
  const auto& best = *result.best;
  json["best_rate"] = best.rate;
  json["best_rate_at_edge"] = best.at_low_edge ? "low" : best.at_high_edge ? "high" : "none";
  json["final_error"] = best.final_error;
  json["log_area"] = best.area;
  double inference_steps = 0;
  double converged = 0;
  for (const auto& training : result.runs[best.index]) {
    inference_steps += training.inference_steps;
    converged += training.converged;
  }
  const auto seeds = static_cast<double>(result.runs[best.index].size());
  if (model.text("rule") == "pc") {
    json["inference_steps"] = inference_steps / seeds;
    json["inference_converged"] = converged / seeds;
  }
  return json;
}

std::vector<std::string> table_row(const nlohmann::json& json) {
  const auto name = json["model"].get<std::string>();
  const auto batch = fmt::format("{}", json["batch_size"].get<int>());
  if (json["best_rate"].is_null()) return {name, batch, "none", "diverged", "-", "-"};
  const bool edge = json["best_rate_at_edge"] != "none";
  const bool inferred = json.contains("inference_steps");
  return {
      name,
      batch,
      train::brief(json["best_rate"].get<double>()) + (edge ? " (edge)" : ""),
      train::brief(json["final_error"].get<double>()),
      inferred ? fmt::format("{:.0f}", json["inference_steps"].get<double>()) : "-",
      inferred ? fmt::format("{:.0f} %", 100 * json["inference_converged"].get<double>()) : "-"};
}

class AutoencoderRun {
 public:
  explicit AutoencoderRun(Run& run) : run_(run), task_(load_task(run)) {
    check_shapes(run.config(), task_);
    test_values_ = task_.test.values(
        train::tensor_options(run.config().grid({"dtype"}).front(), run.device()));
    pictures_ = {test_values_.narrow(0, 0, std::min(kPictures, task_.test.size()))};
  }

  void operator()() {
    train::Table table(
        {"model", "batch", "best rate", "test error", "inference steps", "converged"});
    auto& summary = run_.summary();
    summary["dataset"] = run_.config().text("dataset");
    summary["models"] = nlohmann::json::array();
    auto names = nlohmann::json::array({"original"});
    {
      auto progress = run_.progress("autoencoder", total_steps());
      for (const auto& model : models()) {
        const auto result = train_model(model, progress);
        write_rows(run_, result, seeds());
        auto json = summarise(result);
        table.row(table_row(json));
        if (result.best) {
          keep(result, json);
          names.push_back(json["model"]);
        }
        summary["models"].push_back(std::move(json));
      }
    }
    write_picture(run_.folder().file("reconstructions.pgm"), pictures_, task_.test.rows,
                  task_.test.columns);
    summary["picture_rows"] = names;
    run_.print("dataset: {}", run_.config().text("dataset"));
    run_.print("{}", table.text());
  }

 private:
  std::vector<std::int64_t> seeds() const { return run_.config().integers("seeds"); }

  std::vector<Config> models() const {
    std::vector<Config> all;
    for (const auto& cell :
         run_.config().grid({"init", "batch_size", "condition_number", "dtype"})) {
      for (const auto& model : cell.models()) all.push_back(model);
    }
    return all;
  }

  std::int64_t total_steps() const {
    std::int64_t total = 0;
    for (const auto& model : models()) {
      total += static_cast<std::int64_t>(model.reals("learning_rate").size() * seeds().size()) *
               model.integer("steps");
    }
    return total;
  }

  ModelRuns train_model(const Config& model, train::Progress& progress) {
    ModelRuns result{.model = model, .rates = model.reals("learning_rate"), .runs = {}, .best = {}};
    Trainer trainer(run_, task_, test_values_, progress);
    for (const double rate : result.rates) {
      result.runs.emplace_back();
      for (const auto seed : seeds()) result.runs.back().push_back(trainer(model, rate, seed));
    }
    find_best(result);
    return result;
  }

  // The weights at the best rate, and what the first seed makes of the pictures.
  void keep(const ModelRuns& result, nlohmann::json& json) {
    const auto& trained = result.runs[result.best->index];
    for (std::size_t s = 0; s < trained.size(); ++s) {
      const auto name =
          fmt::format("weights{}-{}-{}-seed{}.pt", ++saved_, result.model.text("rule"),
                      result.model.text("rescaling"), seeds()[s]);
      train::save_network(trained[s].network, run_.folder().file(name).temporary());
      json["weights"].push_back(name);
    }
    const auto prediction = trained.front().network->forward(
        pictures_.front().to(trained.front().network->tensor_options().dtype().toScalarType()));
    pictures_.push_back(prediction.detach());
  }

  Run& run_;
  Task task_;
  at::Tensor test_values_;
  std::vector<at::Tensor> pictures_;
  int saved_ = 0;
};

train::Schema schema() {
  train::Schema keys({"rule",
                      "rescaling",
                      "learning_rate",
                      "architecture",
                      "widths",
                      "init",
                      "condition_number",
                      "bias",
                      "batch_size",
                      "steps",
                      "dtype",
                      "seeds",
                      "test_every",
                      "dataset",
                      "data",
                      "train_images",
                      "test_images",
                      "samples",
                      "test_samples",
                      "inference",
                      "inference_steps",
                      "inference_step_size",
                      "inference_tolerance",
                      "inference_energy_tolerance",
                      "regularisation",
                      "spectrum",
                      "as_printed",
                      "alpha_denominator",
                      "alpha_floor",
                      "forgetting",
                      "delta",
                      "optimizer"});
  keys.add({.name = "measure",
            .kind = train::Kind::kText,
            .initial = "[]",
            .doc = "what to record at every step beside the errors",
            .shape = train::Shape::kList,
            .choices = {"target_alignment"}});
  keys.initial("architecture", "\"autoencoder\"");
  keys.initial("widths", "[784, 128, 32, 128, 784]");
  keys.initial("init", "\"lecun\"");
  keys.initial("batch_size", "64");
  keys.initial("steps", "200");
  keys.initial("dtype", "\"float32\"");
  keys.initial("seeds", "3");
  keys.initial("regularisation", "0.01");
  keys.initial("learning_rate", "{ from = 1e-4, to = 10, points = 11, scale = \"log\" }");
  keys.one({"architecture", "regularisation"});
  return keys;
}

}  // namespace

int main(int argc, char** argv) {
  return train::run_program(
      {.name = "pcxx-autoencoder",
       .summary = "Trains autoencoders on MNIST, Fashion-MNIST, any IDX files or drawn digits with "
                  "any set of models, measures the test error step by step, and keeps weights "
                  "and reconstructions of each model's best learning rate.",
       .examples = {"# predictive coding with and without projection, on drawn digits",
                    "--set rule=pc --set rescaling=[none,projection] --set learning_rate=[0.3,1] "
                    "--set seeds=1 --set dataset=digits",
                    "# MNIST from a folder that has mnist/",
                    "--data data --set dataset=mnist --set learning_rate=1",
                    "# the test error of saved weights, without training",
                    "--load runs/a/weights1-pc-none-seed0.pt --set steps=0 --set learning_rate=1 "
                    "--set seeds=1",
                    "# an experiment of the paper", "--config configs/fig4d_autoencoder.toml"},
       .schema = schema(),
       .loads = true,
       .plot_script = "autoencoder",
       .run = [](Run& run) { AutoencoderRun{run}(); }},
      argc, argv);
}
