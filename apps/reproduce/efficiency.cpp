#include "reproduce/efficiency.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace pcxx::reproduce {
namespace {

// What makes a task of its own, beside the panel.
std::string cell_of(const Entry& entry) {
  std::string text;
  for (const char* key : {"init", "hidden_layers", "width", "batch_size"}) {
    const auto value = entry.text(key);
    if (value.empty()) continue;
    if (!text.empty()) text += ", ";
    text.append(key).append(" ").append(value);
  }
  return text;
}

void add_runs(EfficiencyTask& task, const Entry& entry, const std::string& measure) {
  const auto alignments = entry.seeds("mean_" + measure + "s");
  const auto areas = entry.seeds("log_areas");
  for (std::size_t s = 0; s < std::min(alignments.size(), areas.size()); ++s) {
    if (!std::isfinite(alignments[s]) || !std::isfinite(areas[s])) continue;
    task.alignments.push_back(alignments[s]);
    task.efficiencies.push_back(-areas[s]);
  }
}

// From 0 for the smallest to 1 for the largest.
std::vector<double> relative_ranks(const std::vector<double>& values) {
  auto places = ranks(values);
  for (auto& place : places) place = (place - 1) / static_cast<double>(places.size() - 1);
  return places;
}

}  // namespace

std::vector<EfficiencyTask> efficiency_tasks(const Results& results,
                                             const std::vector<std::string>& panels,
                                             const std::string& measure) {
  constexpr std::size_t kFewest = 3;
  std::vector<EfficiencyTask> tasks;
  for (const auto& id : panels) {
    const auto panel = results.panel(id);
    if (!panel) continue;
    std::map<std::string, EfficiencyTask> cells;
    for (const auto& entry : panel->entries()) {
      const auto cell = cell_of(entry);
      auto& task = cells[cell];
      task.panel = id;
      task.cell = cell;
      task.diverged += entry.diverged() ? 1 : 0;
      add_runs(task, entry, measure);
    }
    for (auto& [cell, task] : cells) {
      if (task.alignments.size() < kFewest) continue;
      task.correlation = spearman(task.alignments, task.efficiencies);
      tasks.push_back(std::move(task));
    }
  }
  return tasks;
}

RankCorrelation pooled(const std::vector<EfficiencyTask>& tasks) {
  std::vector<double> alignments;
  std::vector<double> efficiencies;
  for (const auto& task : tasks) {
    const auto x = relative_ranks(task.alignments);
    const auto y = relative_ranks(task.efficiencies);
    alignments.insert(alignments.end(), x.begin(), x.end());
    efficiencies.insert(efficiencies.end(), y.begin(), y.end());
  }
  return spearman(alignments, efficiencies);
}

}  // namespace pcxx::reproduce
