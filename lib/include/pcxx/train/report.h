#pragma once

#include <pcxx/catalog/model.h>
#include <pcxx/metrics/sample_efficiency.h>
#include <pcxx/run/run.h>
#include <pcxx/run/table.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

/// What is said of the models of a run when they are trained: rows of metrics.csv, summary.json and
/// a table. The same words mean the same after images and after regressions.
namespace pcxx::train {

/// Rows of one metric of one run. Entry i of the curve is of steps[i], or of step i where there are
/// no steps; every stride-th one is recorded, and what is not measured at every step only where it
/// was.
void record_curve(run::Records& records, const run::Cell& cell, const std::string& metric,
                  const metrics::Curve& curve, const std::vector<std::int64_t>& steps = {},
                  std::size_t stride = 1);

/// A model's runs at its best rate, one curve a seed; none where every rate has diverged. Entry i
/// of a curve is of steps[i], or of step i where there are no steps.
struct BestRuns {
  std::vector<metrics::Curve> errors = {};
  std::vector<std::int64_t> steps = {};
};

/// Adds to a model's summary best_rate, null where every rate has diverged, best_rate_at_edge,
/// final_error and log_area, means over the seeds; and of each seed's error final_errors, log_areas
/// and early_log_areas.
void add_best(nlohmann::json& summary, const std::optional<metrics::BestRate>& best,
              const BestRuns& runs);

/// Adds mean_<metric>s, each seed's mean over its updates, up to where its error is nothing but
/// rounding. `curves` are of the seeds, with an entry an update.
void add_means(nlohmann::json& summary, const std::string& metric,
               const std::vector<metrics::Curve>& curves, const BestRuns& runs);

/// The mean over seeds of the first step with an error as low as the seed's goal; null when a seed
/// never gets there.
nlohmann::json mean_steps(const BestRuns& runs, const std::vector<double>& goals);

/// Adds steps_to_plain_bp to the summaries of models of one task and shape: the steps that each
/// needs to get where plain backpropagation ends, on the same seeds.
void compare_with_backpropagation(const std::vector<nlohmann::json*>& summaries,
                                  const std::vector<BestRuns>& runs);

/// A table with a row a model: its name, the keys in which models differ, its best rate, and
/// `columns` of the program.
run::Table model_table(const run::Run& run, const std::vector<std::string>& columns);
void add_row(run::Table& table, const run::Run& run, const catalog::Model& model,
             const nlohmann::json& summary, const std::vector<std::string>& cells);

/// Prints the table, and which models have many dead units.
void print_results(const run::Run& run, const run::Table& table, const nlohmann::json& summary);

}  // namespace pcxx::train
