#include <ATen/ATen.h>
#include <pcxx/core/error.h>
#include <pcxx/metrics/sample_efficiency.h>
#include <pcxx/train/program.h>
#include <pcxx/train/sweep.h>
#include <pcxx/train/table.h>

#include <algorithm>
#include <cmath>

namespace {

using namespace pcxx;
using metrics::Curve;
using train::Cell;
using train::Config;
using train::Run;
using train::Sweep;
using Curves = std::vector<std::vector<Curve>>;  // [rate][seed]

const std::vector<std::string> kGrid{
    "architecture",     "init",       "hidden_layers", "width",          "inputs", "outputs",
    "condition_number", "batch_size", "targets",       "regularisation", "dtype"};

Curves to_curves(const at::Tensor& values) {
  const auto ordered = values.permute({1, 2, 0}).contiguous();
  const auto* next = ordered.const_data_ptr<double>();
  Curves curves(static_cast<std::size_t>(ordered.size(0)));
  for (auto& seeds : curves) {
    for (std::int64_t s = 0; s < ordered.size(1); ++s, next += ordered.size(2)) {
      seeds.emplace_back(next, next + ordered.size(2));
    }
  }
  return curves;
}

// Every step of the best rate (or of all), the first and the last of the others.
void write_rows(Run& run, const Config& model, const Sweep& sweep,
                const std::optional<metrics::BestRate>& best) {
  const bool all = run.config().text("curves") == "all";
  for (const auto& [metric, values] : sweep.curves) {
    const auto curves = to_curves(values);
    for (std::size_t k = 0; k < sweep.rates.size(); ++k) {
      for (std::size_t s = 0; s < sweep.seeds.size(); ++s) {
        const auto cell =
            Cell(model).with("learning_rate", sweep.rates[k]).with("seed", sweep.seeds[s]);
        const auto& curve = curves[k][s];
        const std::size_t stride =
            all || (best && best->index == k) ? 1 : std::max<std::size_t>(1, curve.size() - 1);
        for (std::size_t t = 0; t < curve.size(); t += stride) {
          run.records().add(cell, static_cast<std::int64_t>(t), metric, curve[t]);
        }
      }
    }
  }
}

double standard_error(const std::vector<Curve>& seeds, double mean) {
  if (seeds.size() < 2) return std::nan("");
  double squares = 0;
  for (const auto& curve : seeds) squares += (curve.back() - mean) * (curve.back() - mean);
  const auto n = static_cast<double>(seeds.size());
  return std::sqrt(squares / (n - 1) / n);
}

// Mean over seeds, or null when a seed never gets there.
nlohmann::json mean_steps(const std::vector<Curve>& seeds, double threshold) {
  double sum = 0;
  for (const auto& curve : seeds) {
    const auto steps = metrics::steps_to_reach(curve, threshold);
    if (!steps) return nullptr;
    sum += static_cast<double>(*steps);
  }
  return sum / static_cast<double>(seeds.size());
}

nlohmann::json identity(const Config& model) {
  return {{"model", train::model_name(model)},
          {"rule", model.text("rule")},
          {"rescaling", model.text("rescaling")},
          {"architecture", model.text("architecture")},
          {"init", model.text("init")},
          {"hidden_layers", model.integer("hidden_layers")},
          {"width", model.integer("width")},
          {"condition_number", model.real("condition_number")},
          {"batch_size", model.integer("batch_size")},
          {"targets", model.text("targets")},
          {"regularisation", model.real("regularisation")},
          {"dtype", model.text("dtype")}};
}

nlohmann::json diverged_runs(const Sweep& sweep, const Curves& curves) {
  auto runs = nlohmann::json::array();
  for (std::size_t k = 0; k < curves.size(); ++k) {
    for (std::size_t s = 0; s < curves[k].size(); ++s) {
      if (metrics::diverged(curves[k][s])) {
        runs.push_back({{"learning_rate", sweep.rates[k]}, {"seed", sweep.seeds[s]}});
      }
    }
  }
  return runs;
}

struct Result {
  nlohmann::json summary;
  std::vector<Curve> best_curves;  // one per seed; empty when every rate diverged
};

Result summarise(const Config& model, const Sweep& sweep, double threshold) {
  const auto metric = train::error_metric(model);
  const auto curves = to_curves(sweep.curves.at(metric));
  const auto best = metrics::best_rate(curves, sweep.rates);
  Result result{.summary = identity(model), .best_curves = {}};
  auto& json = result.summary;
  json["metric"] = metric;
  for (const auto& [name, value] : sweep.diagnostics) json[name] = value;
  json["diverged"] = diverged_runs(sweep, curves);
  json["runs"] = sweep.rates.size() * sweep.seeds.size();
  json["best_rate"] = nullptr;
  if (!best) return result;

  result.best_curves = curves[best->index];
  const auto steps = mean_steps(result.best_curves, threshold);
  json["best_rate"] = best->rate;
  json["best_rate_at_edge"] = best->at_low_edge ? "low" : best->at_high_edge ? "high" : "none";
  json["rates_tied"] = best->tied;
  json["final_error"] = best->final_error;
  json["final_error_standard_error"] = standard_error(result.best_curves, best->final_error);
  json["log_area"] = best->area;
  json["threshold"] = threshold;
  json["steps_to_threshold"] = steps;
  json["samples_to_threshold"] =
      steps.is_null()
          ? steps
          : nlohmann::json(steps.get<double>() * static_cast<double>(model.integer("batch_size")));
  return result;
}

// Steps each model needs to get where plain backpropagation ends, on the same task.
void compare_with_backpropagation(std::vector<Result>& results) {
  const auto plain = std::find_if(results.begin(), results.end(), [](const Result& r) {
    return r.summary["rule"] == "bp" && r.summary["rescaling"] == "none";
  });
  if (plain == results.end() || plain->best_curves.empty()) return;
  const double goal = plain->summary["final_error"].get<double>();
  for (auto& result : results) {
    result.summary["steps_to_plain_bp"] =
        result.best_curves.empty() ? nullptr : mean_steps(result.best_curves, goal);
  }
}

std::string steps_text(const nlohmann::json& steps) {
  return steps.is_number() ? fmt::format("{:.0f}", steps.get<double>()) : "-";
}

std::vector<std::string> table_row(const nlohmann::json& json) {
  const auto name = json["model"].get<std::string>();
  const auto shape =
      fmt::format("{} x {}", json["hidden_layers"].get<int>(), json["width"].get<int>());
  const auto diverged = fmt::format("{}/{}", json["diverged"].size(), json["runs"].get<int>());
  const auto init = json["init"].get<std::string>();
  if (json["best_rate"].is_null()) {
    return {name, shape, init, "none", "diverged", "-", "-", diverged};
  }
  const bool edge = json["best_rate_at_edge"] != "none";
  return {name,
          shape,
          init,
          train::brief(json["best_rate"].get<double>()) + (edge ? " (edge)" : ""),
          train::brief(json["final_error"].get<double>()),
          steps_text(json["steps_to_threshold"]),
          steps_text(json.value("steps_to_plain_bp", nlohmann::json())),
          diverged};
}

std::vector<Config> cells(const Config& config) {
  return config.grid(kGrid);
}

void run_regression(Run& run) {
  const auto& config = run.config();
  std::int64_t total = 0;
  for (const auto& cell : cells(config)) {
    for (const auto& model : cell.models()) total += train::sweep_length(model);
  }
  train::Table table({"model", "hidden x width", "init", "best rate", "final error",
                      fmt::format("steps to {:g}", config.real("threshold")), "steps to plain bp",
                      "diverged"});
  auto& summary = run.summary()["models"] = nlohmann::json::array();
  {
    auto progress = run.progress("regression", total);
    for (const auto& cell : cells(config)) {
      std::vector<Result> results;
      for (const auto& model : cell.models()) {
        const auto sweep = train::run_sweep(model, config.texts("measure"), run.device(), [&] {
          progress.advance();
          run.check_interrupted();
        });
        const auto curves = to_curves(sweep.curves.at(train::error_metric(model)));
        write_rows(run, model, sweep, metrics::best_rate(curves, sweep.rates));
        results.push_back(summarise(model, sweep, config.real("threshold")));
      }
      compare_with_backpropagation(results);
      for (auto& result : results) {
        table.row(table_row(result.summary));
        summary.push_back(std::move(result.summary));
      }
    }
  }
  run.print("{}", table.text());
}

train::Schema schema() {
  train::Schema keys({"rule",
                      "rescaling",
                      "architecture",
                      "init",
                      "hidden_layers",
                      "width",
                      "inputs",
                      "outputs",
                      "condition_number",
                      "bias",
                      "batch_size",
                      "learning_rate",
                      "targets",
                      "noise",
                      "steps",
                      "dtype",
                      "seeds",
                      "inference",
                      "inference_steps",
                      "inference_step_size",
                      "inference_tolerance",
                      "inference_energy_tolerance",
                      "regularisation",
                      "spectrum",
                      "as_printed",
                      "alpha_denominator",
                      "alpha_floor",
                      "forgetting",
                      "delta",
                      "optimizer"});
  keys.choices("architecture", {"dln", "residual", "relu"});
  keys.initial("width", "20");
  keys.initial("batch_size", "64");
  keys.initial("regularisation", "1e-5");
  keys.add({.name = "measure",
            .kind = train::Kind::kText,
            .initial = "[]",
            .doc = "what to record at every step beside the error",
            .shape = train::Shape::kList,
            .choices = {"target_alignment", "excess_map_error", "map_error_squared_frobenius"}});
  keys.add({.name = "curves",
            .kind = train::Kind::kText,
            .initial = "\"best\"",
            .doc = "which learning rates get every step into metrics.csv",
            .choices = {"best", "all"}});
  keys.add({.name = "threshold",
            .kind = train::Kind::kReal,
            .initial = "1e-3",
            .doc = "error whose first step is reported as steps_to_threshold",
            .minimum = 0,
            .open_minimum = true});
  return keys;
}

}  // namespace

int main(int argc, char** argv) {
  return train::run_program(
      {.name = "pcxx-regression",
       .summary = "Trains networks on a linear teacher with any set of models, each at every "
                  "learning rate "
                  "and from every seed, and finds each model's best rate.",
       .examples =
           {"# backpropagation against predictive coding, eight hidden layers of 20",
            "--set rule=[bp,pc] --set hidden_layers=8 --set width=20 --set init=norm_preserving",
            "# a finer sweep of one model",
            "--set rule=pc --set rescaling=decorrelation --set regularisation=1e-4 "
            "--set 'learning_rate={from=0.01,to=1,points=20,scale=log}'",
            "# an experiment of the paper", "--config configs/fig4b_regression_1.toml"},
       .schema = schema(),
       .plot_script = "regression",
       .run = run_regression},
      argc, argv);
}
