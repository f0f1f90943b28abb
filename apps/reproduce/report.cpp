#include "reproduce/report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <pcxx/core/files.h>
#include <pcxx/metrics/sample_efficiency.h>
#include <pcxx/run/records.h>
#include <pcxx/run/table.h>
#include <pcxx/version.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "reproduce/claims.h"
#include "reproduce/comparisons.h"
#include "reproduce/efficiency.h"
#include "reproduce/misprints.h"
#include "reproduce/results.h"

namespace pcxx::reproduce {

namespace fs = std::filesystem;

namespace {

using Json = nlohmann::json;
using Rows = std::vector<std::vector<std::string>>;

// What tells one entry of a summary from the next.
const std::vector<std::string> kKeys{
    "architecture",     "init",       "hidden_layers", "width",
    "condition_number", "batch_size", "noise",         "optimizer"};

std::string number(double value) {
  return std::isfinite(value) ? run::brief(value) : "-";
}

std::string number(const Json& json, const char* name) {
  const auto found = json.find(name);
  return found != json.end() && found->is_number() ? number(found->get<double>()) : "-";
}

// Student's distribution is right to about 1e-15.
std::string p_value(double p) {
  return p < 1e-15 ? "< 1e-15" : number(p);
}

// Of errors over seeds; 0 counts as the floor of the logarithm.
std::string geometric_mean(const Json& errors) {
  double sum = 0;
  for (const auto& error : errors) {
    if (!error.is_number()) return "-";
    sum += std::log(std::max(error.get<double>(), metrics::kLogFloor));
  }
  return errors.empty() ? "-" : number(std::exp(sum / static_cast<double>(errors.size())));
}

std::string interval(double low, double high) {
  return std::isfinite(low) ? fmt::format("{} to {}", number(low), number(high)) : "-";
}

std::string value_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  return value.is_number_float() ? fmt::format("{:g}", value.get<double>()) : value.dump();
}

std::vector<std::string> varied_keys(const Json& entries) {
  std::vector<std::string> varied;
  for (const auto& key : kKeys) {
    std::set<std::string> values;
    for (const auto& entry : entries) values.insert(value_text(entry.value(key, Json())));
    if (values.size() > 1) varied.push_back(key);
  }
  return varied;
}

// ---- numbers of a panel

void add_training(Document& document, const Json& models) {
  const auto varied = varied_keys(models);
  auto header = varied;
  header.insert(header.begin(), "model");
  header.insert(header.end(), {"best rate", "final error", "geometric mean", "mean log10 error",
                               "steps to plain BP's end", "samples"});
  Rows rows;
  for (const auto& model : models) {
    std::vector<std::string> row{model.value("model", "")};
    for (const auto& key : varied) row.push_back(value_text(model.value(key, Json(""))));
    const auto edge = model.value("best_rate_at_edge", "none");
    const bool diverged = !model.contains("best_rate") || model["best_rate"].is_null();
    row.push_back(diverged ? "diverged at every rate"
                           : fmt::format("{}{}", number(model, "best_rate"),
                                         edge == "none" ? "" : fmt::format(" ({} edge)", edge)));
    row.push_back(number(model, "final_error"));
    row.push_back(geometric_mean(model.value("final_errors", Json::array())));
    for (const char* name : {"log_area", "steps_to_plain_bp"}) row.push_back(number(model, name));
    const auto steps = model.value("steps_to_plain_bp", Json());
    row.push_back(steps.is_number()
                      ? fmt::format("{:.0f}", steps.get<double>() * model.value("batch_size", 1.0))
                      : "-");
    rows.push_back(std::move(row));
  }
  document.table(header, rows);
}

// Rows are models, columns the values of the key that has most.
void add_alignment(Document& document, const Json& cells) {
  Rows rows;
  const auto varied = varied_keys(cells);
  auto header = varied;
  header.insert(header.begin(), "model");
  header.insert(header.end(), {"target alignment", "standard error", "batch cosine"});
  for (const auto& cell : cells) {
    std::vector<std::string> row{cell.value("model", "")};
    for (const auto& key : varied) row.push_back(value_text(cell.value(key, Json(""))));
    const auto alignment = cell.value("target_alignment", Json::object());
    row.push_back(number(alignment, "mean"));
    row.push_back(number(alignment, "standard_error"));
    row.push_back(number(cell.value("batch_alignment", Json::object()), "mean"));
    rows.push_back(std::move(row));
  }
  document.table(header, rows);
}

void add_trajectory(Document& document, const Json& models) {
  Rows rows;
  for (const auto& model : models) {
    rows.push_back(
        {model.value("model", ""), number(model, "steps_taken"), number(model, "path_excess")});
  }
  document.table({"model", "steps", "length of the path over the straight distance"}, rows);
}

void add_panel(Document& document, const Panel& panel, const Setting& setting) {
  document.heading(fmt::format("{}: {}", panel.id, panel.title), 4);
  auto shown = setting;
  shown.out = "OUT";
  auto command = command_of(panel, shown);
  command[2] = "configs/" + panel.config.filename().string();
  document.code(fmt::format("{}", fmt::join(command, " ")));
  const auto folder = folder_of(panel, setting.out);
  const auto results = Results(setting.out).panel(panel.id);
  const auto summary = results ? results->summary() : Json::object();
  const auto seconds = number(read_json(folder / "environment.json"), "seconds");
  document.paragraph(fmt::format("{} s.", seconds));
  if (summary.contains("cells")) return add_alignment(document, summary["cells"]);
  if (!summary.contains("models")) return void(document.paragraph("No results."));
  if (panel.program == "pcxx-trajectory") return add_trajectory(document, summary["models"]);
  add_training(document, summary["models"]);
}

bool is_beyond(const Figure& figure) {
  return figure.id.starts_with("beyond");
}

void add_figure(Document& document, const Figure& figure, const Setting& setting) {
  document.heading(is_beyond(figure) ? figure.title : fmt::format("Figure {}", figure.id), 3);
  document.picture(fmt::format("figures/figure{}.png", figure.id), figure.title);
  const auto ours = fmt::format("figures/figure{}-ours.png", figure.id);
  if (fs::exists(setting.out / ours)) {
    document.picture(ours, figure.title + ", with the models that are not the paper's");
  }
  if (!figure.notes.empty()) document.paragraph(figure.notes);
  for (const auto& panel : figure.panels) add_panel(document, panel, setting);
}

// ---- parts of the report

void add_origin(Document& document, const std::vector<Figure>& figures, Profile profile,
                const Setting& setting, const std::string& command) {
  const auto folder = folder_of(figures.front().panels.front(), setting.out);
  const auto environment = read_json(folder / "environment.json");
  const auto text = [&](const char* name) {
    return environment.contains(name) ? value_text(environment[name]) : std::string("unknown");
  };
  document.paragraph(fmt::format(
      "Experiments of *Understanding Sample Efficiency in Predictive Coding* (Oliviers, Lominadze "
      "and Bogacz, 2026, arXiv 2605.11911), run by pcxx {} (commit {}) in profile {} on {} with {} "
      "threads.",
      PCXX_VERSION, text("git_commit"), name(profile), text("cpu"), text("threads")));
  document.code(command);
}

void add_verdicts(Document& document, const std::vector<Verdict>& verdicts) {
  document.heading("The claims");
  document.paragraph(
      "Each claim is judged in each of its readings. Models are paired by seed, each at its best "
      "rate, which is that of the lowest mean final error (`best_by = \"final\"`, as in the paper; "
      "below 1e-28 all are tied, and the mean log10 error decides). A claim about every depth, "
      "width or batch size must hold at each of them: effect, interval and p are those of the cell "
      "that supports it least. A claim that something rises or falls is tested by its slope, and "
      "must not be reversed at any step from one cell to the next. Supported: p < 0.05 after "
      "Holm's correction for all verdicts. Not supported: some cell is the other way round, p < "
      "0.05 two-sided after Bonferroni's correction for the cells of the verdict. Undecided: "
      "neither.");
  document.paragraph(fmt::format(
      "Thresholds, which are ours: target alignment near 1 is above {}; no change with the width "
      "is less than {} a doubling, exact is within {:.0e} of 1; little help is less than {} "
      "decades; errors below {:.0e} are tied, and where both models end there from every seed, the "
      "mean log10 error over the training is compared in their place; the beginning is the first "
      "fifth of the training.",
      kNearOne, kFlat, kExactness, kHalfADecade, kErrorFloor));
  Rows rows;
  for (const auto& verdict : verdicts) {
    rows.push_back({verdict.claim, verdict.reading, to_string(verdict.outcome),
                    number(verdict.effect), interval(verdict.low, verdict.high), verdict.unit,
                    p_value(verdict.p_corrected)});
  }
  document.table({"claim", "reading", "verdict", "effect", "95 % interval", "unit", "corrected p"},
                 rows);
  for (const auto& verdict : verdicts) {
    document.item(fmt::format("({}) {}: {}", verdict.claim, verdict.reading, verdict.text));
    for (const auto& note : verdict.notes) document.item("note: " + note);
  }
}

void add_deviations(Document& document) {
  document.heading("Deviations from the paper");
  for (
      const char* text :
      {"Everything linear is computed in float64: a pseudo-inverse in float32 loses Theorem 2 long "
       "before the batch fills the layer.",
       "A model's learning rate is that of the lowest final error, as in the paper; the paper does "
       "not say what decides between rates that all end at rounding, here it is the mean log10 "
       "error.",
       "One-step experiments have the first-order change, the limit of small rates, for which the "
       "theorems hold; the paper's one step at 1e-4 is beside it in the panels named -step. In "
       "deep "
       "and wide networks BP is up to 0.06 lower there, and in residual networks such a step is "
       "too "
       "long for BP. In figures 3, 4 and 6 the two differ by 0.0012 at most (one seed).",
       "Curves, sweeps and final errors are arithmetic means over seeds, as the rates are chosen "
       "by "
       "them; the tables have the geometric mean of the final errors beside it, which is decades "
       "lower where a few seeds are slow. Verdicts compare logarithms seed by seed.",
       "In linear networks inference is the closed form. In the autoencoder it is L-BFGS per "
       "sample instead of 10,000 steps of 0.05. A sample has converged when its gradient is 1e-3 "
       "of its first one, or when a pass lowers its energy by no more than 1e-6 of it: at a kink "
       "of ReLU the gradient does not vanish, and the second criterion stops with a relative "
       "residual of 0.03 to 0.3. The energies reached are no higher than those of the paper's "
       "steps; with ReLU there are many minima, and they need not be the same.",
       "Energy is summed over the batch for inference; with the 1/B of appendix B.2 the same steps "
       "get as far later.",
       "The teacher's map has full rank, where A.3 says low-rank and A.1 draws independent "
       "entries; `rank` asks for another.",
       "Seeds are 0 to 9 (0 to 2 for the autoencoder): \"0 to 10\" in A.3 would be eleven.",
       "Targets are a linear teacher's; independent targets (3.1.3) cannot give figure 4A above "
       "the width.",
       "Figure 2E-H uses the range of rates of figure 7, as the printed one ends below PC's best. "
       "Alpha's rates go up to 10^0.3 in figures 3B and 3C, beyond the printed 10^-0.04: in 3B its "
       "best rate lies there.",
       "The spectrum that sets the regulariser is that of the symmetric part, as the paper does "
       "not say which; a = 1e-2 in the autoencoder, where it says none.",
       "The test error of the autoencoder is measured at every tenth step on all 10,000 images.",
       "Projection and recursive projection are drawn beside the paper's models and are not in "
       "the paper."}) {
    document.item(text);
  }
}

std::string correlation_text(const RankCorrelation& correlation) {
  return fmt::format("{:.2f} ({:.2f} to {:.2f})", correlation.rho, correlation.low,
                     correlation.high);
}

// Does the alignment of updates predict how fast a model learns?
void add_efficiency(Document& document, const std::vector<Figure>& figures,
                    const Results& results) {
  std::vector<std::string> ids;
  for (const auto& panel : distinct_panels(figures)) ids.push_back(panel.id);
  const auto batch = efficiency_tasks(results, ids, "target_alignment");
  const auto held_out = efficiency_tasks(results, ids, "held_out_alignment");
  if (batch.empty() || batch.size() != held_out.size()) return;
  document.heading("Does target alignment predict sample efficiency?");
  document.paragraph(
      "Spearman's rank correlation, with its 95 % interval, between the alignment of a run's "
      "updates, averaged over its training until its error is below 1e-28 and only rounding is "
      "left, and its efficiency, minus the mean of log10 of the error. Runs are every model at its "
      "best rate from every seed, without the models that diverged at every rate; over all tasks, "
      "runs are ranked within their task. Models of a task share weights and batches, so that the "
      "intervals "
      "are, if anything, too narrow.");
  Rows rows;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    rows.push_back({batch[i].panel, batch[i].cell, std::to_string(batch[i].alignments.size()),
                    std::to_string(batch[i].diverged), correlation_text(batch[i].correlation),
                    correlation_text(held_out[i].correlation)});
  }
  rows.push_back(
      {"all", "", "", "", correlation_text(pooled(batch)), correlation_text(pooled(held_out))});
  document.table({"panel", "task", "runs", "models that diverged", "alignment on the batch",
                  "on held-out samples"},
                 rows);
}

