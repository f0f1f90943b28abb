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
  Trainer(const Run& run, const Task& task, const at::Tensor& test_values,
          const train::Work::Advance& advance)
      : run_(run), task_(task), test_values_(test_values), advance_(advance) {}

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
      advance_(1);
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

  const Run& run_;
  const Task& task_;
  const at::Tensor& test_values_;
  const train::Work::Advance& advance_;
};

// ---- A training run as a part, and back ---------------------------------------------------------

constexpr std::string_view kDiagnostic = "diagnostic.";
constexpr std::string_view kWeight = "weight.";

at::Tensor scalar(double value) {
  return at::scalar_tensor(value, at::kDouble);
}

std::vector<double> numbers(const at::Tensor& values) {
  const auto* data = values.const_data_ptr<double>();
  return {data, data + values.numel()};
}

train::Part to_part(const Training& training) {
  train::Part part{{"steps", at::tensor(training.steps)},
                   {"test_error", at::tensor(training.test_error, at::kDouble)},
                   {"train_error", at::tensor(training.train_error, at::kDouble)},
                   {"alignment", at::tensor(training.alignment, at::kDouble)},
                   {"inference_steps", scalar(training.inference_steps)},
                   {"converged", scalar(training.converged)}};
  for (const auto& [name, value] : training.diagnostics) {
    part[std::string(kDiagnostic) + name] = scalar(value);
  }
  for (const auto& weight : training.network->named_parameters()) {
    part[std::string(kWeight) + weight.key()] = weight.value().detach().cpu();
  }
  return part;
}

// All but the network.
Training to_training(const train::Part& part) {
  Training training;
  const auto& steps = part.at("steps");
  const auto* first = steps.const_data_ptr<std::int64_t>();
  training.steps.assign(first, first + steps.numel());
  training.test_error = numbers(part.at("test_error"));
  training.train_error = numbers(part.at("train_error"));
  training.alignment = numbers(part.at("alignment"));
  training.inference_steps = part.at("inference_steps").item<double>();
  training.converged = part.at("converged").item<double>();
  for (const auto& [name, value] : part) {
    if (name.starts_with(kDiagnostic)) {
      training.diagnostics[name.substr(kDiagnostic.size())] = value.item<double>();
    }
  }
  return training;
}

nn::Network to_network(const train::Part& part, const Config& model) {
  const at::NoGradGuard no_grad;
  nn::Network network(train::network_options(model));
  network->to(train::tensor_options(model, at::kCPU).dtype().toScalarType());
  for (auto& weight : network->named_parameters()) {
    weight.value().copy_(part.at(std::string(kWeight) + weight.key()));
  }
  return network;
}

