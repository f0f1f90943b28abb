#include <ATen/ATen.h>
#include <pcxx/catalog/experiment.h>
#include <pcxx/data/linear_teacher.h>
#include <pcxx/metrics/map_error.h>
#include <pcxx/metrics/sample_efficiency.h>
#include <pcxx/optim/member_sgd.h>
#include <pcxx/parallel/slice.h>
#include <pcxx/train/sweep.h>
#include <pcxx/train/training_state.h>

#include <algorithm>

#include "core/lists.h"
#include "run/saved_run.h"
#include "train/engine.h"
#include "train/trainer.h"
#include "train/training_record.h"

namespace pcxx::train {
namespace {

constexpr std::int64_t kHeldOut = 1000;
constexpr const char* kStreams = "teachers";

std::vector<std::int64_t> distinct_seeds(const std::vector<SweepMember>& members) {
  std::vector<std::int64_t> seeds;
  for (const auto& member : members) {
    if (!contains(seeds, member.seed)) seeds.push_back(member.seed);
  }
  return seeds;
}

// The place of each member's seed among the seeds, [R].
at::Tensor places(const std::vector<SweepMember>& members, const std::vector<std::int64_t>& seeds) {
  std::vector<std::int64_t> places;
  for (const auto& member : members) {
    places.push_back(std::find(seeds.begin(), seeds.end(), member.seed) - seeds.begin());
  }
  return at::tensor(places);
}

// A teacher for each seed.
class TeacherJob final : public Task {
 public:
  TeacherJob(const std::vector<SweepMember>& members, const std::vector<std::string>& measure,
             at::Device device, parallel::Communicator& ranks)
      : model_(*members.front().model),
        ranks_(ranks),
        metric_(error_metric(model_)),
        compresses_(metric_ == "map_error" && model_.squared_error &&
                    !contains(measure, "target_alignment") &&
                    catalog::make_rule(model_.config)->sharing() == learning::Sharing::kSlices),
        seeds_(distinct_seeds(members)),
        seed_of_member_(places(members, seeds_).to(device)),
        teachers_(catalog::make_teachers(model_.config, seeds_, device)),
        map_(of_members(data::stack_maps(teachers_))) {
    if (metric_ == "test_error") held_out_ = held_out();
  }

  nn::Network draw_networks(at::Device device) const {
    return catalog::select_members(*catalog::draw_ensemble(model_.config, seeds_, device),
                                   seed_of_member_);
  }

  const std::string& metric() const { return metric_; }

  // Of each member, in the narrowest layer's rank.
  at::Tensor least_map_error(std::int64_t narrowest) const {
    return of_members(
        metrics::least_map_error(data::stack_maps(teachers_), narrowest).to(map_.device()));
  }

  data::Batch next() override {
    if (!drawn_) draw();
    return *std::exchange(drawn_, std::nullopt);
  }

  data::Batch held_out() const override {
    if (held_out_) return *held_out_;
    std::vector<at::Tensor> inputs;
    std::vector<at::Tensor> targets;
    for (const auto& teacher : teachers_) {
      auto samples = teacher.held_out(kHeldOut);
      inputs.push_back(std::move(samples.input));
      targets.push_back(std::move(samples.target));
    }
    return of_members(data::Batch(at::stack(inputs), at::stack(targets)));
  }

  bool tests_at(std::int64_t) const override { return true; }

  std::map<std::string, at::Tensor> test(const nn::NetworkImpl& network) override {
    if (metric_ == "map_error") return {{metric_, metrics::map_error(network, map_)}};
    if (!held_out_) draw();
    return {{metric_, mean_error(network, held_out_ ? *held_out_ : *drawn_)}};
  }

  State state() const override {
    std::vector<at::Tensor> streams;
    for (const auto& teacher : teachers_) streams.push_back(teacher.state());
    return {{kStreams, at::stack(streams)}};
  }
  void set_state(const State& state) override {
    const auto streams = entry(state, kStreams).unbind();
    TORCH_CHECK(streams.size() == teachers_.size(), "the state has ", streams.size(),
                " teachers, not ", teachers_.size());
    for (std::size_t s = 0; s < teachers_.size(); ++s) teachers_[s].set_state(streams[s]);
  }

 private:
  // What each seed has, for each member.
  at::Tensor of_members(const at::Tensor& of_seeds) const {
    return of_seeds.index_select(0, seed_of_member_);
  }
  data::Batch of_members(const data::Batch& batch) const {
    return {of_members(batch.input), of_members(batch.target), batch.samples};
  }

  void draw() {
    auto batch = data::next_batch(teachers_, model_.batch_size);
    if (compresses_) batch = data::compress(batch);
    drawn_ = of_members(batch);
  }