void add_misprints(Document& document) {
  // Of no run, and so measured once.
  static const auto kMisprints = misprints();
  static const auto kConfirmations = confirmations();
  document.heading("Misprints");
  document.paragraph("Each with a number for the formula as printed and for the one that holds.");
  Rows rows;
  for (const auto& misprint : kMisprints) {
    rows.push_back({misprint.where, misprint.printed, misprint.right, misprint.measure,
                    number(misprint.printed_value), number(misprint.right_value)});
  }
  document.table({"where", "printed", "what holds", "measure", "as printed", "right"}, rows);
  document.heading("Printed right", 3);
  document.paragraph(
      "These look wrong beside other formulas, and hold as they are printed; each number is 0 to "
      "rounding, or to the accuracy of the inference.");
  rows.clear();
  for (const auto& found : kConfirmations) {
    rows.push_back({found.where, found.printed, found.why, found.measure, number(found.value)});
  }
  document.table({"where", "printed", "in which sense", "measure", "as printed"}, rows);
}

// ---- summary.csv

// A metric of the table, and where a summary has it.
const std::vector<std::pair<const char*, const char*>> kMetrics{
    {"target_alignment", "target_alignment"},
    {"batch_alignment", "batch_alignment"},
    {"held_out_alignment", "held_out_alignment"},
    {"final_error", "final_errors"},
    {"log_area", "log_areas"},
    {"early_log_area", "early_log_areas"},
    {"mean_target_alignment", "mean_target_alignments"},
    {"mean_held_out_alignment", "mean_held_out_alignments"}};

