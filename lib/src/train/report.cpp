#include <ATen/ATen.h>
#include <pcxx/catalog/experiment.h>
#include <pcxx/train/observer.h>
#include <pcxx/train/report.h>

#include <algorithm>
#include <cmath>

namespace pcxx::train {
namespace {

std::int64_t step_of(const std::vector<std::int64_t>& steps, std::size_t place) {
  return steps.empty() ? static_cast<std::int64_t>(place) : steps[place];
}

std::optional<std::int64_t> step_that_reaches(const BestRuns& runs, std::size_t seed, double goal) {
  const auto place = metrics::steps_to_reach(runs.errors[seed], goal);
  if (!place) return std::nullopt;
  return step_of(runs.steps, static_cast<std::size_t>(*place));
}

}  // namespace

void record_curve(run::Records& records, const run::Cell& cell, const std::string& metric,
                  const metrics::Curve& curve, const std::vector<std::int64_t>& steps,
                  std::size_t stride) {
  const bool occasional = is_occasional(metric);
  for (std::size_t i = 0; i < curve.size(); i += stride) {
    if (occasional && std::isnan(curve[i])) continue;
    records.add(cell, step_of(steps, i), metric, curve[i]);
  }
}

void add_best(nlohmann::json& summary, const std::optional<metrics::BestRate>& best,
              const BestRuns& runs) {
  summary["best_rate"] = nullptr;
  if (!best) return;
  summary["best_rate"] = best->rate;
  summary["best_rate_at_edge"] = best->at_low_edge ? "low" : best->at_high_edge ? "high" : "none";
  summary["final_error"] = best->final_error;
  summary["log_area"] = best->area;
  for (const auto& curve : runs.errors) {
    summary["final_errors"].push_back(curve.back());
    summary["log_areas"].push_back(metrics::area_under_log_curve(curve));
    summary["early_log_areas"].push_back(metrics::early_area_under_log_curve(curve));
  }
}

void add_means(nlohmann::json& summary, const std::string& metric,
               const std::vector<metrics::Curve>& curves, const BestRuns& runs) {
  for (std::size_t s = 0; s < curves.size(); ++s) {
    const auto all = static_cast<std::int64_t>(curves[s].size());
    const auto end = step_that_reaches(runs, s, metrics::kTieFloor).value_or(all);
    const auto values = at::tensor(curves[s], at::kDouble).narrow(0, 0, std::min(end, all));
    summary["mean_" + metric + "s"].push_back(values.nanmean().item<double>());
  }
}

nlohmann::json mean_steps(const BestRuns& runs, const std::vector<double>& goals) {
  double sum = 0;
  for (std::size_t s = 0; s < runs.errors.size(); ++s) {
    const auto step = step_that_reaches(runs, s, goals[s]);
    if (!step) return nullptr;
    sum += static_cast<double>(*step);
  }
  return sum / static_cast<double>(runs.errors.size());
}

void compare_with_backpropagation(const std::vector<nlohmann::json*>& summaries,
                                  const std::vector<BestRuns>& runs) {
  const auto plain = std::find_if(summaries.begin(), summaries.end(),
                                  [](const auto* summary) { return (*summary)["model"] == "bp"; });
  if (plain == summaries.end()) return;
  std::vector<double> goals;
  for (const auto& curve : runs[static_cast<std::size_t>(plain - summaries.begin())].errors) {
    goals.push_back(curve.back());
  }
  if (goals.empty()) return;
  for (std::size_t m = 0; m < runs.size(); ++m) {
    (*summaries[m])["steps_to_plain_bp"] =
        runs[m].errors.empty() ? nullptr : mean_steps(runs[m], goals);
  }
}

run::Table model_table(const run::Run& run, const std::vector<std::string>& columns) {
  std::vector<std::string> header{"model"};
  for (const auto& key : run.varied_keys()) header.push_back(key);
  header.push_back(catalog::best_rate_title(run.config()));
  header.insert(header.end(), columns.begin(), columns.end());
  return run::Table(std::move(header));
}

void add_row(run::Table& table, const run::Run& run, const catalog::Model& model,
             const nlohmann::json& summary, const std::vector<std::string>& cells) {
  std::vector<std::string> row{model.name};
  for (const auto& key : run.varied_keys()) {
    row.push_back(config::to_string(model.config.values(key).front()));
  }
  const auto& rate = summary["best_rate"];
  if (rate.is_null()) {
    row.emplace_back("none");
  } else {
    const bool edge = summary["best_rate_at_edge"] != "none";
    row.push_back(run::brief(rate.get<double>()) + (edge ? " (edge)" : ""));
  }
  row.insert(row.end(), cells.begin(), cells.end());
  table.row(std::move(row));
}

void print_results(const run::Run& run, const run::Table& table, const nlohmann::json& summary) {
  run.print("{}", table.text());
  const auto dead = run::dead_units_line(summary["models"]);
  if (!dead.empty()) run.print("{}", dead);
}

}  // namespace pcxx::train
