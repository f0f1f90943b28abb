#include <ATen/ATen.h>
#include <pcxx/catalog/experiment.h>
#include <pcxx/catalog/vocabulary.h>
#include <pcxx/core/error.h>
#include <pcxx/metrics/sample_efficiency.h>
#include <pcxx/programs.h>
#include <pcxx/run/program.h>
#include <pcxx/run/table.h>
#include <pcxx/train/observer.h>
#include <pcxx/train/sweep.h>

#include <algorithm>
#include <cmath>

namespace {

using namespace pcxx;
using config::Config;
using metrics::Curve;
using run::Run;
using train::Sweep;
using Curves = std::vector<std::vector<Curve>>;  // [rate][seed]

constexpr const char* kDeadUnits = "dead_units";

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
        const auto cell = run.records()
                              .cell(model)
                              .with("learning_rate", sweep.rates[k])
                              .with("seed", sweep.seeds[s]);
        const auto& curve = curves[k][s];
        const std::size_t stride =
            all || (best && best->index == k) ? 1 : std::max<std::size_t>(1, curve.size() - 1);
        for (std::size_t t = 0; t < curve.size(); t += stride) {
          if (train::is_occasional(metric) && std::isnan(curve[t])) continue;
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

// Mean over seeds, each with its own threshold, or null when a seed never gets there.
nlohmann::json mean_steps(const std::vector<Curve>& seeds, const std::vector<double>& thresholds) {
  double sum = 0;
  for (std::size_t s = 0; s < seeds.size(); ++s) {
    const auto steps = metrics::steps_to_reach(seeds[s], thresholds[s]);
    if (!steps) return nullptr;
    sum += static_cast<double>(*steps);
  }
  return sum / static_cast<double>(seeds.size());
}

nlohmann::json diverged_runs(const Sweep& sweep) {
  auto runs = nlohmann::json::array();
  for (std::size_t k = 0; k < sweep.rates.size(); ++k) {
    for (std::size_t s = 0; s < sweep.seeds.size(); ++s) {
      const auto step = sweep.left_at[static_cast<std::int64_t>(k)][static_cast<std::int64_t>(s)]
                            .item<std::int64_t>();
      if (step < 0) continue;
      runs.push_back({{"learning_rate", sweep.rates[k]}, {"seed", sweep.seeds[s]}, {"step", step}});
    }
  }
  return runs;
}

// Of a metric that every update has, [steps + 1, seeds]: the mean of each seed, up to where its
// error is nothing but rounding.
std::vector<double> means_over_steps(const at::Tensor& values, const std::vector<Curve>& errors) {
  std::vector<double> means;
  for (std::size_t s = 0; s < errors.size(); ++s) {
    const auto all = static_cast<std::int64_t>(errors[s].size());
    const auto end = metrics::steps_to_reach(errors[s], metrics::kTieFloor).value_or(all);
    const auto seed = values.select(1, static_cast<std::int64_t>(s));
    means.push_back(seed.narrow(0, 0, end).nanmean().item<double>());
  }
  return means;
}

struct Result {
  nlohmann::json summary;
  std::vector<Curve> best_curves;  // one per seed; empty when every rate diverged
};

Result summarise(const Run& run, const Config& model, const Sweep& sweep, const Curves& curves,
                 const std::optional<metrics::BestRate>& best) {
  const double threshold = run.config().real("threshold");
  Result result{.summary = run.identity(model), .best_curves = {}};
  auto& json = result.summary;
  json["metric"] = train::error_metric(model);
  for (const auto& [name, value] : sweep.diagnostics) json[name] = value;
  json["diverged"] = diverged_runs(sweep);
  json["runs"] = sweep.rates.size() * sweep.seeds.size();
  json["best_rate"] = nullptr;
  if (!best) return result;

  result.best_curves = curves[best->index];
  const auto steps =
      mean_steps(result.best_curves, std::vector(result.best_curves.size(), threshold));
  json["best_rate"] = best->rate;
  json["best_rate_at_edge"] = best->at_low_edge ? "low" : best->at_high_edge ? "high" : "none";
  json["rates_tied"] = best->tied;
  for (const char* name : {"target_alignment", "held_out_alignment"}) {
    const auto found = sweep.curves.find(name);
    if (found == sweep.curves.end()) continue;
    json[fmt::format("mean_{}s", name)] = means_over_steps(
        found->second.select(1, static_cast<std::int64_t>(best->index)), result.best_curves);
  }
  json["final_error"] = best->final_error;
  json["final_error_standard_error"] = standard_error(result.best_curves, best->final_error);
  json["log_area"] = best->area;
  json["final_errors"] = nlohmann::json::array();
  json["log_areas"] = nlohmann::json::array();
  json["early_log_areas"] = nlohmann::json::array();
  for (const auto& curve : result.best_curves) {
    json["final_errors"].push_back(curve.back());
    json["log_areas"].push_back(metrics::area_under_log_curve(curve));
    json["early_log_areas"].push_back(metrics::early_area_under_log_curve(curve));
  }
  if (const auto found = sweep.curves.find("excess_map_error"); found != sweep.curves.end()) {
    const auto last = found->second.select(0, -1).select(0, static_cast<std::int64_t>(best->index));
    for (std::int64_t s = 0; s < last.size(0); ++s) {
      json["final_excess_errors"].push_back(last[s].item<double>());
    }
  }
  if (const auto found = sweep.curves.find(kDeadUnits); found != sweep.curves.end()) {
    const auto last = found->second.select(0, -1).select(0, static_cast<std::int64_t>(best->index));
    json[kDeadUnits] = last.mean().item<double>();
  }
  json["threshold"] = threshold;
  json["steps_to_threshold"] = steps;
  json["samples_to_threshold"] =
      steps.is_null()
          ? steps
          : nlohmann::json(steps.get<double>() * static_cast<double>(model.integer("batch_size")));
  return result;
}

// Steps each model needs to get where plain backpropagation ends, on the same task and seed.
void compare_with_backpropagation(std::vector<Result>& results) {
  const auto plain = std::find_if(results.begin(), results.end(),
                                  [](const Result& r) { return r.summary["model"] == "bp"; });
  if (plain == results.end() || plain->best_curves.empty()) return;
  std::vector<double> goals;
  for (const auto& curve : plain->best_curves) goals.push_back(curve.back());
  for (auto& result : results) {
    result.summary["steps_to_plain_bp"] =
        result.best_curves.empty() ? nullptr : mean_steps(result.best_curves, goals);
  }
}

std::string steps_text(const nlohmann::json& steps) {
  return steps.is_number() ? fmt::format("{:.0f}", steps.get<double>()) : "-";
}

std::vector<std::string> table_row(const Config& model, const nlohmann::json& json,
                                   const std::vector<std::string>& varied) {
  std::vector<std::string> row{json["model"].get<std::string>()};
  for (const auto& key : varied) row.push_back(config::to_string(model.values(key).front()));
  const auto diverged = fmt::format("{}/{}", json["diverged"].size(), json["runs"].get<int>());
  if (json["best_rate"].is_null()) {
    row.insert(row.end(), {"none", "diverged", "-", "-", diverged});
    return row;
  }
  const bool edge = json["best_rate_at_edge"] != "none";
  row.insert(row.end(),
             {run::brief(json["best_rate"].get<double>()) + (edge ? " (edge)" : ""),
              run::brief(json["final_error"].get<double>()), steps_text(json["steps_to_threshold"]),
              steps_text(json.value("steps_to_plain_bp", nlohmann::json())), diverged});
  return row;
}

std::vector<std::string> table_header(const Run& run, const std::vector<std::string>& varied) {
  std::vector<std::string> names{"model"};
  names.insert(names.end(), varied.begin(), varied.end());
  names.insert(names.end(), {catalog::best_rate_title(run.config()), "final error",
                             fmt::format("steps to {:g}", run.config().real("threshold")),
                             "steps to plain bp", "diverged"});
  return names;
}

// The models of one task and shape.
void report_cell(Run& run, const train::SweepPlan& plan, const std::vector<Sweep>& sweeps,
                 std::size_t begin, std::size_t end, run::Table& table) {
  std::vector<Result> results;
  for (auto m = begin; m < end; ++m) {
    const auto& model = plan.models()[m];
    const auto curves = to_curves(sweeps[m].curves.at(train::error_metric(model)));
    const auto best = metrics::best_rate(curves, sweeps[m].rates, catalog::best_by(run.config()));
    write_rows(run, model, sweeps[m], best);
    results.push_back(summarise(run, model, sweeps[m], curves, best));
    results.back().summary["engine"] = plan.engine(m);
  }
  compare_with_backpropagation(results);
  const auto varied = run.varied_keys();
  for (std::size_t i = 0; i < results.size(); ++i) {
    table.row(table_row(plan.models()[begin + i], results[i].summary, varied));
    run.summary()["models"].push_back(std::move(results[i].summary));
  }
}

void run_regression(Run& run) {
  // Said in the run's config, so that any number of ranks goes on with it.
  const bool shared = run.ranks().size() > 1;
  if (shared && run.config().text("engine") == "auto") run.resolve("engine", std::string("tensor"));
  const auto& config = run.config();
  std::vector<Config> models;
  std::vector<std::size_t> ends;  // of every cell
  for (const auto& cell : config.cells()) {
    for (auto& model : cell.models()) models.push_back(std::move(model));
    ends.push_back(models.size());
  }
  const train::SweepPlan plan(std::move(models), config.texts("measure"), run.device(),
                              run.ranks());
  for (const auto& line : plan.engines()) run.print("{}", line);
  const auto sweeps = plan.collect(run.work(plan.work("regression")).read());
  if (sweeps.front().seeds.empty()) return;

  run::Table table(table_header(run, run.varied_keys()));
  run.summary()["best_by"] = config.text("best_by");
  run.summary()["models"] = nlohmann::json::array();
  for (std::size_t cell = 0; cell < ends.size(); ++cell) {
    report_cell(run, plan, sweeps, cell == 0 ? 0 : ends[cell - 1], ends[cell], table);
  }
  run.print("{}", table.text());
  const auto dead = run::dead_units_line(run.summary()["models"]);
  if (!dead.empty()) run.print("{}", dead);
}

config::Schema schema() {
  auto keys = catalog::schema({"rule", "rescaling", catalog::kNetwork, "collapsed", "batch_size",
                               "learning_rate", catalog::kTeacher, "steps", "best_by", "dtype",
                               "seeds", catalog::kInference, catalog::kOptions, "optimizer",
                               "engine", catalog::kTraining});
  keys.choices("architecture", {"dln", "residual", "relu"});
  keys.initial("width", "20");
  keys.initial("batch_size", "64");
  keys.initial("regularisation", "1e-5");
  keys.initial("checkpoint_every", "100000");
  keys.add(train::measure_key(
      "[]", {{"excess_map_error", "beyond what a map of that rank can fit"},
             {"map_error_squared_frobenius", "the sum over the entries, not the mean"}}));
  keys.add({.name = "curves",
            .kind = config::Kind::kText,
            .initial = "\"best\"",
            .doc = "which learning rates get every step into metrics.csv",
            .choices = {"best", "all"}});
  keys.add({.name = "threshold",
            .kind = config::Kind::kReal,
            .initial = "1e-3",
            .doc = "error whose first step is reported as steps_to_threshold",
            .minimum = 0,
            .open_minimum = true});
  return keys;
}

}  // namespace

run::Program pcxx::programs::regression() {
  return {.name = "pcxx-regression",
          .summary =
              "Trains networks on a linear teacher with any set of models, each at every "
              "learning rate "
              "and from every seed, and finds each model's best rate.",
          .examples =
              {"# backpropagation against predictive coding, eight hidden layers of 20",
               "--set rule=[bp,pc] --set hidden_layers=8 --set width=20 --set init=norm_preserving",
               "# a finer sweep of one model",
               "--set rule=pc --set rescaling=decorrelation --set regularisation=1e-4 "
               "--set 'learning_rate={from=0.01,to=1,points=20,scale=log}'",
               "# an experiment of the paper", "--config configs/fig4b_regression_1.toml",
               "# the same shared out to two machines, and its results",
               "--config configs/fig4b_regression_1.toml --out runs/fig4b --shard 0/2",
               "--config configs/fig4b_regression_1.toml --out runs/fig4b --shard 1/2",
               "--merge runs/fig4b"},
          .schema = schema(),
          .works = true,
          .ranks = true,
          .curves = true,
          .plot_script = "regression",
          .run = run_regression};
}
