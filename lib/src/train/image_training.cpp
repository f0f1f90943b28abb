#include <ATen/ATen.h>
#include <fmt/format.h>
#include <pcxx/core/error.h>
#include <pcxx/data/drawn_digits.h>
#include <pcxx/data/minibatches.h>
#include <pcxx/inference/curvature.h>
#include <pcxx/learning/kalman.h>
#include <pcxx/metrics/dead_units.h>
#include <pcxx/metrics/reconstruction.h>
#include <pcxx/metrics/target_alignment.h>
#include <pcxx/parallel/shared_step.h>
#include <pcxx/parallel/slice.h>
#include <pcxx/train/checkpoint.h>
#include <pcxx/train/experiment.h>
#include <pcxx/train/image_training.h>
#include <pcxx/train/training_state.h>
#include <pcxx/version.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "train/amounts.h"
#include "train/lists.h"
#include "train/registry.h"
#include "train/safetensors.h"

namespace pcxx::train {

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kDigitsTrain = 60000;
constexpr std::int64_t kDigitsTest = 10000;
constexpr std::int64_t kAlignedSamples = 64;  // test images, in the alignment
constexpr std::int64_t kPredicted = 8;        // test images, in predictions.safetensors

data::Images limit(const data::Images& images, std::int64_t count) {
  return count > 0 ? images.first(count) : images;
}

std::int64_t count_or(std::int64_t wanted, std::int64_t standard) {
  return wanted > 0 ? wanted : standard;
}

bool names(const Config& config, const std::string& key) {
  return config.has(key) && !config.text(key).empty();
}

// Labels that nobody needs are read too where they are named.
data::Images load_idx(const Config& config, const std::string& split, bool labels) {
  const auto file = [&](const std::string& what) -> fs::path {
    const auto key = split + "_" + what;
    if (!names(config, key)) user_error("dataset = 'idx' needs the key {}", key);
    return config.text(key);
  };
  const auto images = file("images");
  labels = labels || names(config, split + "_labels");
  return data::load_images(images, labels ? std::optional(file("labels")) : std::nullopt);
}

// The first of the keys that name IDX files.
std::optional<std::string> named_idx_key(const Config& config) {
  for (const char* key : {"train_images", "test_images", "train_labels", "test_labels"}) {
    if (names(config, key)) return key;
  }
  return std::nullopt;
}

// What a user names is used: digits are for those who name nothing.
std::string automatic_dataset(const Config& config, const std::optional<fs::path>& folder) {
  if (named_idx_key(config)) return "idx";
  if (data::find_data_folder(folder, "mnist")) return "mnist";
  if (!data::data_root(folder).named_by.empty()) data::refuse_data_folder(folder, "mnist");
  return "digits";
}

// Refuses files and folders that the data set does not come from. Digits that were asked for by
// name need no folder, and mind none.
void check_named(const Config& config) {
  const auto& dataset = config.text("dataset");
  const auto key = named_idx_key(config);
  if (key && dataset != "idx") {
    user_error("{} = '{}' is for dataset = 'idx', not '{}'", *key, config.text(*key), dataset);
  }
  if (dataset == "idx" && names(config, "data")) {
    user_error(
        "--data '{}' says nothing to dataset = 'idx', which takes train_images and test_images",
        config.text("data"));
  }
}

// Where the images come from, for people.
std::string origin(const Config& config, const std::optional<fs::path>& folder) {
  const auto& dataset = config.text("dataset");
  if (datasets().find(dataset) != nullptr) return "";
  if (dataset == "digits") return ", drawn by the program";
  if (dataset == "idx") {
    return fmt::format(", from '{}' and '{}'", config.text("train_images"),
                       config.text("test_images"));
  }
  const auto found = data::find_data_folder(folder, dataset);
  return found ? fmt::format(", from '{}'", found->string()) : "";
}

ImageSets load_sets(const Config& config, const std::optional<fs::path>& folder, bool labels) {
  const auto& dataset = config.text("dataset");
  const auto samples = config.integer("samples");
  const auto test_samples = config.integer("test_samples");
  if (const auto* own = datasets().find(dataset)) {
    auto sets = (*own)(config);
    return {limit(sets.train, samples), limit(sets.test, test_samples)};
  }
  check_named(config);
  if (dataset == "digits") {
    const auto count = count_or(samples, kDigitsTrain);
    return {data::drawn_digits(count, 0),
            data::drawn_digits(count_or(test_samples, kDigitsTest), 0, kDigitsTrain + count)};
  }
  if (dataset == "idx") {
    return {limit(load_idx(config, "train", labels), samples),
            limit(load_idx(config, "test", labels), test_samples)};
  }
  return {limit(data::load_images(dataset, data::Split::kTrain, folder), samples),
          limit(data::load_images(dataset, data::Split::kTest, folder), test_samples)};
}

// ---- A training run as a part, and back ---------------------------------------------------------

constexpr const char* kTestedAt = "tested_at";
constexpr const char* kTest = "test.";
constexpr const char* kUpdate = "update.";
constexpr const char* kNumber = "number.";

constexpr std::int64_t kCurvatureEvery = 10;    // steps
constexpr std::int64_t kDeadUnitImages = 1000;  // test images, to tell which units are dead

// Metrics.
constexpr const char* kTrainError = "train_error";
constexpr const char* kPasses = "inference_passes";
constexpr const char* kConverged = "inference_converged";
constexpr const char* kCurvature = "inference_curvature";
constexpr const char* kUnstableAt = "inference_unstable_at";
constexpr const char* kDeadUnits = "dead_units";

std::vector<double> numbers(const at::Tensor& values) {
  TORCH_CHECK(values.dim() == 1, "a curve is a list, not ", values.sizes());
  const auto* data = values.const_data_ptr<double>();
  return {data, data + values.numel()};
}

// All entries that are called prefix + name, by name.
template <typename Value, typename Convert>
std::map<std::string, Value> entries(const Part& part, std::string_view prefix, Convert convert) {
  std::map<std::string, Value> found;
  for (const auto& [name, tensor] : part) {
    if (name.starts_with(prefix)) found[name.substr(prefix.size())] = convert(tensor);
  }
  return found;
}

Part to_part(const ImageTraining& training) {
  Part part{{kTestedAt, at::tensor(training.tested_at, at::kLong)}};
  for (const auto& [name, curve] : training.tests)
    part[kTest + name] = at::tensor(curve, at::kDouble);
  for (const auto& [name, curve] : training.updates) {
    part[kUpdate + name] = at::tensor(curve, at::kDouble);
  }
  for (const auto& [name, number] : training.numbers) {
    part[kNumber + name] = at::scalar_tensor(number, at::kDouble);
  }
  return part;
}

ImageTraining to_training(const Part& part) {
  const auto& steps = entry(part, kTestedAt);
  const auto* first = steps.const_data_ptr<std::int64_t>();
  ImageTraining training{.tested_at = {first, first + steps.numel()},
                         .tests = entries<metrics::Curve>(part, kTest, numbers),
                         .updates = entries<metrics::Curve>(part, kUpdate, numbers),
                         .numbers = entries<double>(
                             part, kNumber, [](const at::Tensor& t) { return t.item<double>(); })};
  for (const auto& [name, curve] : training.tests) {
    TORCH_CHECK(curve.size() == training.tested_at.size(), kTest, name, " has ", curve.size(),
                " values at ", training.tested_at.size(), " steps");
  }
  return training;
}

// What all runs of a model have, and nothing else but how they ended.
std::set<std::string> names_of(const ImageTraining& training) {
  std::set<std::string> names;
  for (const auto& [name, curve] : training.tests) names.insert(name);
  for (const auto* name : {kPasses, kConverged}) {
    if (training.numbers.contains(name)) names.insert(name);
  }
  return names;
}

// Of a whole run. Throws c10::Error otherwise.
void check_part(const Part& part, const Config& model, std::string_view criterion) {
  const auto training = to_training(part);
  TORCH_CHECK(!training.tested_at.empty() && training.tests.contains("test_error") &&
                  training.tests.contains(std::string(criterion)),
              "no test was measured");
  for (const auto& [name, curve] : training.tests) {
    TORCH_CHECK(name.starts_with("test_"), "'", name, "' is no name of a test");
  }
  TORCH_CHECK(model.integer("steps") == 0 || training.updates.contains(kTrainError),
              "no step was measured");
}

// ---- One job ------------------------------------------------------------------------------------

class Trainer {
 public:
  Trainer(const Run& run, const ImageTask& task, const data::Images& images,
          const data::Batch& test_batch, const Config& model, double rate, std::int64_t seed)
      : task_(task),
        ranks_(run.ranks()),
        images_(images),
        test_batch_(test_batch),
        model_(model),
        options_(tensor_options(model, run.device())),
        network_(draw_network(model, seed, run.device())),
        rule_(make_rule(model)),
        optimizer_(optim::make_optimizer(model.text("optimizer"), network_->parameters(), rate),
                   make_rescaling(model)),
        minibatches_(images.size(), static_cast<std::uint64_t>(seed)) {
    run.load(network_);
    for (const auto samples : model.integers("test_at")) {
      const auto batch_size = model.integer("batch_size");
      test_steps_.push_back((samples + batch_size - 1) / batch_size);
    }
    std::sort(test_steps_.begin(), test_steps_.end());
    const auto measured = model.texts("measure");
    const auto wanted = [&](const char* name) {
      return std::find(measured.begin(), measured.end(), name) != measured.end();
    };
    aligned_ = wanted("target_alignment");
    if (wanted("held_out_alignment")) {
      const auto count = std::min(kAlignedSamples, test_batch.input.size(0));
      held_out_ = {test_batch.input.narrow(0, 0, count), test_batch.target.narrow(0, 0, count)};
    }
    reported_ = wanted("inference");
    if (wanted("kalman")) kalman_ = dynamic_cast<learning::KalmanPredictiveCoding*>(rule_.get());
  }

