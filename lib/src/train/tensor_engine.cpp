#include <ATen/ATen.h>
#include <fmt/format.h>
#include <pcxx/data/linear_teacher.h>
#include <pcxx/learning/kalman.h>
#include <pcxx/metrics/dead_units.h>
#include <pcxx/metrics/map_error.h>
#include <pcxx/metrics/sample_efficiency.h>
#include <pcxx/metrics/target_alignment.h>
#include <pcxx/optim/factory.h>
#include <pcxx/optim/member_sgd.h>
#include <pcxx/optim/rescaled.h>
#include <pcxx/parallel/shared_step.h>
#include <pcxx/parallel/slice.h>
#include <pcxx/train/experiment.h>
#include <pcxx/train/sweep.h>
#include <pcxx/train/training_state.h>

#include <algorithm>
#include <limits>

#include "train/engine.h"
#include "train/lists.h"
#include "train/registry.h"
#include "train/saved_run.h"

namespace pcxx::train {
namespace {

constexpr std::int64_t kHeldOut = 1000;
constexpr std::int64_t kAligned = 64;  // of them, in their alignment
constexpr std::int64_t kShown = 256;   // of them, to tell which units are dead
const std::string kCurve = "curve.";   // of a checkpoint's entries

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
        error_metric_(train::error_metric(model_)),
        aligned_(contains(measure, "target_alignment")),
        reported_(contains(measure, "inference")),
        compressible_(error_metric_ == "map_error" && !aligned_ && !is_kalman(model_)),
        seeds_(distinct_seeds(members)),
        members_(static_cast<std::int64_t>(members.size())),
        seed_of_member_(places(members).to(device)),
        network_(select_members(*draw_ensemble(model_, seeds_, device), seed_of_member_)),
        rule_(make_rule(model_)),
        kalman_(contains(measure, "kalman")
                    ? dynamic_cast<learning::KalmanPredictiveCoding*>(rule_.get())
                    : nullptr),
        optimizer_(make_optimizer(members), make_rescaling(model_)),
        teachers_(make_teachers(model_, seeds_, device)) {
    const auto maps = data::stack_maps(teachers_);
    map_ = of_members(maps);
    if (error_metric_ == "map_error") {
      part_["least_map_error"] = of_members(
          metrics::least_map_error(maps, metrics::narrowest_width(*network_)).to(device));
    }
    const bool aligned = contains(measure, "held_out_alignment");
    if (error_metric_ != "test_error" && !aligned) return;
    const auto samples = of_members(held_out_batch(teachers_));
    if (error_metric_ == "test_error") held_out_ = samples;
    if (aligned) {
      aligned_held_out_ = {samples.input.narrow(-2, 0, kAligned),
                           samples.target.narrow(-2, 0, kAligned)};
    }
  }

  Part train(JobContext& job) {
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
      if (rows.size() == static_cast<std::size_t>(steps)) {
        rows.push_back(at::full({members_}, kNaN, at::kDouble));
      }
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
    check_same_weights(ranks_, weights_of(network_));
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
    if (name != "sgd" || has_own_layers(model_)) {
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

  void update(const data::Batch& batch, JobContext& job) {
    const auto step =
        parallel::shared_step(*rule_, *network_, batch, optimizer_.rescaling(), ranks_);
    if (step.report) report(*step.report, job);
    optimizer_.write_gradients(step);
    if (aligned_) record_alignment("target_alignment", batch);
    if (aligned_held_out_) record_alignment("held_out_alignment", *aligned_held_out_);
    optimizer_.inner().step();
    if (kalman_) record_kalman();
  }

  void record_kalman() {
    for (const auto& [name, values] : measurements(kalman_->report())) record(name, values);
  }

  // Of the update that is about to be made.
  void record_alignment(const std::string& name, const data::Batch& samples) {
    const auto update = metrics::update_of_gradients(*network_);
    record(name, metrics::target_alignment(*network_, samples, update).mean);
  }

  void report(const inference::Report& report, JobContext& job) {
    if (!warned_ && report.any_unstable()) {
      job.warn(fmt::format("step {}: {}", step_, report.brief()));
      warned_ = true;
    }
    if (!reported_) return;
    for (const auto& [name, values] : inference::measurements(report)) record(name, values);
  }

  // After an update, before the next step.
  Part state() const {
    auto state = training_state(network_, *rule_, optimizer_);
    state["step"] = at::scalar_tensor(step_ + 1, at::kLong);
    std::vector<at::Tensor> streams;
    for (const auto& teacher : teachers_) streams.push_back(teacher.state());
    state["teachers"] = at::stack(streams);
    for (const auto& [name, rows] : curves_) state[kCurve + name] = at::stack(rows);
    return state;
  }

  void go_on(const Part& state) {
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

  void record(const std::string& name, const at::Tensor& values) {
    curves_[name].push_back(values.to(at::kCPU, at::kDouble));
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

  const Config& model_;
  parallel::Communicator& ranks_;
  std::string error_metric_;
  bool aligned_;
  bool reported_;
  bool warned_ = false;
  bool compressible_;
  std::vector<std::int64_t> seeds_;
  std::int64_t members_;
  at::Tensor seed_of_member_;  // [R]
  nn::Network network_;
  std::unique_ptr<learning::LearningRule> rule_;
  learning::KalmanPredictiveCoding* kalman_;  // where it is measured
  optim::Rescaled optimizer_;
  std::vector<data::LinearTeacher> teachers_;
  at::Tensor map_;  // W_data of every member, [R, n_L, n_0]
  std::optional<data::Batch> held_out_;
  std::optional<data::Batch> aligned_held_out_;
  std::int64_t step_ = 0;
  std::map<std::string, std::vector<at::Tensor>> curves_;
  Part part_;
};

}  // namespace

Part train_tensors(const std::vector<SweepMember>& members, const std::vector<std::string>& measure,
                   at::Device device, parallel::Communicator& ranks, JobContext& job) {
  const at::NoGradGuard no_grad;
  return TensorEnsemble(members, measure, device, ranks).train(job);
}

// As many as share the second-level cache well, but no fewer than one.
std::size_t tensor_job_size(const Config& model) {
  if (has_own_layers(model)) return 1;
  constexpr std::int64_t kParameters = std::int64_t{1} << 22;
  std::int64_t parameters = 0;
  const auto n = widths(model);
  for (std::size_t l = 1; l < n.size(); ++l) parameters += n[l] * n[l - 1];
  return static_cast<std::size_t>(std::clamp<std::int64_t>(kParameters / parameters, 1, 64));
}

}  // namespace pcxx::train
