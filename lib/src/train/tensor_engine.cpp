#include <ATen/ATen.h>
#include <fmt/format.h>
#include <pcxx/catalog/experiment.h>
#include <pcxx/catalog/model.h>
#include <pcxx/data/linear_teacher.h>
#include <pcxx/metrics/dead_units.h>
#include <pcxx/metrics/map_error.h>
#include <pcxx/metrics/sample_efficiency.h>
#include <pcxx/optim/member_sgd.h>
#include <pcxx/optim/optimizers.h>
#include <pcxx/optim/rescaled.h>
#include <pcxx/parallel/shared_step.h>
#include <pcxx/parallel/slice.h>
#include <pcxx/train/observer.h>
#include <pcxx/train/sweep.h>
#include <pcxx/train/training_state.h>

#include <algorithm>
#include <limits>

#include "catalog/registry.h"
#include "core/lists.h"
#include "run/saved_run.h"
#include "train/engine.h"

namespace pcxx::train {
namespace {

constexpr std::int64_t kHeldOut = 1000;
constexpr std::int64_t kShown = 256;  // of them, to tell which units are dead
const std::string kCurve = "curve.";  // of a checkpoint's entries

std::vector<std::int64_t> distinct_seeds(const std::vector<SweepMember>& members) {
  std::vector<std::int64_t> seeds;
  for (const auto& member : members) {
    if (std::find(seeds.begin(), seeds.end(), member.seed) == seeds.end()) {
      seeds.push_back(member.seed);
    }
  }
  return seeds;
}

// Samples no run trains on, [S, kHeldOut, n].
data::Batch held_out_batch(const std::vector<data::LinearTeacher>& teachers) {
  std::vector<at::Tensor> inputs;
  std::vector<at::Tensor> targets;
  for (const auto& teacher : teachers) {
    auto samples = teacher.held_out(kHeldOut);
    inputs.push_back(std::move(samples.input));
    targets.push_back(std::move(samples.target));
  }
  return {at::stack(inputs), at::stack(targets)};
}

// Networks trained side by side, as one ensemble.
class TensorEnsemble {
 public:
  TensorEnsemble(const std::vector<SweepMember>& members, const std::vector<std::string>& measure,
                 at::Device device, parallel::Communicator& ranks)
      : model_(*members.front().model),
        ranks_(ranks),
        error_metric_(error_metric(model_)),
        compressible_(error_metric_ == "map_error" && !contains(measure, "target_alignment") &&
                      !catalog::is_kalman(model_)),
        seeds_(distinct_seeds(members)),
        members_(static_cast<std::int64_t>(members.size())),
        seed_of_member_(places(members).to(device)),
        network_(catalog::select_members(*catalog::draw_ensemble(model_, seeds_, device),
                                         seed_of_member_)),
        rule_(catalog::make_rule(model_)),
        optimizer_(make_optimizer(members), catalog::make_rescaling(model_)),
        teachers_(catalog::make_teachers(model_, seeds_, device)) {
    const auto maps = data::stack_maps(teachers_);
    map_ = of_members(maps);
    if (error_metric_ == "map_error") {
      part_["least_map_error"] = of_members(
          metrics::least_map_error(maps, metrics::narrowest_width(*network_)).to(device));
    }
    const auto held_out = [this] { return of_members(held_out_batch(teachers_)); };
    if (error_metric_ == "test_error") held_out_ = held_out();
    observers_ = make_observers(measure, [&] { return held_out_ ? *held_out_ : held_out(); });
  }

  run::Part train(run::JobContext& job) {
    const auto steps = model_.integer("steps");
    if (job.checkpoint()) go_on(*job.checkpoint());
    for (;; ++step_) {
      const auto batch = next_batch();
      record(error_metric_, error(batch));
      if (step_ == steps) break;
      update(batch, job);
      job.advance(members_, [&] { return state(); });
    }
    for (auto& [name, rows] : curves_) {
      rows.resize(static_cast<std::size_t>(steps) + 1, not_measured());
      part_[name] = at::stack(rows);
    }
    measure_dead_units();
    end_diverged();
    for (const auto& found : {rule_->diagnostics(), optimizer_.rescaling().diagnostics()}) {
      for (const auto& [name, value] : found) {
        part_[kDiagnostic + name] = at::scalar_tensor(value, at::kDouble);
      }
    }
    for (auto& [name, values] : part_) values = values.cpu();
    run::check_same_weights(ranks_, weights_of(network_));
    return part_;
  }