  Part operator()(JobContext& job) {
    if (job.checkpoint()) go_on(*job.checkpoint());
    const auto steps = model_.integer("steps");
    while (step_ < steps) {
      if (test_is_due()) test();
      if (!ended()) update(job);
      ++step_;
      job.advance(1, [&] { return state(); });
    }
    test();
    end();
    auto part = to_part(training_);
    part.merge(weights_of(network_));
    return part;
  }

 private:
  bool test_is_due() const {
    const auto every = model_.integer("test_every");
    if (step_ == 0 || (every > 0 && step_ % every == 0)) return true;
    return std::binary_search(test_steps_.begin(), test_steps_.end(), step_);
  }

  void test() {
    training_.tested_at.push_back(step_);
    if (ended()) {
      for (auto& [name, curve] : training_.tests) curve.push_back(kNaN);
      return;
    }
    for (const auto& [name, value] : measure_tests()) training_.tests[name].push_back(value);
  }

  // Means over the test images, of which every rank takes its slice.
  std::map<std::string, double> measure_tests() const {
    const auto mine = parallel::slice(test_batch_, ranks_);
    auto tests = tests_of(mine.input.size(0) > 0 ? mine : test_batch_);
    if (ranks_.size() == 1) return tests;
    std::vector<double> sums;
    const auto count = static_cast<double>(mine.input.size(0));
    for (const auto& [name, value] : tests) sums.push_back(count > 0 ? count * value : 0);
    sums = parallel::sum_numbers(ranks_, sums);
    auto next = sums.begin();
    for (auto& [name, value] : tests) {
      value = *next++ / static_cast<double>(test_batch_.input.size(0));
    }
    return tests;
  }

