#include "train/trainer.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <pcxx/catalog/experiment.h>
#include <pcxx/metrics/dead_units.h>
#include <pcxx/parallel/shared_step.h>
#include <pcxx/train/training_state.h>

#include <algorithm>
#include <cmath>

#include "core/lists.h"
#include "train/training_record.h"
#include "train/whole_update.h"

namespace pcxx::train {
namespace {

constexpr std::int64_t kShown = 1000;  // samples, to tell which units are dead
constexpr const char* kStep = "step";
constexpr const char* kTask = "task.";
constexpr const char* kBest = "best.";
constexpr const char* kStopped = "stopped";

}  // namespace

Trainer::Trainer(const catalog::Model& model, nn::Network network,
                 std::unique_ptr<torch::optim::Optimizer> optimizer, Task& task,
                 const std::vector<std::string>& measure, parallel::Communicator& ranks)
    : model_(model),
      task_(task),
      ranks_(ranks),
      network_(std::move(network)),
      members_(static_cast<std::size_t>(network_->members().value_or(1))),
      rule_(catalog::make_rule(model.config)),
      optimizer_(std::move(optimizer), catalog::make_rescaling(model.config)),
      schedule_(catalog::make_schedule(model.config)),
      observers_(make_observers(measure, [&task] { return task.held_out(); })),
      record_(
          [this](const std::string& metric, const at::Tensor& values) { record(metric, values); }),
      ended_(members_, false) {
  if (!schedule_) return;
  for (const auto& group : optimizer_.inner().param_groups()) {
    rates_.push_back(group.options().get_lr());
  }
}

Training Trainer::train(run::JobContext& job) {
  const at::NoGradGuard no_grad;
  if (job.checkpoint()) go_on(*job.checkpoint());
  while (step_ < model_.steps) {
    if (task_.tests_at(step_)) test();
    if (learns()) update(job);
    ++step_;
    job.advance(static_cast<std::int64_t>(members_), [&] { return state(); });
  }
  test();
  if (model_.keeps_best) go_back_to_best();
  end();
  return training_;
}

bool Trainer::all_ended() const {
  return std::find(ended_.begin(), ended_.end(), false) == ended_.end();
}

bool Trainer::learns() const {
  return !all_ended() && !stopped_;
}

void Trainer::test() {
  training_.tested_at.push_back(step_);
  if (stopped_) return repeat_test();
  measure();
  if (!model_.keeps_best || all_ended()) return;
  best_.offer(task_.worth(training_.tests), step_, network_);
  if (model_.patience > 0 && best_.tests_since() >= model_.patience && step_ < model_.steps) {
    go_back_to_best();
    stopped_ = true;
  }
}

void Trainer::measure() {
  if (all_ended()) {
    for (auto& [name, rows] : training_.tests) rows.resize(rows.size() + members_, kNaN);
    return;
  }
  for (const auto& [name, values] : task_.test(*network_)) append(training_.tests[name], values);
}

// A network that learns no more gives what it gave.
void Trainer::repeat_test() {
  for (auto& [name, rows] : training_.tests) {
    rows.insert(rows.end(), rows.end() - static_cast<std::ptrdiff_t>(members_), rows.end());
  }
}

// The last test becomes that of the best weights.
void Trainer::go_back_to_best() {
  if (stopped_ || all_ended()) return;
  if (best_.step() >= 0 && best_.step() < step_) {
    best_.restore(network_);
    for (auto& [name, rows] : training_.tests) rows.resize(rows.size() - members_);
    measure();
  }
  training_.numbers[kBestStep] = {static_cast<double>(best_.step())};
}

void Trainer::follow_schedule() {
  if (!schedule_) return;
  const double factor = (*schedule_)(step_, model_.steps);
  auto& groups = optimizer_.inner().param_groups();
  for (std::size_t g = 0; g < groups.size(); ++g) groups[g].options().set_lr(factor * rates_[g]);
}

void Trainer::update(run::JobContext& job) {
  const auto batch = task_.next();
  follow_schedule();
  if (rule_->steps_per_batch() > 1) return update_in_steps(batch, job);
  const auto step = step_of(batch);
  const auto made = made_of(step, batch);
  tell(&Observer::learnt, made);
  if (step.report) take(*step.report, job);
  if (all_ended()) return;
  optimizer_.write_gradients(step);
  tell(&Observer::before_step, made);
  optimizer_.inner().step();
  tell(&Observer::after_step, made);
}

// Observers see all steps as one update, once they have been taken.
void Trainer::update_in_steps(const data::Batch& batch, run::JobContext& job) {
  WholeUpdate whole(*network_);
  learning::Step step;
  for (std::int64_t i = 0; i < rule_->steps_per_batch(); ++i) {
    step = step_of(batch);
    optimizer_.write_gradients(step);
    whole.add_gradients();
    optimizer_.inner().step();
  }
  whole.rewind();
  const auto made = made_of(step, batch);
  tell(&Observer::learnt, made);
  if (step.report) take(*step.report, job);
  if (!all_ended()) tell(&Observer::before_step, made);
  whole.finish();
  if (!all_ended()) tell(&Observer::after_step, made);
}

learning::Step Trainer::step_of(const data::Batch& batch) {
  return parallel::shared_step(*rule_, *network_, batch, optimizer_.rescaling(), ranks_);
}

MadeUpdate Trainer::made_of(const learning::Step& step, const data::Batch& batch) const {
  return {.index = step_,
          .network = *network_,
          .rule = *rule_,
          .step = step,
          .batch = batch,
          .ranks = ranks_};
}

void Trainer::tell(Event event, const MadeUpdate& made) {
  (task_.*event)(made, record_);
  for (const auto& observer : observers_) ((*observer).*event)(made, record_);
}

// What was not measured at earlier updates is NaN there.
void Trainer::record(const std::string& metric, const at::Tensor& values) {
  auto& rows = training_.updates[metric];
  rows.resize(static_cast<std::size_t>(step_) * members_, kNaN);
  append(rows, values);
}

void Trainer::append(std::vector<double>& rows, const at::Tensor& values) const {
  const auto found = row(values);
  for (std::size_t m = 0; m < members_; ++m) rows.push_back(ended_[m] ? kNaN : found[m]);
}

std::vector<double> Trainer::row(const at::Tensor& values) const {
  const auto members = static_cast<std::int64_t>(members_);
  const auto all = values.to(at::kCPU, at::kDouble).expand({members}).contiguous();
  const auto* first = all.const_data_ptr<double>();
  return {first, first + members};
}

// The sums over the updates of those that have not ended, in one transfer from the device.
void Trainer::take(const inference::Report& report, run::JobContext& job) {
  const auto found =
      at::stack({report.steps.amax(-1).to(at::kDouble), report.converged.to(at::kDouble).mean(-1),
                 report.unstable.any(-1).to(at::kDouble)})
          .cpu();
  auto& passes = training_.numbers[kPasses];
  auto& converged = training_.numbers[kConverged];
  passes.resize(members_);
  converged.resize(members_);
  std::vector<bool> unstable(members_, false);
  const auto* next = found.const_data_ptr<double>();
  for (std::size_t m = 0; m < members_; ++m) {
    if (ended_[m]) continue;
    passes[m] += next[m];
    converged[m] += next[members_ + m];
    unstable[m] = next[2 * members_ + m] > 0;
  }
  const auto count = std::count(unstable.begin(), unstable.end(), true);
  if (count == 0) return;
  if (model_.ends_unstable) end_unstable(unstable);
  warn(report, count, job);
}

// There is nothing more to learn from.
void Trainer::end_unstable(const std::vector<bool>& unstable) {
  auto& ended_at = training_.numbers[kUnstableAt];
  ended_at.resize(members_, kNaN);
  for (std::size_t m = 0; m < members_; ++m) {
    if (!unstable[m]) continue;
    ended_at[m] = static_cast<double>(step_);
    ended_[m] = true;
  }
}

// Once a job.
void Trainer::warn(const inference::Report& report, std::int64_t unstable,
                   const run::JobContext& job) {
  if (std::exchange(warned_, true)) return;
  const bool all = unstable == static_cast<std::int64_t>(members_);
  const auto who = all ? "" : fmt::format("{} of {} runs ", unstable, members_);
  job.warn(fmt::format("{}{} step {}: {}", who,
                       model_.ends_unstable ? "ended as diverged at" : "from", step_,
                       report.brief()));
}

// Sums over the updates become means.
void Trainer::end() {
  const auto ended_at = training_.numbers.find(kUnstableAt);
  for (const auto* name : {kPasses, kConverged}) {
    const auto sums = training_.numbers.find(name);
    if (sums == training_.numbers.end()) continue;
    for (std::size_t m = 0; m < members_; ++m) {
      sums->second[m] /= ended_[m] ? ended_at->second[m] + 1 : static_cast<double>(model_.steps);
    }
  }
  measure_dead_units();
  for (const auto& found : {rule_->diagnostics(), optimizer_.rescaling().diagnostics()}) {
    for (const auto& [name, value] : found) training_.numbers.emplace(name, std::vector{value});
  }
}

void Trainer::measure_dead_units() {
  if (network_->is_linear()) return;
  const auto samples = task_.held_out().input;
  const auto shown = samples.narrow(-2, 0, std::min(kShown, samples.size(-2)));
  const auto dead = metrics::dead_units(*network_, nn::feedforward(*network_, shown));
  if (!dead.isnan().any().item<bool>()) training_.numbers[kDeadUnits] = row(dead);
}

run::Part Trainer::state() const {
  auto state = training_state(network_, *rule_, optimizer_);
  state.merge(to_part(training_));
  add_below(state, kTask, task_.state());
  if (model_.keeps_best) {
    add_below(state, kBest, best_.state());
    state[kStopped] = as_count(stopped_ ? 1 : 0);
  }
  state[kStep] = as_count(step_);
  return state;
}

void Trainer::go_on(const run::Part& state) {
  restore(state, network_, *rule_, optimizer_);
  task_.set_state(entries_below(state, kTask));
  training_ = to_training(state, static_cast<std::int64_t>(members_));
  if (model_.keeps_best) {
    best_.set_state(entries_below(state, kBest));
    stopped_ = count_of(state, kStopped) != 0;
  }
  step_ = count_of(state, kStep);
  TORCH_CHECK(step_ <= model_.steps, "step ", step_, " is beyond the last");
  for (const auto& [metric, rows] : training_.updates) {
    TORCH_CHECK(rows.size() <= static_cast<std::size_t>(step_) * members_, metric,
                " of the state has ", rows.size(), " numbers after ", step_, " steps");
  }
  const auto found = training_.numbers.find(kUnstableAt);
  if (found == training_.numbers.end()) return;
  for (std::size_t m = 0; m < members_; ++m) ended_[m] = !std::isnan(found->second.at(m));
}

}  // namespace pcxx::train