 private:
  at::Tensor places(const std::vector<SweepMember>& members) const {
    std::vector<std::int64_t> places;
    for (const auto& member : members) {
      places.push_back(std::find(seeds_.begin(), seeds_.end(), member.seed) - seeds_.begin());
    }
    return at::tensor(places);
  }

  // What each seed has, for each member.
  at::Tensor of_members(const at::Tensor& of_seeds) const {
    return of_seeds.index_select(0, seed_of_member_);
  }
  data::Batch of_members(const data::Batch& batch) const {
    return {of_members(batch.input), of_members(batch.target), batch.samples};
  }

  std::unique_ptr<torch::optim::Optimizer> make_optimizer(const std::vector<SweepMember>& members) {
    const auto& name = model_.text("optimizer");
    if (name != "sgd" || catalog::has_own_layers(model_)) {
      return optim::make_optimizer(name, network_->parameters(), members.front().rate);
    }
    std::vector<double> rates;
    for (const auto& member : members) rates.push_back(member.rate);
    return std::make_unique<optim::MemberSGD>(network_->parameters(),
                                              at::tensor(rates, at::kDouble));
  }

  data::Batch next_batch() {
    auto batch = data::next_batch(teachers_, model_.integer("batch_size"));
    if (compressible_) batch = data::compress(batch);
    return of_members(batch);
  }

  void update(const data::Batch& batch, run::JobContext& job) {
    const auto step =
        parallel::shared_step(*rule_, *network_, batch, optimizer_.rescaling(), ranks_);
    const MadeUpdate made{.index = step_,
                          .network = *network_,
                          .rule = *rule_,
                          .step = step,
                          .batch = batch,
                          .ranks = ranks_};
    if (step.report) warn_unstable(*step.report, job);
    for (const auto& observer : observers_) observer->learnt(made, record_);
    optimizer_.write_gradients(step);
    for (const auto& observer : observers_) observer->before_step(made, record_);
    optimizer_.inner().step();
    for (const auto& observer : observers_) observer->after_step(made, record_);
  }

  void warn_unstable(const inference::Report& report, run::JobContext& job) {
    if (warned_ || !report.any_unstable()) return;
    job.warn(fmt::format("step {}: {}", step_, report.brief()));
    warned_ = true;
  }

  // After an update, before the next step.
  run::Part state() const {
    auto state = training_state(network_, *rule_, optimizer_);
    state["step"] = at::scalar_tensor(step_ + 1, at::kLong);
    std::vector<at::Tensor> streams;
    for (const auto& teacher : teachers_) streams.push_back(teacher.state());
    state["teachers"] = at::stack(streams);
    for (auto [name, rows] : curves_) {
      rows.resize(static_cast<std::size_t>(step_) + 1, not_measured());
      state[kCurve + name] = at::stack(rows);
    }
    return state;
  }

  void go_on(const run::Part& state) {
    restore(state, network_, *rule_, optimizer_);
    step_ = count_of(state, "step");
    TORCH_CHECK(step_ <= model_.integer("steps"), "step ", step_, " is beyond the last");
    const auto streams = entry(state, "teachers").unbind();
    TORCH_CHECK(streams.size() == teachers_.size(), "the state has ", streams.size(),
                " teachers, not ", teachers_.size());
    for (std::size_t s = 0; s < teachers_.size(); ++s) teachers_[s].set_state(streams[s]);
    for (const auto& [name, rows] : state) {
      if (!name.starts_with(kCurve)) continue;
      TORCH_CHECK(rows.scalar_type() == at::kDouble && rows.dim() == 2 && rows.size(0) == step_ &&
                      rows.size(1) == members_,
                  name, " of the state is ", rows.sizes(), " ", rows.dtype());
      curves_[name.substr(kCurve.size())] = rows.unbind();
    }
  }

  at::Tensor not_measured() const { return at::full({members_}, kNaN, at::kDouble); }