  std::map<std::string, double> tests_of(const data::Batch& batch) const {
    auto tests = task_.test(*network_, batch);
    tests["test_error"] =
        metrics::mean_squared_error(*network_, batch.input, batch.target).item<double>();
    return tests;
  }

  // A fixed inference step has become unstable: there is nothing to learn from.
  bool ended() const { return training_.numbers.contains(kUnstableAt); }

  void update(JobContext& job) {
    const auto index = minibatches_.next(model_.integer("batch_size"));
    const auto batch = task_.batch(images_, index, options_);
    const auto update =
        parallel::shared_step(*rule_, *network_, batch, optimizer_.rescaling(), ranks_);
    const auto mine = parallel::slice(batch, ranks_);
    training_.updates[kTrainError].push_back(
        gathered_mean((mine.target - update.prediction).square(), batch.samples));
    if (update.report) {
      report(*update.report);
      if (reported_ && network_->is_dense() && step_ % kCurvatureEvery == 0)
        record_curvature(batch);
      if (update.report->any_unstable()) warn_unstable(*update.report, job);
      if (ended()) return;
    }
    optimizer_.write_gradients(update);
    if (aligned_) record_alignment("target_alignment", batch);
    if (held_out_) record_alignment("held_out_alignment", *held_out_);
    optimizer_.inner().step();
    if (kalman_) record_kalman();
  }

