#include <ATen/ATen.h>
#include <fmt/format.h>
#include <pcxx/catalog/experiment.h>
#include <pcxx/catalog/image_sets.h>
#include <pcxx/catalog/model.h>
#include <pcxx/catalog/vocabulary.h>
#include <pcxx/core/error.h>
#include <pcxx/io/checkpoint.h>
#include <pcxx/io/safetensors.h>
#include <pcxx/train/image_training.h>
#include <pcxx/train/observer.h>
#include <pcxx/train/report.h>
#include <pcxx/train/training_state.h>
#include <pcxx/version.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "catalog/amounts.h"
#include "core/lists.h"
#include "train/image_job.h"
#include "train/training_record.h"

namespace pcxx::train {

namespace {

using catalog::Model;

constexpr std::string_view kTest = "test_";
constexpr std::string_view kValidation = "validation_";
constexpr std::int64_t kPredicted = 8;  // test images, in predictions.safetensors

nn::Network trained_network(const run::Part& part, const Model& model) {
  nn::Network network(catalog::network_options(model.config));
  network->to(catalog::tensor_options(model.config, at::kCPU).dtype().toScalarType());
  restore_weights(part, network);
  return network;
}

// What all runs of a model have, and nothing else but how they ended.
std::set<std::string> names_of(const Training& training) {
  std::set<std::string> names;
  for (const auto& [name, curve] : training.tests) names.insert(name);
  for (const auto* name : {kPasses, kConverged}) {
    if (training.numbers.contains(name)) names.insert(name);
  }
  return names;
}

// Of every seed at the best rate, when its errors were tested.
BestRuns best_runs(const ImageModel& result) {
  BestRuns best;
  if (!result.best) return best;
  for (const auto& training : result.runs[result.best->index]) {
    best.errors.push_back(training.tests.at("test_error"));
    best.steps = training.tested_at;
  }
  return best;
}

// Throws c10::Error unless it is a whole run of the model, in which `criterion` was tested.
void check_training(const Training& training, const Model& model, std::string_view criterion) {
  TORCH_CHECK(!training.tested_at.empty() && training.tests.contains("test_error") &&
                  training.tests.contains(std::string(criterion)),
              "no test was measured");
  for (const auto& [name, curve] : training.tests) {
    TORCH_CHECK(name.starts_with(kTest) || name.starts_with(kValidation), "'", name,
                "' is no name of a test");
  }
  TORCH_CHECK(model.steps == 0 || training.updates.contains(kTrainError), "no step was measured");
}

// As if the validation images were the test images.
std::vector<std::vector<Training>> validated(std::vector<std::vector<Training>> runs) {
  for (auto& seeds : runs) {
    for (auto& training : seeds) {
      std::map<std::string, metrics::Curve> tests;
      for (auto& [name, curve] : training.tests) {
        if (!name.starts_with(kValidation)) continue;
        tests[std::string(kTest) + name.substr(kValidation.size())] = std::move(curve);
      }
      training.tests = std::move(tests);
    }
  }
  return runs;
}

}  // namespace

ImageSets load_image_sets(run::Run& run, bool labels) {
  if (catalog::dataset_name(run.config()) == "auto") {
    run.resolve("dataset", {catalog::automatic_dataset(run.config())});
  }
  auto sets = catalog::load_image_sets(run.config(), labels);
  for (const auto& [name, images] :
       {std::pair("training", &sets.train), std::pair("validation", &sets.validation),
        std::pair("test", &sets.test)}) {
    if (!images->pixels.defined()) continue;
    run.take(fmt::format("{} images", name), images->pixels);
    if (labels && images->labels.defined()) {
      run.take(fmt::format("{} labels", name), images->labels);
    }
  }
  return sets;
}

void print_dataset(const run::Run& run) {
  run.print("dataset: {}{}", catalog::dataset_name(run.config()),
            catalog::image_origin(run.config()));
}

std::vector<std::vector<metrics::Curve>> test_curves(const std::vector<std::vector<Training>>& runs,
                                                     const std::string& metric) {
  std::vector<std::vector<metrics::Curve>> curves;
  for (const auto& seeds : runs) {
    curves.emplace_back();
    for (const auto& training : seeds) curves.back().push_back(training.tests.at(metric));
  }
  return curves;
}

ImageSweep::ImageSweep(run::Run& run, const ImageTask& task)
    : run_(run), task_(task), sets_(load_image_sets(run, run.config().has("train_labels"))) {
  const auto cells = run.config().cells();
  for (std::size_t cell = 0; cell < cells.size(); ++cell) {
    for (const auto& model : cells[cell].models()) {
      models_.push_back(catalog::with_epochs(model, sets_.train.size()));
      cells_.push_back(cell);
    }
  }
  for (const auto& model : models_) prepare(model);
  for (const auto seed : models_.front().seeds) {
    for (std::size_t m = 0; m < models_.size(); ++m) {
      for (std::size_t rate = 0; rate < models_[m].rates.size(); ++rate) {
        jobs_.push_back({m, rate, seed});
      }
    }
  }
}

// What makes a model impossible is said before anything is trained.
void ImageSweep::prepare(const Model& model) {
  catalog::check_curves(model.config);
  task_.check(model, sets_);
  catalog::check_sharing(*catalog::make_rule(model.config), run_.ranks());
  catalog::make_rescaling(model.config);
  check_keeping(model);
  auto network = catalog::draw_network(model.config, 0, at::kCPU);
  run_.load(network);
  catalog::make_optimizer(model.config, network->parameters(), model.rates.front());
  if (test_batches_.contains(model.dtype)) return;
  const auto all = at::arange(sets_.test.size(), at::kLong);
  const auto options = catalog::tensor_options(model.config, run_.device());
  test_batches_.emplace(model.dtype, task_.batch(sets_.test, all, options));
  if (!validates()) return;
  const auto held_out = at::arange(sets_.validation.size(), at::kLong);
  validation_batches_.emplace(model.dtype, task_.batch(sets_.validation, held_out, options));
}

void ImageSweep::check_keeping(const Model& model) const {
  if (model.keeps_best && !validates()) {
    user_error("keep = 'best' needs validation_samples, by which it tells the best weights");
  }
  if (model.patience > 0 && !model.keeps_best) user_error("patience needs keep = 'best'");
}

const data::Batch& ImageSweep::test_batch(const Model& model) const {
  return test_batches_.at(model.dtype);
}

double ImageSweep::rate_of(const Job& job) const {
  return models_[job.model].rates[job.rate];
}

run::Work ImageSweep::work() const {
  run::Work work{.label = std::string(task_.name()), .jobs = {}, .run = {}};
  for (const auto& job : jobs_) {
    const auto& model = models_[job.model];
    work.jobs.push_back(
        {fmt::format("{}, learning_rate {}, seed {}", model.name, rate_of(job), job.seed),
         model.steps});
  }
  work.run = [this](std::size_t job, run::JobContext context) {
    const auto& wanted = jobs_[job];
    const auto& model = models_[wanted.model];
    const auto validation = validation_batches_.find(model.dtype);
    const Tested tested{&test_batch(model),
                        validation == validation_batches_.end() ? nullptr : &validation->second};
    return train_on_images(run_, task_, sets_.train, tested, model, rate_of(wanted), wanted.seed,
                           context);
  };
  return work;
}

std::vector<ImageModel> ImageSweep::train() {
  print_dataset(run_);
  const auto& parts = run_.work(work());
  auto results = collect(parts);
  auto& summary = run_.summary();
  summary["dataset"] = catalog::dataset_name(run_.config());
  summary["best_by"] = name_of(catalog::best_by(run_.config()));
  summary["models"] = nlohmann::json::array();
  for (auto& result : results) {
    result.best = best_rate(result);
    record(result);
    summarise(result);
    if (result.best) keep(parts, result);
  }
  write_predictions(results);
  compare(results);
  for (const auto& result : results) summary["models"].push_back(result.summary);
  return results;
}

// Chosen by the validation images, where there are any; its errors are those of the test images.
std::optional<metrics::BestRate> ImageSweep::best_rate(const ImageModel& result) const {
  const auto best_by = catalog::best_by(run_.config());
  if (!validates()) return task_.best_rate(result.runs, result.rates, best_by);
  auto best = task_.best_rate(validated(result.runs), result.rates, best_by);
  if (!best) return best;
  const auto test = task_.best_rate({result.runs[best->index]}, {best->rate}, best_by);
  if (!test) return std::nullopt;
  best->final_error = test->final_error;
  best->area = test->area;
  return best;
}

bool ImageSweep::validates() const {
  return sets_.validation.pixels.defined();
}

std::vector<ImageModel> ImageSweep::collect(const run::Parts& parts) const {
  auto seeds = models_.front().seeds;
  for (std::size_t job = 0; job < jobs_.size(); ++job) {
    if (!parts.has(job)) std::erase(seeds, jobs_[job].seed);
  }
  if (seeds.empty()) return {};
  std::vector<ImageModel> results;
  for (const auto& model : models_) {
    auto& result = results.emplace_back(ImageModel{.model = model,
                                                   .rates = model.rates,
                                                   .seeds = seeds,
                                                   .runs = {},
                                                   .best = {},
                                                   .summary = {},
                                                   .networks = {}});
    result.runs.resize(result.rates.size());
  }
  for (std::size_t job = 0; job < jobs_.size(); ++job) {
    const auto& [m, rate, seed] = jobs_[job];
    if (!contains(seeds, seed)) continue;
    const auto check = [&, place = m](const run::Part& part) {
      const auto training = to_training(part);
      check_training(training, models_[place], task_.criterion());
      const auto& runs = results[place].runs;
      const auto known =
          std::find_if(runs.begin(), runs.end(), [](const auto& some) { return !some.empty(); });
      TORCH_CHECK(known == runs.end() || names_of(known->front()) == names_of(training),
                  "other jobs of its model measured something else");
    };
    results[m].runs[rate].push_back(to_training(parts.read(job, check)));
  }
  return results;
}

void ImageSweep::record(const ImageModel& result) const {
  auto& records = run_.records();
  for (std::size_t k = 0; k < result.rates.size(); ++k) {
    for (std::size_t s = 0; s < result.seeds.size(); ++s) {
      const auto cell = records.cell(result.model.config)
                            .with("learning_rate", result.rates[k])
                            .with("seed", result.seeds[s]);
      const auto& training = result.runs[k][s];
      for (const auto& [name, curve] : training.tests) {
        record_curve(records, cell, name, curve, training.tested_at);
      }
      for (const auto& [name, curve] : training.updates) record_curve(records, cell, name, curve);
      for (const auto& [name, values] : training.numbers) records.add(cell, name, values.front());
    }
  }
}

void ImageSweep::summarise(ImageModel& result) const {
  auto& json = result.summary;
  json = run_.identity(result.model.config);
  json["metric"] = task_.criterion();
  auto chosen_by = std::string(task_.criterion());
  if (validates()) chosen_by = std::string(kValidation) + chosen_by.substr(kTest.size());
  json["chosen_by"] = chosen_by;
  std::size_t diverged = 0;
  std::size_t unstable = 0;
  for (const auto& seeds : result.runs) {
    for (const auto& training : seeds) {
      diverged += metrics::diverged(training.tests.at("test_error")) ? 1 : 0;
      unstable += training.numbers.contains(kUnstableAt) ? 1 : 0;
    }
  }
  json["diverged_runs"] = diverged;
  if (unstable > 0) json["unstable_inference_runs"] = unstable;
  const auto best = best_runs(result);
  add_best(json, result.best, best);
  if (!result.best) return;
  const auto& runs = result.runs[result.best->index];
  for (const char* name : {"target_alignment", "held_out_alignment"}) {
    std::vector<metrics::Curve> curves;
    for (const auto& training : runs) {
      const auto found = training.updates.find(name);
      if (found != training.updates.end()) curves.push_back(found->second);
    }
    add_means(json, name, curves, best);
  }
  const auto mean = [&](const auto& value) {
    double sum = 0;
    for (const auto& training : runs) sum += value(training);
    return sum / static_cast<double>(runs.size());
  };
  for (const auto& [name, curve] : runs.front().tests) {
    json["final_" + (name.starts_with(kTest) ? name.substr(kTest.size()) : name)] =
        mean([metric = name](const auto& t) { return t.tests.at(metric).back(); });
  }
  for (const auto* name : {kPasses, kConverged, kDeadUnits}) {
    if (!runs.front().numbers.contains(name)) continue;
    json[name] = mean([&](const auto& t) { return t.numbers.at(name).front(); });
  }
}

void ImageSweep::compare(std::vector<ImageModel>& results) const {
  for (std::size_t begin = 0, end = 0; begin < results.size(); begin = end) {
    std::vector<nlohmann::json*> summaries;
    std::vector<BestRuns> runs;
    for (; end < results.size() && cells_[end] == cells_[begin]; ++end) {
      summaries.push_back(&results[end].summary);
      runs.push_back(best_runs(results[end]));
    }
    compare_with_backpropagation(summaries, runs);
  }
}

// The weights at the best rate.
void ImageSweep::keep(const run::Parts& parts, ImageModel& result) {
  for (std::size_t job = 0; job < jobs_.size(); ++job) {
    const auto& [m, rate, seed] = jobs_[job];
    const bool wanted = contains(result.seeds, seed) && models_[m].config == result.model.config &&
                        rate == result.best->index;
    if (!wanted) continue;
    const auto take = [&](const run::Part& part) {
      result.networks.push_back(trained_network(part, result.model));
    };
    parts.read(job, take);
    const auto name = fmt::format("weights{}-{}-{}-seed{}.safetensors", ++saved_, result.model.rule,
                                  result.model.rescaling, seed);
    io::write_network(run_.folder().file(name).stream(), result.networks.back(),
                      {{"program", run_.program()},
                       {"version", PCXX_VERSION},
                       {"model", result.model.name},
                       {"learning_rate", fmt::format("{}", result.best->rate)},
                       {"seed", fmt::format("{}", seed)},
                       {"steps", fmt::format("{}", result.model.steps)},
                       {"dataset", catalog::dataset_name(run_.config())}});
    result.summary["weights"].push_back(name);
  }
}

// What the saved networks make of some images, for programs that load the weights to compare with.
void ImageSweep::write_predictions(const std::vector<ImageModel>& results) const {
  const at::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> tensors;
  for (const auto& result : results) {
    const auto count = std::min(kPredicted, sets_.test.size());
    const auto input = test_batch(result.model).input.narrow(0, 0, count).cpu();
    for (std::size_t i = 0; i < result.networks.size(); ++i) {
      tensors["input." + result.model.dtype] = input;
      tensors["output." + result.summary["weights"][i].get<std::string>()] =
          result.networks[i]->forward(input);
    }
  }
  if (tensors.empty()) return;
  io::write_safetensors(run_.folder().file("predictions.safetensors").stream(),
                        {tensors.begin(), tensors.end()}, {{"program", run_.program()}});
}

run::Table image_table(const run::Run& run, const std::vector<ImageModel>& results,
                       const std::vector<Headline>& headlines) {
  std::vector<std::string> columns;
  for (const auto& headline : headlines) columns.push_back(headline.title);
  columns.insert(columns.end(), {"inference passes", "converged"});
  auto table = model_table(run, columns);
  for (const auto& result : results) {
    const auto number = [&](const std::string& name) { return result.summary[name].get<double>(); };
    std::vector<std::string> cells;
    for (const auto& headline : headlines) {
      cells.push_back(result.best ? run::brief(number(headline.number)) : "diverged");
    }
    const bool inferred = result.summary.contains(kPasses);
    cells.push_back(inferred ? fmt::format("{:.0f}", number(kPasses)) : "-");
    cells.push_back(inferred ? fmt::format("{:.0f} %", 100 * number(kConverged)) : "-");
    add_row(table, run, result.model, result.summary, cells);
  }
  return table;
}

config::Schema image_schema(const std::vector<std::string>& more) {
  std::vector<std::string> names{"rule",
                                 "rescaling",
                                 "learning_rate",
                                 "architecture",
                                 "activation",
                                 "layer",
                                 "layers",
                                 "widths",
                                 "init",
                                 "condition_number",
                                 "bias",
                                 "loss",
                                 "batch_size",
                                 "steps",
                                 "epochs",
                                 "best_by",
                                 "dtype",
                                 "seeds",
                                 "test_every",
                                 "test_at",
                                 "validation_samples",
                                 "keep",
                                 "patience",
                                 catalog::kImages,
                                 catalog::kInference,
                                 catalog::kOptions,
                                 "optimizer",
                                 "schedule",
                                 catalog::kTraining};
  names.insert(names.end(), more.begin(), more.end());
  auto keys = catalog::schema(names);
  keys.add(measure_key("[\"inference\"]"));
  keys.initial("init", "\"lecun\"");
  keys.initial("batch_size", "64");
  keys.initial("dtype", "\"float32\"");
  keys.initial("seeds", "3");
  keys.initial("regularisation", "0.01");
  return keys.one({"architecture"});
}

}  // namespace pcxx::train
