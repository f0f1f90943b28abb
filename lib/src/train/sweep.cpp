#include <ATen/ATen.h>
#include <pcxx/core/random.h>
#include <pcxx/data/linear_teacher.h>
#include <pcxx/metrics/map_error.h>
#include <pcxx/metrics/target_alignment.h>
#include <pcxx/optim/factory.h>
#include <pcxx/optim/member_sgd.h>
#include <pcxx/optim/rescaled.h>
#include <pcxx/train/experiment.h>
#include <pcxx/train/sweep.h>

#include <algorithm>
#include <limits>

namespace pcxx::train {
namespace {

constexpr std::int64_t kHeldOut = 1000;

bool contains(const std::vector<std::string>& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

data::Batch repeat(const data::Batch& batch, std::int64_t copies) {
  if (copies == 1) return batch;
  return {batch.input.repeat({copies, 1, 1}), batch.target.repeat({copies, 1, 1}), batch.samples};
}

// Samples no run trains on, [S, kHeldOut, n], with noise-free targets.
data::Batch held_out_batch(const std::vector<std::int64_t>& seeds, const at::Tensor& map) {
  std::vector<at::Tensor> inputs;
  for (const auto seed : seeds) {
    auto generator = make_generator(static_cast<std::uint64_t>(seed), Purpose::kHeldOut);
    inputs.push_back(at::empty({kHeldOut, map.size(-1)}, at::kDouble).normal_(0, 1, generator));
  }
  const auto x = at::stack(inputs).to(map.options());
  return {x, at::matmul(x, map.mT())};
}

// One ensemble: `rates.size()` copies of every seed's network, trained side by side.
class EnsembleRun {
 public:
  EnsembleRun(const Config& model, const std::vector<double>& rates,
              const std::vector<std::int64_t>& seeds, const std::vector<std::string>& measure,
              at::Device device)
      : model_(model),
        measure_(measure),
        error_metric_(train::error_metric(model)),
        rates_(static_cast<std::int64_t>(rates.size())),
        seeds_(static_cast<std::int64_t>(seeds.size())),
        network_(repeat_members(*draw_ensemble(model, seeds, device), rates_)),
        rule_(make_rule(model)),
        optimizer_(make_optimizer(rates), make_rescaling(model)),
        teachers_(make_teachers(model, seeds, device)) {
    aligned_ = contains(measure_, "target_alignment");
    compressible_ = error_metric_ == "map_error" && !aligned_;
    const auto maps = data::stack_maps(teachers_);
    map_ = maps.repeat({rates_, 1, 1});
    if (error_metric_ == "map_error") {
      least_error_ =
          metrics::least_map_error(maps, metrics::narrowest_width(*network_)).repeat({rates_});
    }
    if (error_metric_ == "test_error") {
      held_out_ = repeat(held_out_batch(seeds, maps), rates_);
    }
  }

  /// Curves by metric, [steps + 1, rates, seeds].
  std::map<std::string, at::Tensor> train(const std::function<void()>& on_step) {
    const auto steps = model_.integer("steps");
    for (std::int64_t step = 0; step <= steps; ++step) {
      const auto batch = next_batch();
      record_errors(batch);
      if (step == steps) break;
      update(batch);
      on_step();
    }
    if (aligned_) record("target_alignment", at::full({rates_ * seeds_}, kNaN, at::kDouble));
    std::map<std::string, at::Tensor> result;
    for (auto& [name, rows] : curves_) {
      result[name] = at::stack(rows).view({-1, rates_, seeds_});
    }
    return result;
  }

  const optim::Rescaling& rescaling() const { return optimizer_.rescaling(); }

 private:
  static constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

  std::unique_ptr<torch::optim::Optimizer> make_optimizer(const std::vector<double>& rates) {
    const auto& name = model_.text("optimizer");
    if (name != "sgd") return optim::make_optimizer(name, network_->parameters(), rates.front());
    const auto per_member = at::tensor(rates, at::kDouble).repeat_interleave(seeds_);
    return std::make_unique<optim::MemberSGD>(network_->parameters(), per_member);
  }

  data::Batch next_batch() {
    auto batch = data::next_batch(teachers_, model_.integer("batch_size"));
    if (compressible_) batch = data::compress(batch);
    return repeat(batch, rates_);
  }

  void update(const data::Batch& batch) {
    optimizer_.write_gradients(rule_->factors(*network_, batch).layers);
    if (aligned_) {
      record("target_alignment",
             metrics::target_alignment(*network_, batch, metrics::update_of_gradients(*network_))
                 .mean);
    }
    optimizer_.inner().step();
  }

  void record(const std::string& name, const at::Tensor& values) {
    curves_[name].push_back(values.to(at::kCPU, at::kDouble));
  }

  void record_errors(const data::Batch& batch) {
    if (error_metric_ != "map_error") {
      const auto& samples = held_out_ ? *held_out_ : batch;
      const auto prediction = nn::feedforward(*network_, samples.input).prediction();
      record(error_metric_, (samples.target - prediction).square().mean({-2, -1}));
      return;
    }
    record(error_metric_, metrics::map_error(*network_, map_));
    if (contains(measure_, "map_error_squared_frobenius")) {
      record("map_error_squared_frobenius", metrics::map_error_squared_frobenius(*network_, map_));
    }
    if (contains(measure_, "excess_map_error")) {
      record("excess_map_error", metrics::map_error(*network_, map_) - least_error_);
    }
  }

  const Config& model_;
  const std::vector<std::string>& measure_;
  std::string error_metric_;
  std::int64_t rates_;
  std::int64_t seeds_;
  nn::Network network_;
  std::unique_ptr<learning::LearningRule> rule_;
  optim::Rescaled optimizer_;
  std::vector<data::LinearTeacher> teachers_;
  bool aligned_ = false;
  bool compressible_ = false;
  at::Tensor map_;          // W_data of every member, [R, n_L, n_0]
  at::Tensor least_error_;  // of any map through the narrowest layer, [R]
  std::optional<data::Batch> held_out_;
  std::map<std::string, std::vector<at::Tensor>> curves_;
};

// Plain SGD takes a rate per member; any other optimizer gets an ensemble per rate.
std::vector<std::vector<double>> ensembles(const Config& model) {
  const auto rates = model.reals("learning_rate");
  if (model.text("optimizer") == "sgd") return {rates};
  std::vector<std::vector<double>> result;
  for (const double rate : rates) result.push_back({rate});
  return result;
}

}  // namespace

std::string error_metric(const Config& model) {
  if (model.text("targets") == "independent") return "train_error";
  const bool linear =
      model.text("architecture") == "dln" || model.text("architecture") == "residual";
  return linear && !model.boolean("bias") ? "map_error" : "test_error";
}

std::int64_t sweep_length(const Config& model) {
  return static_cast<std::int64_t>(ensembles(model).size()) * model.integer("steps");
}

Sweep run_sweep(const Config& model, const std::vector<std::string>& measure, at::Device device,
                const std::function<void()>& on_step) {
  const at::NoGradGuard no_grad;
  Sweep sweep{.rates = model.reals("learning_rate"),
              .seeds = model.integers("seeds"),
              .curves = {},
              .diagnostics = {}};
  std::map<std::string, std::vector<at::Tensor>> parts;
  for (const auto& rates : ensembles(model)) {
    EnsembleRun run(model, rates, sweep.seeds, measure, device);
    for (auto& [name, curve] : run.train(on_step)) parts[name].push_back(curve);
    for (const auto& [name, value] : run.rescaling().diagnostics()) {
      auto& largest = sweep.diagnostics.try_emplace(name, value).first->second;
      largest = std::max(largest, value);
    }
  }
  for (auto& [name, curves] : parts) sweep.curves[name] = at::cat(curves, 1);
  return sweep;
}

}  // namespace pcxx::train