// All runs of one model, [rate][seed], over the seeds that all models have finished.
struct ModelRuns {
  Config model;
  std::vector<double> rates;
  std::vector<std::int64_t> seeds;
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

void write_rows(Run& run, const ModelRuns& result) {
  for (std::size_t k = 0; k < result.rates.size(); ++k) {
    for (std::size_t s = 0; s < result.seeds.size(); ++s) {
      const auto cell = run.records()
                            .cell(result.model)
                            .with("learning_rate", result.rates[k])
                            .with("seed", result.seeds[s]);
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

nlohmann::json summarise(const Run& run, const ModelRuns& result) {
  const auto& model = result.model;
  auto json = run.identity(model);
  json["metric"] = "test_error";
  json["best_rate"] = nullptr;
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

std::vector<std::string> table_row(const Config& model, const nlohmann::json& json,
                                   const std::vector<std::string>& varied) {
  std::vector<std::string> row{json["model"].get<std::string>()};
  for (const auto& key : varied) row.push_back(train::to_string(model.values(key).front()));
  if (json["best_rate"].is_null()) {
    row.insert(row.end(), {"none", "diverged", "-", "-"});
    return row;
  }
  const bool edge = json["best_rate_at_edge"] != "none";
  const bool inferred = json.contains("inference_steps");
  row.insert(
      row.end(),
      {train::brief(json["best_rate"].get<double>()) + (edge ? " (edge)" : ""),
       train::brief(json["final_error"].get<double>()),
       inferred ? fmt::format("{:.0f}", json["inference_steps"].get<double>()) : "-",
       inferred ? fmt::format("{:.0f} %", 100 * json["inference_converged"].get<double>()) : "-"});
  return row;
}

class AutoencoderRun {
 public:
  explicit AutoencoderRun(Run& run) : run_(run), task_(load_task(run)) {
    check_shapes(run.config(), task_);
    for (const auto& cell : run.config().cells()) {
      for (auto& model : cell.models()) models_.push_back(std::move(model));
    }
    for (const auto& model : models_) prepare(model);
    for (const auto seed : run.config().integers("seeds")) {
      for (std::size_t m = 0; m < models_.size(); ++m) {
        for (const double rate : models_[m].reals("learning_rate")) {
          trainings_.push_back({m, rate, seed});
        }
      }
    }
  }

  void operator()() {
    const auto& parts = run_.work(work());
    const auto results = collect(parts);
    if (results.front().seeds.empty()) return;

    const auto varied = run_.varied_keys();
    train::Table table(header(varied));
    auto& summary = run_.summary();
    summary["dataset"] = run_.config().text("dataset");
    summary["models"] = nlohmann::json::array();
    auto names = nlohmann::json::array({"original"});
    std::vector<at::Tensor> pictures{pictured()};
    for (const auto& result : results) {
      write_rows(run_, result);
      auto json = summarise(run_, result);
      table.row(table_row(result.model, json, varied));
      if (result.best) {
        pictures.push_back(keep(parts, result, json));
        names.push_back(json["model"]);
      }
      summary["models"].push_back(std::move(json));
    }
    write_picture(run_.folder().file("reconstructions.pgm"), pictures, task_.test.rows,
                  task_.test.columns);
    summary["picture_rows"] = names;
    run_.print("dataset: {}", run_.config().text("dataset"));
    run_.print("{}", table.text());
  }

 private:
  struct Job {
    std::size_t model;
    double rate;
    std::int64_t seed;
  };

  static std::vector<std::string> header(const std::vector<std::string>& varied) {
    std::vector<std::string> names{"model"};
    names.insert(names.end(), varied.begin(), varied.end());
    names.insert(names.end(), {"best rate", "test error", "inference steps", "converged"});
    return names;
  }

  // What makes a model impossible is said before anything is trained.
  void prepare(const Config& model) {
    train::make_rule(model);
    train::make_rescaling(model);
    auto network = train::draw_network(model, 0, at::kCPU);
    if (run_.load_path()) train::load_network(network, *run_.load_path());
    auto& values = test_values_[model.text("dtype")];
    if (!values.defined()) {
      values = task_.test.values(train::tensor_options(model, run_.device()));
    }
  }

  train::Work work() const {
    train::Work work{.label = "autoencoder", .jobs = {}, .run = {}};
    for (const auto& [m, rate, seed] : trainings_) {
      work.jobs.push_back(
          {fmt::format("{}, learning_rate {}, seed {}", train::model_name(models_[m]), rate, seed),
           models_[m].integer("steps")});
    }
    work.run = [this](std::size_t job, const train::Work::Advance& advance) {
      const auto& [m, rate, seed] = trainings_[job];
      Trainer trainer(run_, task_, test_values_.at(models_[m].text("dtype")), advance);
      return to_part(trainer(models_[m], rate, seed));
    };
    return work;
  }

  std::vector<ModelRuns> collect(const train::Parts& parts) const {
    std::vector<std::int64_t> seeds;
    for (const auto seed : run_.config().integers("seeds")) {
      bool finished = true;
      for (std::size_t job = 0; job < trainings_.size(); ++job) {
        if (trainings_[job].seed == seed && !parts.has(job)) finished = false;
      }
      if (finished) seeds.push_back(seed);
    }
    std::vector<ModelRuns> results;
    for (const auto& model : models_) {
      results.push_back({model, model.reals("learning_rate"), seeds, {}, {}});
      results.back().runs.resize(results.back().rates.size());
    }
    for (std::size_t job = 0; job < trainings_.size(); ++job) {
      const auto& [m, rate, seed] = trainings_[job];
      if (std::find(seeds.begin(), seeds.end(), seed) == seeds.end()) continue;
      auto& result = results[m];
      const auto k = std::find(result.rates.begin(), result.rates.end(), rate);
      result.runs[static_cast<std::size_t>(k - result.rates.begin())].push_back(
          to_training(parts.read(job)));
    }
    if (!seeds.empty()) {
      for (auto& result : results) find_best(result);
    }
    return results;
  }

  at::Tensor pictured() const {
    return test_values_.begin()->second.narrow(0, 0, std::min(kPictures, task_.test.size()));
  }

  // Saves the weights at the best rate, and returns what the first seed makes of the pictures.
  at::Tensor keep(const train::Parts& parts, const ModelRuns& result, nlohmann::json& json) {
    at::Tensor prediction;
    for (std::size_t job = 0; job < trainings_.size(); ++job) {
      const auto& [m, rate, seed] = trainings_[job];
      const bool wanted =
          std::find(result.seeds.begin(), result.seeds.end(), seed) != result.seeds.end() &&
          models_[m] == result.model && rate == result.best->rate;
      if (!wanted) continue;
      const auto network = to_network(parts.read(job), result.model);
      const auto name =
          fmt::format("weights{}-{}-{}-seed{}.pt", ++saved_, result.model.text("rule"),
                      result.model.text("rescaling"), seed);
      train::save_network(network, run_.folder().file(name).temporary());
      json["weights"].push_back(name);
      if (prediction.defined()) continue;
      const auto type = network->tensor_options().dtype().toScalarType();
      prediction = network->forward(pictured().cpu().to(type)).detach();
    }
    return prediction;
  }

  Run& run_;
  Task task_;
  std::vector<Config> models_;
  std::vector<Job> trainings_;
  std::map<std::string, at::Tensor> test_values_;  // by dtype
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
                      "optimizer",
                      "run_threads"});
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
  keys.one({"architecture"});
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
       .works = true,
       .plot_script = "autoencoder",
       .run = [](Run& run) { AutoencoderRun{run}(); }},
      argc, argv);
}