  void record_kalman() {
    const auto record = [this](const std::string& name, const at::Tensor& value) {
      training_.updates[name].push_back(value.item().toDouble());
    };
    for (const auto& [name, value] : measurements(kalman_->report())) record(name, value);
  }

  // Of the update that is about to be made.
  void record_alignment(const std::string& name, const data::Batch& samples) {
    const auto made = metrics::update_of_gradients(*network_);
    training_.updates[name].push_back(
        metrics::target_alignment(*network_, samples, made).mean.item<double>());
  }

  // Of all ranks' samples.
  double gathered_mean(const at::Tensor& rows, std::int64_t samples) const {
    if (ranks_.size() == 1) return rows.mean().item().toDouble();
    return parallel::gather_samples(ranks_, rows.mean(-1), samples).mean().item().toDouble();
  }

  void report(const inference::Report& report) {
    training_.numbers[kPasses] += static_cast<double>(report.max_steps());
    training_.numbers[kConverged] += report.converged.to(at::kDouble).mean().item<double>();
    if (!reported_) return;
    for (const auto& [name, value] : inference::measurements(report)) {
      if (name != kCurvature) training_.updates[name].push_back(value.item<double>());
    }
  }

  void warn_unstable(const inference::Report& report, JobContext& job) {
    const bool end = model_.text("unstable_inference") == "end";
    if (end) training_.numbers[kUnstableAt] = static_cast<double>(step_);
    if (!warned_) {
      job.warn(fmt::format("{} step {}: {}", end ? "ended as diverged at" : "from", step_,
                           report.brief()));
    }
    warned_ = true;
  }

  // It changes slowly: once in a while is enough, and costs next to nothing.
  void record_curvature(const data::Batch& batch) {
    constexpr int kIterations = 5;
    auto& measured = training_.updates[kCurvature];
    measured.resize(training_.updates[kTrainError].size(), kNaN);
    const auto mine = parallel::slice(batch, ranks_);
    const auto here = mine.input.size(0) > 0 ? inference::curvature(*network_, mine, kIterations)
                                             : at::empty({0}, options_);
    measured.back() = parallel::gather_samples(ranks_, here, batch.samples).max().item<double>();
  }

  // Sums over the steps become means.
  void end() {
    const auto steps = static_cast<double>(training_.updates[kTrainError].size());
    for (const auto* name : {kPasses, kConverged}) {
      if (training_.numbers.contains(name)) training_.numbers[name] /= steps;
    }
    record_dead_units();
    training_.numbers.merge(rule_->diagnostics());
    training_.numbers.merge(optimizer_.rescaling().diagnostics());
  }

  void record_dead_units() {
    const auto count = std::min(kDeadUnitImages, test_batch_.input.size(0));
    const auto pass = nn::feedforward(*network_, test_batch_.input.narrow(0, 0, count));
    const double dead = metrics::dead_units(*network_, pass).item<double>();
    if (!std::isnan(dead)) training_.numbers[kDeadUnits] = dead;
  }

  Part state() const {
    auto state = training_state(network_, *rule_, optimizer_, minibatches_);
    state.merge(to_part(training_));
    state["step"] = at::scalar_tensor(step_, at::kLong);
    return state;
  }

  void go_on(const Part& state) {
    restore(state, network_, *rule_, optimizer_, minibatches_);
    training_ = to_training(state);
    step_ = count_of(state, "step");
    TORCH_CHECK(step_ <= model_.integer("steps"), "step ", step_, " is beyond the last");
  }

