#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "reproduce/comparisons.h"
#include "reproduce/statistics.h"

namespace pcxx::reproduce {
namespace {

using Values = std::vector<double>;

std::string label_of(const std::string& key, double value) {
  auto words = key;
  std::replace(words.begin(), words.end(), '_', ' ');
  return fmt::format("{} {:g}", words, value);
}

double on(Scale scale, double value) {
  if (scale == Scale::kLog2) return std::log2(value);
  return scale == Scale::kLog10 ? std::log10(value) : value;
}

// Of every cell and seed, [cell][seed].
using Table = std::vector<Values>;

Table alignments_of(const Cells& cells, const PanelResults& panel, const Identity& model) {
  Table table;
  for (const double value : cells.values(panel)) {
    table.push_back(alignments(panel, with(with(cells.base, {{cells.key, value}}), model)));
  }
  return table;
}

std::size_t seeds_of(const Table& table) {
  std::size_t seeds = std::numeric_limits<std::size_t>::max();
  for (const auto& row : table) seeds = std::min(seeds, row.size());
  return table.size() < 2 ? 0 : seeds;
}

// Per seed; none where there are fewer than two cells.
Values slopes(const Cells& cells, const PanelResults& panel, Scale scale, const Table& table) {
  Values x;
  for (const double value : cells.values(panel)) x.push_back(on(scale, value));
  Values result;
  for (std::size_t s = 0; s < seeds_of(table); ++s) {
    Values y;
    for (const auto& row : table) y.push_back(row[s]);
    result.push_back(slope(x, y));
  }
  return result;
}

Values deviations(const Values& values) {
  double sum = 0;
  int count = 0;
  for (const double value : values) {
    if (!std::isfinite(value)) continue;
    sum += value;
    ++count;
  }
  Values result;
  for (const double value : values) result.push_back(std::abs(value - sum / count));
  return result;
}

std::string over(const Cells& cells) {
  auto words = cells.key;
  std::replace(words.begin(), words.end(), '_', ' ');
  return "slope over " + words;
}

// Per step from one row to the next, its label and the seeds' differences.
std::vector<std::pair<std::string, Values>> steps_of(const Cells& cells, const PanelResults& panel,
                                                     const Table& table) {
  const auto values = cells.values(panel);
  std::vector<std::pair<std::string, Values>> steps;
  for (std::size_t i = 1; i < table.size(); ++i) {
    Values differences;
    for (std::size_t s = 0; s < seeds_of(table); ++s) {
      differences.push_back(table[i][s] - table[i - 1][s]);
    }
    steps.emplace_back(fmt::format("{} to {:g}", label_of(cells.key, values[i - 1]), values[i]),
                       differences);
  }
  return steps;
}

// The slope, and what must not go the other way from cell to cell.
std::vector<Comparison> rising(const Cells& cells, const PanelResults& panel, Scale scale,
                               double sign, const Table& table) {
  std::vector<Comparison> result;
  auto found = slopes(cells, panel, scale, table);
  for (double& value : found) value *= sign;
  result.push_back(test_above_zero(over(cells), std::move(found)));
  for (auto& [what, differences] : steps_of(cells, panel, table)) {
    for (double& value : differences) value *= sign;
    result.push_back(test_above_zero(what, std::move(differences)));
    result.back().guard = true;
  }
  return result;
}

}  // namespace

std::vector<double> alignments(const PanelResults& panel, const Identity& model,
                               const std::string& metric) {
  const auto entry = panel.find(model);
  return entry ? entry->seeds(metric) : Values{};
}

std::vector<double> Cells::values(const PanelResults& panel) const {
  auto found = panel.values(key, base);
  std::erase_if(found, [&](double value) { return value < from || value > to; });
  return found;
}

Compare each(const Cells& cells, const std::vector<Measure>& measures) {
  return [=](const PanelResults& panel) {
    std::vector<Comparison> result;
    if (cells.key.empty()) {
      for (const auto& [label, compare] : measures) {
        result.push_back(compare(panel, cells.base, label));
      }
      return result;
    }
    for (const double value : cells.values(panel)) {
      const auto cell = with(cells.base, {{cells.key, value}});
      for (const auto& [label, compare] : measures) {
        result.push_back(compare(panel, cell, label_of(cells.key, value) + ": " + label));
      }
    }
    return result;
  };
}

Compare trend(const Cells& cells, Scale scale, double sign, const Identity& model) {
  return [=](const PanelResults& panel) {
    return rising(cells, panel, scale, sign, alignments_of(cells, panel, model));
  };
}

Compare gap_trend(const Cells& cells, Scale scale, double sign, const Identity& better,
                  const Identity& worse) {
  return [=](const PanelResults& panel) {
    auto gaps = alignments_of(cells, panel, better);
    const auto other = alignments_of(cells, panel, worse);
    for (std::size_t i = 0; i < gaps.size(); ++i) {
      gaps[i].resize(std::min(gaps[i].size(), other[i].size()));
      for (std::size_t s = 0; s < gaps[i].size(); ++s) gaps[i][s] -= other[i][s];
    }
    return rising(cells, panel, scale, sign, gaps);
  };
}

Compare flat(const Cells& cells, double margin, const Identity& model) {
  return [=](const PanelResults& panel) {
    std::vector<Comparison> result;
    for (auto& [what, differences] : steps_of(cells, panel, alignments_of(cells, panel, model))) {
      result.push_back(test_equivalence(what, std::move(differences), margin));
    }
    return result;
  };
}

Compare scatters_more(const Cells& cells, const Identity& model) {
  return [=](const PanelResults& panel) -> std::vector<Comparison> {
    const auto values = cells.values(panel);
    const auto table = alignments_of(cells, panel, model);
    const auto seeds = seeds_of(table);
    Values differences;
    for (std::size_t s = 0; s < seeds; ++s) {
      differences.push_back(deviations(table.back())[s] - deviations(table.front())[s]);
    }
    const auto what = seeds == 0 ? "scatter"
                                 : fmt::format("{} against {}", label_of(cells.key, values.back()),
                                               label_of(cells.key, values.front()));
    return {test_above_zero(what, std::move(differences))};
  };
}

}  // namespace pcxx::reproduce
