#include <ATen/ATen.h>
#include <pcxx/catalog/experiment.h>
#include <pcxx/catalog/model.h>
#include <pcxx/catalog/vocabulary.h>
#include <pcxx/core/error.h>
#include <pcxx/metrics/target_alignment.h>
#include <pcxx/programs.h>
#include <pcxx/run/program.h>
#include <pcxx/run/table.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace {

using namespace pcxx;
using config::Config;
using run::Run;

data::Batch sample(const Config& config, at::Device device) {
  const auto row = [&](const char* key, std::int64_t units, const char* layer) {
    const auto values = config.reals(key);
    if (static_cast<std::int64_t>(values.size()) != units) {
      user_error("{} has {} numbers, but widths ask for {} {}", key, values.size(), units, layer);
    }
    return at::tensor(values, at::kDouble).to(catalog::tensor_options(config, device)).unsqueeze(0);
  };
  const auto n = catalog::widths(config);
  return {row("input", n.front(), "inputs"), row("target", n.back(), "outputs")};
}

nn::Network make_network(const Config& config, at::Device device) {
  const at::NoGradGuard no_grad;
  nn::Network network(nn::mlp(catalog::widths(config)));
  const auto options = catalog::tensor_options(config, device);
  network->to(device, options.dtype().toScalarType());
  for (auto& weight : network->parameters()) weight.fill_(config.real("weight"));
  return network;
}

// The predictions of one model, from its first to its last.
class Path {
 public:
  Path(at::Tensor target, double tolerance) : target_(std::move(target)), tolerance_(tolerance) {}

  void add(const at::Tensor& prediction) {
    const auto point = prediction.to(at::kCPU, at::kDouble).flatten();
    if (points_.empty()) {
      right_ = (target_ - point).abs() <= tolerance_;
    } else {
      length_ += (point - points_.back()).norm().item<double>();
    }
    points_.push_back(point);
  }

  const at::Tensor& last() const { return points_.back(); }
  std::size_t steps() const { return points_.size() - 1; }
  bool finite() const { return last().isfinite().all().item<bool>(); }
  bool reached() const { return ((target_ - last()).abs() <= tolerance_).all().item<bool>(); }

  // Length over the distance of the ends; NaN where they coincide.
  double excess() const { return length_ / (last() - points_.front()).norm().item<double>(); }

  // Of an output that was right at the start; NaN where none was.
  double largest_detour() const {
    if (!right_.any().item<bool>()) return std::nan("");
    const auto change = (at::stack(points_) - points_.front()).abs();
    return change.index({at::indexing::Slice(), right_}).max().item<double>();
  }

 private:
  at::Tensor target_;
  double tolerance_;
  at::Tensor right_;  // outputs that need not change
  std::vector<at::Tensor> points_;
  double length_ = 0;
};

class TrajectoryRun {
 public:
  explicit TrajectoryRun(Run& run)
      : run_(run),
        keys_(run.varied_keys()),
        table_(header(keys_)),
        batch_(sample(run.config(), run.device())) {}

  void operator()() {
    const at::NoGradGuard no_grad;
    run_.summary()["target"] = run_.config().reals("target");
    run_.summary()["models"] = nlohmann::json::array();
    for (const auto& model : run_.config().models()) report(model, follow(model));
    run_.print("{}", table_.text());
  }

 private:
  static std::vector<std::string> header(const std::vector<std::string>& keys) {
    std::vector<std::string> names{"model"};
    names.insert(names.end(), keys.begin(), keys.end());
    names.insert(names.end(), {"steps", "target", "path / straight line", "right output moved by"});
    return names;
  }