  const ImageTask& task_;
  parallel::Communicator& ranks_;
  const data::Images& images_;
  const data::Batch& test_batch_;
  const Config& model_;
  at::TensorOptions options_;
  nn::Network network_;
  std::unique_ptr<learning::LearningRule> rule_;
  optim::Rescaled optimizer_;
  data::Minibatches minibatches_;
  std::vector<std::int64_t> test_steps_;  // of test_at, in order
  bool aligned_ = false;
  std::optional<data::Batch> held_out_;
  bool reported_ = false;
  learning::KalmanPredictiveCoding* kalman_ = nullptr;  // where it is measured
  bool warned_ = false;
  std::int64_t step_ = 0;
  ImageTraining training_;
};

nn::Network trained_network(const Part& part, const Config& model) {
  nn::Network network(network_options(model));
  network->to(tensor_options(model, at::kCPU).dtype().toScalarType());
  restore_weights(part, network);
  return network;
}

Config with_epochs(const Config& model, std::int64_t images) {
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

bool at_edge(const metrics::BestRate& best) {
  return best.at_low_edge || best.at_high_edge;
}

ImageSets find_image_sets(Run& run, bool labels) {
  const auto folder = run.data_folder();
  if (run.config().text("dataset") == "auto") {
    run.resolve("dataset", automatic_dataset(run.config(), folder));
  }
  return load_sets(run.config(), folder, labels);
}

}  // namespace

ImageSets load_image_sets(Run& run, bool labels) {
  auto sets = find_image_sets(run, labels);
  for (const auto& [name, images] :
       {std::pair("training", &sets.train), std::pair("test", &sets.test)}) {
    run.take(fmt::format("{} images", name), images->pixels);
    if (labels && images->labels.defined()) {
      run.take(fmt::format("{} labels", name), images->labels);
    }
  }
  return sets;
}

void print_dataset(const Run& run) {
  run.print("dataset: {}{}", run.config().text("dataset"), origin(run.config(), run.data_folder()));
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

ImageSweep::ImageSweep(Run& run, const ImageTask& task)
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
      for (const double rate : models_[m].reals("learning_rate")) jobs_.push_back({m, rate, seed});
    }
  }
}

// What makes a model impossible is said before anything is trained.
void ImageSweep::prepare(const Config& model) {
  check_curves(model);
  task_.check(model, sets_);
  check_sharing(*make_rule(model), run_.ranks());
  make_rescaling(model);
  auto network = draw_network(model, 0, at::kCPU);
  run_.load(network);
  if (test_batches_.contains(model.text("dtype"))) return;
  const auto all = at::arange(sets_.test.size(), at::kLong);
  test_batches_.emplace(model.text("dtype"),
                        task_.batch(sets_.test, all, tensor_options(model, run_.device())));
}

const data::Batch& ImageSweep::test_batch(const Config& model) const {
  return test_batches_.at(model.text("dtype"));
}

Work ImageSweep::work() const {
  Work work{.label = std::string(task_.name()), .jobs = {}, .run = {}};
  for (const auto& [m, rate, seed] : jobs_) {
    work.jobs.push_back(
        {fmt::format("{}, learning_rate {}, seed {}", model_name(models_[m]), rate, seed),
         models_[m].integer("steps")});
  }
  work.run = [this](std::size_t job, JobContext context) {
    const auto& [m, rate, seed] = jobs_[job];
    const auto& model = models_[m];
    return Trainer(run_, task_, sets_.train, test_batch(model), model, rate, seed)(context);
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
    result.best = task_.best_rate(result.runs, result.rates,
                                  metrics::best_by_from(run_.config().text("best_by")));
    record(result);
    summarise(result);
    if (result.best) keep(parts, result);
  }
  write_predictions(results);
  compare_with_backpropagation(results);
  for (const auto& result : results) summary["models"].push_back(result.summary);
  return results;
}

std::vector<ImageModel> ImageSweep::collect(const Parts& parts) const {
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
    const auto check = [&, place = m](const Part& part) {
      check_part(part, models_[place], task_.criterion());
      const auto& runs = results[place].runs;
      const auto known =
          std::find_if(runs.begin(), runs.end(), [](const auto& some) { return !some.empty(); });
      TORCH_CHECK(known == runs.end() || names_of(known->front()) == names_of(to_training(part)),
                  "other jobs of its model measured something else");
    };
    const auto& rates = results[m].rates;
    const auto k = std::find(rates.begin(), rates.end(), rate) - rates.begin();
    results[m].runs[static_cast<std::size_t>(k)].push_back(to_training(parts.read(job, check)));
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
          const bool taken = name != kCurvature || !std::isnan(curve[t]);
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
           (cells_[plain] != cells_[m] || model_name(results[plain].model) != "bp")) {
      ++plain;
    }
    if (plain == results.size() || !results[plain].best || !results[m].best) continue;
    results[m].summary["steps_to_plain_bp"] = mean_steps(
        results[m].runs[results[m].best->index], results[plain].runs[results[plain].best->index]);
  }
}

