#include <ATen/ATen.h>
#include <fmt/format.h>
#include <pcxx/catalog/experiment.h>
#include <pcxx/catalog/image_sets.h>
#include <pcxx/catalog/model.h>
#include <pcxx/io/checkpoint.h>
#include <pcxx/train/image_training.h>
#include <pcxx/train/observer.h>
#include <pcxx/train/training_state.h>
#include <pcxx/version.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "catalog/amounts.h"
#include "core/lists.h"
#include "io/safetensors.h"
#include "train/image_record.h"
#include "train/image_trainer.h"

namespace pcxx::train {

namespace {

constexpr std::int64_t kPredicted = 8;  // test images, in predictions.safetensors

nn::Network trained_network(const run::Part& part, const config::Config& model) {
  nn::Network network(catalog::network_options(model));
  network->to(catalog::tensor_options(model, at::kCPU).dtype().toScalarType());
  restore_weights(part, network);
  return network;
}

config::Config with_epochs(const config::Config& model, std::int64_t images) {
  const auto epochs = model.integer("epochs");
  if (epochs == 0) return model;
  const auto batch_size = model.integer("batch_size");
  return model.with("steps", {(epochs * images + batch_size - 1) / batch_size});
}

// Mean over seeds of the first tested step with an error as low as the last one of a rival, or null
// when a seed never gets there.
nlohmann::json mean_steps(const std::vector<ImageTraining>& seeds,
                          const std::vector<ImageTraining>& rival) {
  double sum = 0;
  for (std::size_t s = 0; s < seeds.size(); ++s) {
    const double goal = rival[s].tests.at("test_error").back();
    const auto place = metrics::steps_to_reach(seeds[s].tests.at("test_error"), goal);
    if (!place) return nullptr;
    sum += static_cast<double>(seeds[s].tested_at[static_cast<std::size_t>(*place)]);
  }
  return sum / static_cast<double>(seeds.size());
}

}  // namespace

ImageSets load_image_sets(run::Run& run, bool labels) {
  if (run.config().text("dataset") == "auto") {
    run.resolve("dataset", catalog::automatic_dataset(run.config()));
  }
  auto sets = catalog::load_image_sets(run.config(), labels);
  for (const auto& [name, images] :
       {std::pair("training", &sets.train), std::pair("test", &sets.test)}) {
    run.take(fmt::format("{} images", name), images->pixels);
    if (labels && images->labels.defined()) {
      run.take(fmt::format("{} labels", name), images->labels);
    }
  }
  return sets;
}

void print_dataset(const run::Run& run) {
  run.print("dataset: {}{}", run.config().text("dataset"), catalog::image_origin(run.config()));
}

std::vector<std::vector<metrics::Curve>> test_curves(
    const std::vector<std::vector<ImageTraining>>& runs, const std::string& metric) {
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
      models_.push_back(with_epochs(model, sets_.train.size()));
      cells_.push_back(cell);
    }
  }
  for (const auto& model : models_) prepare(model);
  for (const auto seed : run.config().integers("seeds")) {
    for (std::size_t m = 0; m < models_.size(); ++m) {
      const auto rates = models_[m].reals("learning_rate").size();
      for (std::size_t rate = 0; rate < rates; ++rate) jobs_.push_back({m, rate, seed});
    }
  }
}

// What makes a model impossible is said before anything is trained.
void ImageSweep::prepare(const config::Config& model) {
  catalog::check_curves(model);
  task_.check(model, sets_);
  catalog::check_sharing(*catalog::make_rule(model), run_.ranks());
  catalog::make_rescaling(model);
  auto network = catalog::draw_network(model, 0, at::kCPU);
  run_.load(network);
  if (test_batches_.contains(model.text("dtype"))) return;
  const auto all = at::arange(sets_.test.size(), at::kLong);
  test_batches_.emplace(
      model.text("dtype"),
      task_.batch(sets_.test, all, catalog::tensor_options(model, run_.device())));
}

const data::Batch& ImageSweep::test_batch(const config::Config& model) const {
  return test_batches_.at(model.text("dtype"));
}

double ImageSweep::rate_of(const Job& job) const {
  return models_[job.model].reals("learning_rate")[job.rate];
}

run::Work ImageSweep::work() const {
  run::Work work{.label = std::string(task_.name()), .jobs = {}, .run = {}};
  for (const auto& job : jobs_) {
    const auto& model = models_[job.model];
    work.jobs.push_back({fmt::format("{}, learning_rate {}, seed {}", catalog::model_name(model),
                                     rate_of(job), job.seed),
                         model.integer("steps")});
  }
  work.run = [this](std::size_t job, run::JobContext context) {
    const auto& wanted = jobs_[job];
    const auto& model = models_[wanted.model];
    return train_on_images(run_, task_, sets_.train, test_batch(model), model, rate_of(wanted),
                           wanted.seed, context);
  };
  return work;
}

std::vector<ImageModel> ImageSweep::train() {
  print_dataset(run_);
  const auto& parts = run_.work(work());
  auto results = collect(parts);
  auto& summary = run_.summary();
  summary["dataset"] = run_.config().text("dataset");
  summary["best_by"] = run_.config().text("best_by");
  summary["models"] = nlohmann::json::array();
  for (auto& result : results) {
    result.best = task_.best_rate(result.runs, result.rates, catalog::best_by(run_.config()));
    record(result);
    summarise(result);
    if (result.best) keep(parts, result);
  }
  write_predictions(results);
  compare_with_backpropagation(results);
  for (const auto& result : results) summary["models"].push_back(result.summary);
  return results;
}