  Path follow(const Config& model) const {
    const auto network = make_network(model, run_.device());
    const auto rule = catalog::make_rule(model);
    const auto rescaling = catalog::make_rescaling(model);
    const auto cell = run_.records().cell(model);
    Path path(batch_.target.to(at::kCPU, at::kDouble).flatten(), model.real("tolerance"));
    for (std::int64_t step = 0;; ++step) {
      run_.check_interrupted();
      const auto factors = rule->factors(*network, batch_);
      path.add(factors.prediction);
      record(cell, step, path.last());
      if (path.reached() || !path.finite() || step == model.integer("steps")) return path;
      const auto update = metrics::make_update(rescaling->directions(factors.layers));
      const auto alignment = metrics::target_alignment(*network, batch_, update).mean;
      run_.records().add(cell, step, "target_alignment", alignment.item<double>());
      for (std::size_t l = 1; l <= network->size(); ++l) {
        network->dense(l).weight.add_(update.weights[l - 1], model.real("learning_rate"));
      }
    }
  }

  void record(const run::Cell& cell, std::int64_t step, const at::Tensor& prediction) const {
    for (std::int64_t i = 0; i < prediction.numel(); ++i) {
      run_.records().add(cell, step, fmt::format("prediction{}", i + 1),
                         prediction[i].item<double>());
    }
  }

  void report(const Config& model, const Path& path) {
    auto json = run_.identity(model);
    json["learning_rate"] = model.real("learning_rate");
    json["steps_taken"] = path.steps();
    json["reached"] = path.reached();
    json["path_excess"] = path.excess();
    json["largest_change_of_right_output"] = path.largest_detour();
    run_.summary()["models"].push_back(std::move(json));

    std::vector<std::string> row{catalog::model_name(model)};
    for (const auto& key : keys_) row.push_back(config::to_string(model.values(key).front()));
    row.push_back(fmt::format("{}", path.steps()));
    row.emplace_back(path.reached() ? "reached" : path.finite() ? "not reached" : "diverged");
    row.push_back(fixed(path.excess()));
    row.push_back(fixed(path.largest_detour()));
    table_.row(std::move(row));
  }

  static std::string fixed(double value) {
    return std::isfinite(value) ? fmt::format("{:.4f}", value) : "-";
  }

  Run& run_;
  std::vector<std::string> keys_;
  run::Table table_;
  data::Batch batch_;
};

config::Schema schema() {
  auto keys = catalog::schema(
      {"rule", "rescaling", "widths", "learning_rate", "steps", "dtype", catalog::kOptions});
  keys.choices("rule", {"bp", "pc"});
  keys.add({.name = "weight", .initial = "1", .doc = "value of all first weights"});
  keys.add({.name = "input",
            .initial = "[1]",
            .doc = "x, the inputs of the sample",
            .shape = config::Shape::kList});
  keys.add({.name = "target",
            .initial = "[-1, 1]",
            .doc = "y, its outputs",
            .shape = config::Shape::kList});
  keys.add({.name = "tolerance",
            .initial = "1e-3",
            .doc = "a model has learnt the sample when no output is further from its target",
            .minimum = 0});
  keys.initial("widths", "[1, 1, 2]");
  keys.initial("learning_rate", "0.02");
  keys.initial("steps", "2000");
  return keys.one({"learning_rate", "steps", "dtype"});
}

}  // namespace

run::Program pcxx::programs::trajectory() {
  return {.name = "pcxx-trajectory",
          .summary =
              "Follows the prediction of a small linear network while it learns one sample, from "
              "weights that are all the same: how straight each model goes to the target, and how "
              "far it moves outputs that were right from the start.",
          .examples = {"# the network of the paper's figure 1",
                       "--config configs/fig1b_trajectory.toml",
                       "# a deeper network, and what alpha makes of it",
                       "--set widths=[1,1,1,2] --set rescaling=[none,alpha]",
                       "# two inputs and three outputs",
                       "--set widths=[2,3,3] --set input=[1,0.5] --set target=[-1,1,2]"},
          .schema = schema(),
          .curves = true,
          .plot_script = "trajectory",
          .run = [](Run& run) { TrajectoryRun{run}(); }};
}
