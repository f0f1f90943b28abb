#include "train/image_trainer.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <pcxx/catalog/experiment.h>
#include <pcxx/data/minibatches.h>
#include <pcxx/metrics/dead_units.h>
#include <pcxx/metrics/reconstruction.h>
#include <pcxx/parallel/shared_step.h>
#include <pcxx/parallel/slice.h>
#include <pcxx/train/observer.h>
#include <pcxx/train/training_state.h>

#include <algorithm>
#include <cmath>

#include "core/lists.h"
#include "train/image_record.h"

namespace pcxx::train {
namespace {

constexpr std::int64_t kDeadUnitImages = 1000;  // test images, to tell which units are dead

class ImageTrainer {
 public:
  ImageTrainer(const run::Run& run, const ImageTask& task, const data::Images& images,
               const data::Batch& test_batch, const config::Config& model, double rate,
               std::int64_t seed)
      : task_(task),
        ranks_(run.ranks()),
        images_(images),
        test_batch_(test_batch),
        model_(model),
        options_(catalog::tensor_options(model, run.device())),
        network_(catalog::draw_network(model, seed, run.device())),
        rule_(catalog::make_rule(model)),
        optimizer_(optim::make_optimizer(model.text("optimizer"), network_->parameters(), rate),
                   catalog::make_rescaling(model)),
        minibatches_(images.size(), static_cast<std::uint64_t>(seed)) {
    run.load(network_);
    for (const auto samples : model.integers("test_at")) {
      const auto batch_size = model.integer("batch_size");
      test_steps_.push_back((samples + batch_size - 1) / batch_size);
    }
    std::sort(test_steps_.begin(), test_steps_.end());
    observers_ = make_observers(model.texts("measure"), [&] { return test_batch; });
  }

  run::Part operator()(run::JobContext& job) {
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

  void update(run::JobContext& job) {
    const auto index = minibatches_.next(model_.integer("batch_size"));
    const auto batch = task_.batch(images_, index, options_);
    const auto update =
        parallel::shared_step(*rule_, *network_, batch, optimizer_.rescaling(), ranks_);
    const auto mine = parallel::slice(batch, ranks_);
    training_.updates[kTrainError].push_back(
        gathered_mean((mine.target - update.prediction).square(), batch.samples));
    const MadeUpdate made{.index = step_,
                          .network = *network_,
                          .rule = *rule_,
                          .step = update,
                          .batch = batch,
                          .ranks = ranks_};
    if (update.report) report(*update.report, job);
    for (const auto& observer : observers_) observer->learnt(made, record_);
    if (ended()) return;
    optimizer_.write_gradients(update);
    for (const auto& observer : observers_) observer->before_step(made, record_);
    optimizer_.inner().step();
    for (const auto& observer : observers_) observer->after_step(made, record_);
  }

  // A number of the newest update; what was not measured at earlier ones is NaN there.
  void record(const std::string& metric, const at::Tensor& value) {
    auto& curve = training_.updates[metric];
    curve.resize(training_.updates[kTrainError].size() - 1, kNaN);
    curve.push_back(value.item().toDouble());
  }

  // Of all ranks' samples.
  double gathered_mean(const at::Tensor& rows, std::int64_t samples) const {
    if (ranks_.size() == 1) return rows.mean().item().toDouble();
    return parallel::gather_samples(ranks_, rows.mean(-1), samples).mean().item().toDouble();
  }

  void report(const inference::Report& report, run::JobContext& job) {
    training_.numbers[kPasses] += static_cast<double>(report.max_steps());
    training_.numbers[kConverged] += report.converged.to(at::kDouble).mean().item<double>();
    if (!report.any_unstable()) return;
    const bool end = model_.text("unstable_inference") == "end";
    if (end) training_.numbers[kUnstableAt] = static_cast<double>(step_);
    if (!warned_) {
      job.warn(fmt::format("{} step {}: {}", end ? "ended as diverged at" : "from", step_,
                           report.brief()));
    }
    warned_ = true;
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

  run::Part state() const {
    auto state = training_state(network_, *rule_, optimizer_, minibatches_);
    state.merge(to_part(training_));
    state["step"] = at::scalar_tensor(step_, at::kLong);
    return state;
  }

  void go_on(const run::Part& state) {
    restore(state, network_, *rule_, optimizer_, minibatches_);
    training_ = to_training(state);
    step_ = count_of(state, "step");
    TORCH_CHECK(step_ <= model_.integer("steps"), "step ", step_, " is beyond the last");
  }

  const ImageTask& task_;
  parallel::Communicator& ranks_;
  const data::Images& images_;
  const data::Batch& test_batch_;
  const config::Config& model_;
  at::TensorOptions options_;
  nn::Network network_;
  std::unique_ptr<learning::LearningRule> rule_;
  optim::Rescaled optimizer_;
  data::Minibatches minibatches_;
  std::vector<std::int64_t> test_steps_;  // of test_at, in order
  std::vector<std::unique_ptr<Observer>> observers_;
  Record record_ = [this](const std::string& metric, const at::Tensor& value) {
    record(metric, value);
  };
  bool warned_ = false;
  std::int64_t step_ = 0;
  ImageTraining training_;
};

}  // namespace

run::Part train_on_images(const run::Run& run, const ImageTask& task, const data::Images& images,
                          const data::Batch& test_batch, const config::Config& model, double rate,
                          std::int64_t seed, run::JobContext& job) {
  return ImageTrainer(run, task, images, test_batch, model, rate, seed)(job);
}

}  // namespace pcxx::train