  // Each rank takes its slice of the samples.
  at::Tensor mean_error(const nn::NetworkImpl& network, const data::Batch& samples) const {
    const auto mine = parallel::slice(samples, ranks_);
    auto sum = at::zeros({seed_of_member_.numel()}, samples.target.options());
    if (mine.input.size(-2) > 0) {
      const auto prediction = nn::feedforward(network, mine.input).prediction();
      sum = network.loss().errors(prediction, mine.target).sum({-2, -1});
    }
    ranks_.start_sum(sum)->wait();
    const auto columns = network.loss().error_columns(samples.target.size(-1));
    return sum / static_cast<double>(samples.target.size(-2) * columns);
  }

  const catalog::Model& model_;
  parallel::Communicator& ranks_;
  std::string metric_;
  bool compresses_;
  std::vector<std::int64_t> seeds_;
  at::Tensor seed_of_member_;  // [R]
  std::vector<data::LinearTeacher> teachers_;
  at::Tensor map_;  // W_data of every member, [R, n_L, n_0]
  std::optional<data::Batch> held_out_;
  std::optional<data::Batch> drawn_;  // the next one
};

std::unique_ptr<torch::optim::Optimizer> make_optimizer(const std::vector<SweepMember>& members,
                                                        const nn::NetworkImpl& network) {
  const auto& model = *members.front().model;
  if (!model.plain_sgd || model.custom_layers) {
    return catalog::make_optimizer(model.config, network.parameters(), members.front().rate);
  }
  std::vector<double> rates;
  for (const auto& member : members) rates.push_back(member.rate);
  return std::make_unique<optim::MemberSGD>(network.parameters(), at::tensor(rates, at::kDouble));
}

// [steps + 1, R], NaN where there is nothing.
at::Tensor curve(const std::vector<double>& rows, std::int64_t steps, std::int64_t members) {
  auto values = at::full({steps + 1, members}, kNaN, at::kDouble);
  const auto measured = at::tensor(rows, at::kDouble).view({-1, members});
  values.narrow(0, 0, measured.size(0)).copy_(measured);
  return values;
}

// Measurements of a run end where it diverges.
void end_diverged(run::Part& curves, const std::string& error_metric) {
  auto& errors = curves.at(error_metric);
  const auto bad = errors.isfinite().logical_not().logical_or(
      errors.gt(metrics::kDivergence * errors.select(0, 0)));
  const auto ended = bad.to(at::kInt).cumsum(0).to(at::kBool);
  auto after = at::zeros_like(ended);
  after.slice(0, 1).copy_(ended.slice(0, 0, -1));
  errors.masked_fill_(after, kNaN);
  for (auto& [name, values] : curves) {
    if (name != error_metric) values.masked_fill_(ended, kNaN);
  }
  curves[kLeftAt] = at::where(bad.any(0), bad.to(at::kInt).argmax(0), -1);
}

// What engine.h promises, but for least_map_error.
run::Part sweep_part(const Training& training, const std::string& error_metric,
                     std::int64_t members) {
  const auto steps = training.tested_at.back();
  run::Part part;
  for (const auto& measured : {training.tests, training.updates}) {
    for (const auto& [name, rows] : measured) part[name] = curve(rows, steps, members);
  }
  for (const auto& [name, values] : training.numbers) {
    if (name != kDeadUnits) continue;
    part[name] = at::full_like(part.at(error_metric), kNaN);
    part[name].select(0, -1).copy_(at::tensor(values, at::kDouble));
  }
  end_diverged(part, error_metric);
  for (const auto& [name, values] : training.numbers) {
    const bool of_members = name == kPasses || name == kConverged || name == kUnstableAt;
    if (of_members) part[kNumber + name] = at::tensor(values, at::kDouble);
    if (!of_members && name != kDeadUnits) {
      part[kDiagnostic + name] = at::scalar_tensor(values.front(), at::kDouble);
    }
  }
  return part;
}

}  // namespace

run::Part train_tensors(const std::vector<SweepMember>& members,
                        const std::vector<std::string>& measure, at::Device device,
                        parallel::Communicator& ranks, run::JobContext& job) {
  const at::NoGradGuard no_grad;
  const auto& model = *members.front().model;
  TeacherJob task(members, measure, device, ranks);
  const auto network = task.draw_networks(device);
  Trainer trainer(model, network, make_optimizer(members, *network), task, measure, ranks);
  auto part =
      sweep_part(trainer.train(job), task.metric(), static_cast<std::int64_t>(members.size()));
  if (task.metric() == "map_error") {
    part[std::string(kNumber) + kLeastMapError] =
        task.least_map_error(metrics::narrowest_width(*network)).cpu();
  }
  run::check_same_weights(ranks, weights_of(network));
  return part;
}

// As many as share the second-level cache well, but no fewer than one.
std::size_t tensor_job_size(const catalog::Model& model) {
  if (model.custom_layers) return 1;
  constexpr std::int64_t kParameters = std::int64_t{1} << 22;
  return static_cast<std::size_t>(std::clamp<std::int64_t>(kParameters / model.parameters, 1, 64));
}

}  // namespace pcxx::train