void add_rows(std::string& csv, const Panel& panel, const std::string& best_by, const Json& entry,
              const char* metric, const Json& values) {
  auto start =
      fmt::format("{},{}", run::csv_field(panel.id), run::csv_field(entry.value("model", "")));
  for (const auto& key : kKeys) start += fmt::format(",{}", value_text(entry.value(key, Json(""))));
  const auto rate = entry.value("best_rate", Json());
  start += rate.is_number() ? fmt::format(",{}", rate.get<double>()) : ",";
  start += fmt::format(",{}", best_by);
  for (std::size_t s = 0; s < values.size(); ++s) {
    const auto value = values[s].is_number() ? fmt::format("{}", values[s].get<double>()) : "";
    csv += fmt::format("{},{},{},{}\n", start, s, metric, value);
  }
}

std::string summary_csv(const std::vector<Figure>& figures, const Setting& setting) {
  auto csv = fmt::format("panel,model,{},learning_rate,best_by,seed,metric,value\n",
                         fmt::join(kKeys, ","));
  for (const auto& panel : distinct_panels(figures)) {
    const auto results = Results(setting.out).panel(panel.id);
    const auto summary = results ? results->summary() : Json::object();
    const auto best_by = summary.value("best_by", "");
    for (const char* list : {"cells", "models"}) {
      for (const auto& entry : summary.value(list, Json::array())) {
        for (const auto& [metric, key] : kMetrics) {
          if (!entry.contains(key)) continue;
          const auto& found = entry[key];
          add_rows(csv, panel, best_by, entry, metric, found.is_object() ? found["values"] : found);
        }
      }
    }
  }
  return csv;
}

}  // namespace

void write_report(const std::vector<Figure>& figures, Profile profile, const Setting& setting,
                  const std::string& command) {
  const Results results(setting.out);
  const auto verdicts = judge(results);
  Document document("Sample efficiency in predictive coding: the paper again");
  add_origin(document, figures, profile, setting, command);
  add_verdicts(document, verdicts);
  document.heading("The figures");
  for (const auto& figure : figures) {
    if (!is_beyond(figure)) add_figure(document, figure, setting);
  }
  document.heading("Beyond the paper");
  for (const auto& figure : figures) {
    if (is_beyond(figure)) add_figure(document, figure, setting);
  }
  add_efficiency(document, figures, results);
  add_deviations(document);
  add_misprints(document);

  auto json = Json::array();
  for (const auto& verdict : verdicts) json.push_back(to_json(verdict));
  write_file(setting.out / "verdicts.json", json.dump(2) + "\n");
  write_file(setting.out / "summary.csv", summary_csv(figures, setting));
  write_file(setting.out / "report.md", document.markdown());
  write_file(setting.out / "report.html", document.html(setting.out));
}

}  // namespace pcxx::reproduce