  // What was not measured at earlier steps is NaN there.
  void record(const std::string& name, const at::Tensor& values) {
    auto& rows = curves_[name];
    rows.resize(static_cast<std::size_t>(step_), not_measured());
    rows.push_back(values.to(at::kCPU, at::kDouble));
  }

  at::Tensor error(const data::Batch& batch) const {
    if (error_metric_ == "map_error") return metrics::map_error(*network_, map_);
    return mean_squared_error(held_out_ ? *held_out_ : batch);
  }

  // Each rank takes its slice of the samples.
  at::Tensor mean_squared_error(const data::Batch& samples) const {
    const auto mine = parallel::slice(samples, ranks_);
    auto sum = at::zeros({members_}, samples.target.options());
    if (mine.input.size(-2) > 0) {
      const auto prediction = nn::feedforward(*network_, mine.input).prediction();
      sum = (mine.target - prediction).square().sum({-2, -1});
    }
    ranks_.start_sum(sum)->wait();
    return sum / static_cast<double>(samples.target.size(-2) * samples.target.size(-1));
  }

  // At the end, where there are hidden ReLU units.
  void measure_dead_units() {
    if (model_.text("architecture") != "relu") return;
    std::vector<at::Tensor> inputs;
    for (const auto& teacher : teachers_) inputs.push_back(teacher.held_out(kShown).input);
    const auto pass = nn::feedforward(*network_, of_members(at::stack(inputs)));
    const auto dead = metrics::dead_units(*network_, pass);
    if (dead.isnan().any().item<bool>()) return;
    auto& curve = part_["dead_units"];
    curve = at::full_like(part_[error_metric_], kNaN);
    curve.select(0, -1).copy_(dead);
  }

  // Measurements of a run end where it diverges.
  void end_diverged() {
    auto& errors = part_[error_metric_];
    const auto bad = errors.isfinite().logical_not().logical_or(
        errors.gt(metrics::kDivergence * errors.select(0, 0)));
    const auto left = bad.any(0);
    part_["left_at"] = at::where(left, bad.to(at::kInt).argmax(0), -1);
    const auto ended = bad.to(at::kInt).cumsum(0).to(at::kBool);
    auto after = at::zeros_like(ended);
    after.slice(0, 1).copy_(ended.slice(0, 0, -1));
    errors.masked_fill_(after, kNaN);
    for (const auto& [name, rows] : curves_) {
      if (name != error_metric_) part_[name].masked_fill_(ended, kNaN);
    }
    if (part_.contains("dead_units")) part_["dead_units"].masked_fill_(ended, kNaN);
  }

  const config::Config& model_;
  parallel::Communicator& ranks_;
  std::string error_metric_;
  bool warned_ = false;
  bool compressible_;
  std::vector<std::int64_t> seeds_;
  std::int64_t members_;
  at::Tensor seed_of_member_;  // [R]
  nn::Network network_;
  std::unique_ptr<learning::LearningRule> rule_;
  optim::Rescaled optimizer_;
  std::vector<data::LinearTeacher> teachers_;
  at::Tensor map_;  // W_data of every member, [R, n_L, n_0]
  std::optional<data::Batch> held_out_;
  std::vector<std::unique_ptr<Observer>> observers_;
  Record record_ = [this](const std::string& metric, const at::Tensor& values) {
    record(metric, values);
  };
  std::int64_t step_ = 0;
  std::map<std::string, std::vector<at::Tensor>> curves_;
  run::Part part_;
};

}  // namespace

run::Part train_tensors(const std::vector<SweepMember>& members,
                        const std::vector<std::string>& measure, at::Device device,
                        parallel::Communicator& ranks, run::JobContext& job) {
  const at::NoGradGuard no_grad;
  return TensorEnsemble(members, measure, device, ranks).train(job);
}

// As many as share the second-level cache well, but no fewer than one.
std::size_t tensor_job_size(const config::Config& model) {
  if (catalog::has_own_layers(model)) return 1;
  constexpr std::int64_t kParameters = std::int64_t{1} << 22;
  std::int64_t parameters = 0;
  const auto n = catalog::widths(model);
  for (std::size_t l = 1; l < n.size(); ++l) parameters += n[l] * n[l - 1];
  return static_cast<std::size_t>(std::clamp<std::int64_t>(kParameters / parameters, 1, 64));
}

}  // namespace pcxx::train
