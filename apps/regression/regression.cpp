#include <ATen/ATen.h>
#include <pcxx/catalog/experiment.h>
#include <pcxx/catalog/vocabulary.h>
#include <pcxx/core/error.h>
#include <pcxx/metrics/sample_efficiency.h>
#include <pcxx/programs.h>
#include <pcxx/run/program.h>
#include <pcxx/run/table.h>
#include <pcxx/train/observer.h>
#include <pcxx/train/report.h>
#include <pcxx/train/sweep.h>
#include <pcxx/train/training.h>

#include <algorithm>
#include <cmath>

namespace {

using namespace pcxx;
using catalog::Model;
using config::Config;
using metrics::Curve;
using run::Run;
using train::Sweep;
using Curves = std::vector<std::vector<Curve>>;  // [rate][seed]

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

// Where an unstable inference has ended runs.
void write_ends(Run& run, const Model& model, const Sweep& sweep) {
  const auto found = sweep.numbers.find(train::kUnstableAt);
  if (found == sweep.numbers.end()) return;
  for (std::size_t k = 0; k < sweep.rates.size(); ++k) {
    for (std::size_t s = 0; s < sweep.seeds.size(); ++s) {
      const auto step =
          found->second[static_cast<std::int64_t>(k)][static_cast<std::int64_t>(s)].item<double>();
      if (std::isnan(step)) continue;
      const auto cell = run.records()
                            .cell(model.config)
                            .with("learning_rate", sweep.rates[k])
                            .with("seed", sweep.seeds[s]);
      run.records().add(cell, train::kUnstableAt, step);
    }
  }
}

// Every step of the best rate (or of all), the first and the last of the others.
void write_rows(Run& run, const Model& model, const Sweep& sweep,
                const std::optional<metrics::BestRate>& best) {
  const bool all = run.config().text("curves") == "all";
  for (const auto& [metric, values] : sweep.curves) {
    const auto curves = to_curves(values);
    for (std::size_t k = 0; k < sweep.rates.size(); ++k) {
      for (std::size_t s = 0; s < sweep.seeds.size(); ++s) {
        const auto cell = run.records()
                              .cell(model.config)
                              .with("learning_rate", sweep.rates[k])
                              .with("seed", sweep.seeds[s]);
        const auto& curve = curves[k][s];
        const std::size_t stride =
            all || (best && best->index == k) ? 1 : std::max<std::size_t>(1, curve.size() - 1);
        train::record_curve(run.records(), cell, metric, curve, {}, stride);
      }
    }
  }
  write_ends(run, model, sweep);
}

double standard_error(const std::vector<Curve>& seeds, double mean) {
  if (seeds.size() < 2) return std::nan("");
  double squares = 0;
  for (const auto& curve : seeds) squares += (curve.back() - mean) * (curve.back() - mean);
  const auto n = static_cast<double>(seeds.size());
  return std::sqrt(squares / (n - 1) / n);
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

// Of a metric, at one rate, by seed.
std::vector<Curve> curves_at(const Sweep& sweep, const std::string& metric, std::size_t rate) {
  const auto found = sweep.curves.find(metric);
  return found == sweep.curves.end() ? std::vector<Curve>() : to_curves(found->second)[rate];
}

nlohmann::json summarise(const Run& run, const Model& model, const Sweep& sweep,
                         const std::optional<metrics::BestRate>& best,
                         const train::BestRuns& runs) {
  const double threshold = run.config().real("threshold");
  auto json = run.identity(model.config);
  json["metric"] = train::error_metric(model);
  for (const auto& [name, value] : sweep.diagnostics) json[name] = value;
  json["diverged"] = diverged_runs(sweep);
  json["runs"] = sweep.rates.size() * sweep.seeds.size();
  if (const auto found = sweep.numbers.find(train::kUnstableAt); found != sweep.numbers.end()) {
    const auto unstable = found->second.isfinite().sum().item<std::int64_t>();
    if (unstable > 0) json["unstable_inference_runs"] = unstable;
  }
  train::add_best(json, best, runs);
  if (!best) return json;

  json["rates_tied"] = best->tied;
  for (const char* name : {"target_alignment", "held_out_alignment"}) {
    train::add_means(json, name, curves_at(sweep, name, best->index), runs);
  }
  json["final_error_standard_error"] = standard_error(runs.errors, best->final_error);
  for (const auto& curve : curves_at(sweep, "excess_map_error", best->index)) {
    json["final_excess_errors"].push_back(curve.back());
  }
  const auto index = static_cast<std::int64_t>(best->index);
  if (const auto found = sweep.curves.find(train::kDeadUnits); found != sweep.curves.end()) {
    json[train::kDeadUnits] = found->second.select(0, -1).select(0, index).mean().item<double>();
  }
  for (const auto* name : {train::kPasses, train::kConverged}) {
    const auto found = sweep.numbers.find(name);
    if (found != sweep.numbers.end()) {
      json[name] = found->second.select(0, index).mean().item<double>();
    }
  }
  const auto steps = train::mean_steps(runs, std::vector(runs.errors.size(), threshold));
  json["threshold"] = threshold;
  json["steps_to_threshold"] = steps;
  json["samples_to_threshold"] =
      steps.is_null() ? steps
                      : nlohmann::json(steps.get<double>() * static_cast<double>(model.batch_size));
  return json;
}

std::string steps_text(const nlohmann::json& steps) {
  return steps.is_number() ? fmt::format("{:.0f}", steps.get<double>()) : "-";
}

std::vector<std::string> table_cells(const nlohmann::json& json) {
  const auto diverged = fmt::format("{}/{}", json["diverged"].size(), json["runs"].get<int>());
  if (json["best_rate"].is_null()) return {"diverged", "-", "-", diverged};
  return {run::brief(json["final_error"].get<double>()), steps_text(json["steps_to_threshold"]),
          steps_text(json.value("steps_to_plain_bp", nlohmann::json())), diverged};
}

// The models of one task and shape.
void report_cell(Run& run, const train::SweepPlan& plan, const std::vector<Sweep>& sweeps,
                 std::size_t begin, std::size_t end, run::Table& table) {
  std::vector<nlohmann::json> summaries;
  std::vector<train::BestRuns> best_runs;
  for (auto m = begin; m < end; ++m) {
    const auto& model = plan.models()[m];
    const auto curves = to_curves(sweeps[m].curves.at(train::error_metric(model)));
    const auto best = metrics::best_rate(curves, sweeps[m].rates, catalog::best_by(run.config()));
    write_rows(run, model, sweeps[m], best);
    best_runs.push_back({.errors = best ? curves[best->index] : std::vector<Curve>()});
    summaries.push_back(summarise(run, model, sweeps[m], best, best_runs.back()));
    summaries.back()["engine"] = plan.engine(m);
  }
  std::vector<nlohmann::json*> places;
  for (auto& summary : summaries) places.push_back(&summary);
  train::compare_with_backpropagation(places, best_runs);
  for (std::size_t i = 0; i < summaries.size(); ++i) {
    train::add_row(table, run, plan.models()[begin + i], summaries[i], table_cells(summaries[i]));
    run.summary()["models"].push_back(std::move(summaries[i]));
  }
}

void run_regression(Run& run) {
  // Said in the run's config, so that any number of ranks goes on with it.
  const bool shared = run.ranks().size() > 1;
  if (shared && run.config().text("engine") == "auto")
    run.resolve("engine", {std::string("tensor")});
  const auto& config = run.config();
  std::vector<Config> models;
  std::vector<std::size_t> ends;  // of every cell
  for (const auto& cell : config.cells()) {
    for (auto& model : cell.models()) models.push_back(std::move(model));
    ends.push_back(models.size());
  }
  const train::SweepPlan plan(models, config.texts("measure"), run.device(), run.ranks());
  for (const auto& line : plan.engines()) run.print("{}", line);
  const auto sweeps = plan.collect(run.work(plan.work("regression")).read());
  if (sweeps.front().seeds.empty()) return;

  auto table = train::model_table(
      run, {"final error", fmt::format("steps to {:g}", config.real("threshold")),
            "steps to plain bp", "diverged"});
  run.summary()["best_by"] = config.text("best_by");
  run.summary()["models"] = nlohmann::json::array();
  for (std::size_t cell = 0; cell < ends.size(); ++cell) {
    report_cell(run, plan, sweeps, cell == 0 ? 0 : ends[cell - 1], ends[cell], table);
  }
  train::print_results(run, table, run.summary());
}

config::Schema schema() {
  auto keys = catalog::schema({"rule", "rescaling", catalog::kNetwork, "collapsed", "batch_size",
                               "learning_rate", catalog::kTeacher, "steps", "best_by", "dtype",
                               "seeds", catalog::kInference, catalog::kOptions, "optimizer",
                               "schedule", "engine", catalog::kTraining});
  keys.choices("architecture", {"dln", "residual", "relu", "mupc"});
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