std::vector<ImageModel> ImageSweep::collect(const run::Parts& parts) const {
  auto seeds = run_.config().integers("seeds");
  for (std::size_t job = 0; job < jobs_.size(); ++job) {
    if (!parts.has(job)) std::erase(seeds, jobs_[job].seed);
  }
  if (seeds.empty()) return {};
  std::vector<ImageModel> results;
  for (const auto& model : models_) {
    auto& result = results.emplace_back(ImageModel{.model = model,
                                                   .rates = model.reals("learning_rate"),
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
      check_part(part, models_[place], task_.criterion());
      const auto& runs = results[place].runs;
      const auto known =
          std::find_if(runs.begin(), runs.end(), [](const auto& some) { return !some.empty(); });
      TORCH_CHECK(known == runs.end() || names_of(known->front()) == names_of(to_training(part)),
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
      const auto cell = records.cell(result.model)
                            .with("learning_rate", result.rates[k])
                            .with("seed", result.seeds[s]);
      const auto& training = result.runs[k][s];
      for (const auto& [name, curve] : training.tests) {
        for (std::size_t i = 0; i < curve.size(); ++i) {
          records.add(cell, training.tested_at[i], name, curve[i]);
        }
      }
      for (const auto& [name, curve] : training.updates) {
        for (std::size_t t = 0; t < curve.size(); ++t) {
          const bool taken = !is_occasional(name) || !std::isnan(curve[t]);
          if (taken) records.add(cell, static_cast<std::int64_t>(t), name, curve[t]);
        }
      }
      for (const auto& [name, value] : training.numbers) records.add(cell, name, value);
    }
  }
}

void ImageSweep::summarise(ImageModel& result) const {
  auto& json = result.summary;
  json = run_.identity(result.model);
  json["metric"] = task_.criterion();
  json["best_rate"] = nullptr;
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
  if (!result.best) return;
  const auto& best = *result.best;
  json["best_rate"] = best.rate;
  json["best_rate_at_edge"] = best.at_low_edge ? "low" : best.at_high_edge ? "high" : "none";
  json["final_error"] = best.final_error;
  json["log_area"] = best.area;
  const auto& runs = result.runs[best.index];
  json["final_errors"] = nlohmann::json::array();
  json["log_areas"] = nlohmann::json::array();
  json["early_log_areas"] = nlohmann::json::array();
  for (const auto& training : runs) {
    const auto& curve = training.tests.at("test_error");
    json["final_errors"].push_back(curve.back());
    json["log_areas"].push_back(metrics::area_under_log_curve(curve));
    json["early_log_areas"].push_back(metrics::early_area_under_log_curve(curve));
    for (const char* name : {"target_alignment", "held_out_alignment"}) {
      const auto found = training.updates.find(name);
      if (found != training.updates.end()) {
        json[fmt::format("mean_{}s", name)].push_back(
            at::tensor(found->second, at::kDouble).nanmean().item<double>());
      }
    }
  }
  const auto mean = [&](const auto& value) {
    double sum = 0;
    for (const auto& training : runs) sum += value(training);
    return sum / static_cast<double>(runs.size());
  };
  for (const auto& [name, curve] : runs.front().tests) {
    json["final_" + name.substr(std::string_view("test_").size())] =
        mean([metric = name](const auto& t) { return t.tests.at(metric).back(); });
  }
  for (const auto* name : {kPasses, kConverged, kDeadUnits}) {
    if (!runs.front().numbers.contains(name)) continue;
    json[name] = mean([&](const auto& t) { return t.numbers.at(name); });
  }
}

// Steps each model needs to get where plain backpropagation ends, as far as it was tested.
void ImageSweep::compare_with_backpropagation(std::vector<ImageModel>& results) const {
  for (std::size_t m = 0; m < results.size(); ++m) {
    std::size_t plain = 0;
    while (plain < results.size() &&
           (cells_[plain] != cells_[m] || catalog::model_name(results[plain].model) != "bp")) {
      ++plain;
    }
    if (plain == results.size() || !results[plain].best || !results[m].best) continue;
    results[m].summary["steps_to_plain_bp"] = mean_steps(
        results[m].runs[results[m].best->index], results[plain].runs[results[plain].best->index]);
  }
}

// The weights at the best rate.
void ImageSweep::keep(const run::Parts& parts, ImageModel& result) {
  for (std::size_t job = 0; job < jobs_.size(); ++job) {
    const auto& [m, rate, seed] = jobs_[job];
    const bool wanted =
        contains(result.seeds, seed) && models_[m] == result.model && rate == result.best->index;
    if (!wanted) continue;
    const auto take = [&](const run::Part& part) {
      result.networks.push_back(trained_network(part, result.model));
    };
    parts.read(job, take);
    const auto name = fmt::format("weights{}-{}-{}-seed{}.safetensors", ++saved_,
                                  result.model.text("rule"), result.model.text("rescaling"), seed);
    io::write_network(run_.folder().file(name).stream(), result.networks.back(),
                      {{"program", run_.program()},
                       {"version", PCXX_VERSION},
                       {"model", catalog::model_name(result.model)},
                       {"learning_rate", fmt::format("{}", result.best->rate)},
                       {"seed", fmt::format("{}", seed)},
                       {"steps", fmt::format("{}", result.model.integer("steps"))},
                       {"dataset", run_.config().text("dataset")}});
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
      tensors["input." + result.model.text("dtype")] = input;
      tensors["output." + result.summary["weights"][i].get<std::string>()] =
          result.networks[i]->forward(input);
    }
  }
  if (tensors.empty()) return;
  io::write_safetensors(run_.folder().file("predictions.safetensors").stream(),
                        {tensors.begin(), tensors.end()}, {{"program", run_.program()}});
}

}  // namespace pcxx::train