// The weights at the best rate.
void ImageSweep::keep(const Parts& parts, ImageModel& result) {
  for (std::size_t job = 0; job < jobs_.size(); ++job) {
    const auto& [m, rate, seed] = jobs_[job];
    const bool wanted =
        contains(result.seeds, seed) && models_[m] == result.model && rate == result.best->rate;
    if (!wanted) continue;
    const auto take = [&](const Part& part) {
      result.networks.push_back(trained_network(part, result.model));
    };
    parts.read(job, take);
    const auto name = fmt::format("weights{}-{}-{}-seed{}.safetensors", ++saved_,
                                  result.model.text("rule"), result.model.text("rescaling"), seed);
    write_network(run_.folder().file(name).stream(), result.networks.back(),
                  {{"program", run_.program()},
                   {"version", PCXX_VERSION},
                   {"model", model_name(result.model)},
                   {"learning_rate", fmt::format("{}", rate)},
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
  write_safetensors(run_.folder().file("predictions.safetensors").stream(),
                    {tensors.begin(), tensors.end()}, {{"program", run_.program()}});
}

Table image_table(const Run& run, const std::vector<ImageModel>& results,
                  const std::vector<Headline>& headlines) {
  const auto varied = run.varied_keys();
  std::vector<std::string> header{"model"};
  header.insert(header.end(), varied.begin(), varied.end());
  header.push_back(best_rate_title(run.config()));
  for (const auto& headline : headlines) header.push_back(headline.title);
  header.insert(header.end(), {"inference passes", "converged"});
  Table table(header);
  for (const auto& result : results) {
    const auto& best = result.best;
    const auto& summary = result.summary;
    std::vector<std::string> row{summary["model"].get<std::string>()};
    for (const auto& key : varied) row.push_back(to_string(result.model.values(key).front()));
    const auto number = [&](const std::string& name) { return summary[name].get<double>(); };
    row.push_back(!best ? "none" : brief(best->rate) + (at_edge(*best) ? " (edge)" : ""));
    for (const auto& headline : headlines) {
      row.push_back(best ? brief(number(headline.number)) : "diverged");
    }
    const bool inferred = summary.contains("inference_passes");
    row.push_back(inferred ? fmt::format("{:.0f}", number("inference_passes")) : "-");
    row.push_back(inferred ? fmt::format("{:.0f} %", 100 * number("inference_converged")) : "-");
    table.row(row);
  }
  return table;
}

Schema image_schema(const std::vector<std::string>& more) {
  std::vector<std::string> names{"rule",
                                 "rescaling",
                                 "learning_rate",
                                 "architecture",
                                 "layer",
                                 "widths",
                                 "init",
                                 "condition_number",
                                 "bias",
                                 "batch_size",
                                 "steps",
                                 "epochs",
                                 "best_by",
                                 "dtype",
                                 "seeds",
                                 "test_every",
                                 "test_at",
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
                                 "unstable_inference",
                                 "rho",
                                 "narrowing",
                                 "regularisation",
                                 "spectrum",
                                 "as_printed",
                                 "alpha_denominator",
                                 "alpha_floor",
                                 "forgetting",
                                 "delta",
                                 "optimizer",
                                 "run_threads",
                                 "checkpoint_every",
                                 "rank_timeout"};
  names.insert(names.end(), more.begin(), more.end());
  Schema keys(names);
  keys.add({.name = "measure",
            .kind = Kind::kText,
            .initial = "[\"inference\"]",
            .doc = "what to record at every step beside the errors; held_out_alignment is the "
                   "update's with the errors of the first 64 test images, inference how an "
                   "iterative one went, kalman what kpc knows and how much of its predicted change "
                   "came true",
            .shape = Shape::kList,
            .choices = {"target_alignment", "held_out_alignment", "inference", "kalman"}});
  keys.initial("init", "\"lecun\"");
  keys.initial("batch_size", "64");
  keys.initial("dtype", "\"float32\"");
  keys.initial("seeds", "3");
  keys.initial("regularisation", "0.01");
  return keys.one({"architecture"});
}

}  // namespace pcxx::train
