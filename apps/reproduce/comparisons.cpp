#include "reproduce/comparisons.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "reproduce/statistics.h"

namespace pcxx::reproduce {
namespace {

using Values = std::vector<double>;

std::string name_of(const Identity& model) {
  const nlohmann::json json(model);
  return Entry(json).name();
}

std::string against(const Identity& better, const Identity& worse) {
  return fmt::format("{} against {}", name_of(better), name_of(worse));
}

Comparison open(std::string what, std::string why) {
  return {.what = std::move(what), .notes = {std::move(why)}};
}

// False when too few are left.
bool keep_finite(Values& values, Comparison& comparison) {
  const auto all = values.size();
  std::erase_if(values, [](double value) { return !std::isfinite(value); });
  if (values.size() < all) {
    comparison.notes.push_back(
        fmt::format("{} of {} seeds without a value", all - values.size(), all));
  }
  if (values.size() >= 2) return true;
  comparison.notes.emplace_back("fewer than two seeds");
  return false;
}

Values minus(const Values& a, const Values& b) {
  Values result;
  for (std::size_t s = 0; s < std::min(a.size(), b.size()); ++s) result.push_back(a[s] - b[s]);
  return result;
}

Values scaled(Values values, double factor, double offset = 0) {
  for (double& value : values) value = factor * value + offset;
  return values;
}

void fill(Comparison& comparison, const PairedTest& test) {
  comparison.direction = Direction::kTested;
  comparison.effect = test.mean;
  comparison.low = test.low;
  comparison.high = test.high;
  comparison.p = test.p_greater;
  comparison.p_reversed = test.mean < 0 ? test.p_two_sided : 1;
  comparison.d = test.d;
}

// log10 of errors, tied below the floor.
Values decades(Values errors) {
  for (double& error : errors) error = std::log10(std::max(error, kErrorFloor));
  return errors;
}

// A mean of log10 over steps, not an error.
bool is_area(const std::string& metric) {
  return metric == "log_areas" || metric == "early_log_areas";
}

Values trained(const Entry& entry, const std::string& metric) {
  const auto values = entry.seeds(metric);
  return is_area(metric) ? values : decades(values);
}

void note_edges(Comparison& comparison, const std::vector<Entry>& entries) {
  for (const auto& entry : entries) {
    if (entry.diverged()) {
      comparison.notes.push_back(fmt::format("{} diverged at every rate", entry.name()));
    } else if (entry.edge() != "none") {
      comparison.notes.push_back(
          fmt::format("{}: best rate at the {} edge of its range", entry.name(), entry.edge()));
    }
  }
}

// Seeds from which both end at the floor.
std::size_t ties(const Values& one, const Values& other) {
  std::size_t tied = 0;
  const double floor = std::log10(kErrorFloor);
  for (std::size_t s = 0; s < std::min(one.size(), other.size()); ++s) {
    tied += one[s] <= floor && other[s] <= floor ? 1 : 0;
  }
  return tied;
}

void note_steps(Comparison& comparison, const Entry& better, const Entry& worse) {
  const auto text = [](const Entry& entry) {
    const auto steps = entry.number("steps_to_plain_bp");
    return steps ? fmt::format("{:.0f}", *steps) : std::string("not from every seed");
  };
  comparison.notes.push_back(fmt::format("steps to where BP ends: {} {}, {} {}", better.name(),
                                         text(better), worse.name(), text(worse)));
}

// Excess errors where both have them.
std::string measured(const std::string& metric, const Entry& one, const Entry& other) {
  if (metric != "final_excess_errors") return metric;
  return one.seeds(metric).empty() || other.seeds(metric).empty() ? "final_errors" : metric;
}

Comparison compare_training(const Entry& better, const Entry& worse, const std::string& wanted,
                            std::string what) {
  Comparison comparison{.what = std::move(what)};
  note_edges(comparison, {better, worse});
  if (better.diverged() && worse.diverged()) return comparison;
  if (better.diverged() || worse.diverged()) {
    comparison.direction = better.diverged() ? Direction::kReversed : Direction::kHolds;
    return comparison;
  }
  const auto metric = measured(wanted, better, worse);
  if (metric != wanted) comparison.notes.emplace_back("error, not excess error");
  auto low = trained(better, metric);
  auto high = trained(worse, metric);
  const auto tied = is_area(metric) ? 0 : ties(low, high);
  if (tied > 0) {
    comparison.notes.push_back(fmt::format("{} of {} seeds tied at the floor", tied, low.size()));
  }
  const bool by_speed = tied > 0 && tied == low.size() && !better.seeds("log_areas").empty();
  if (by_speed) {
    comparison.notes.emplace_back("all tied at the floor: judged by the mean log10 error");
    low = trained(better, "log_areas");
    high = trained(worse, "log_areas");
  }
  if (by_speed || metric == "log_areas") note_steps(comparison, better, worse);
  auto differences = minus(high, low);
  if (keep_finite(differences, comparison)) fill(comparison, paired_t_test(differences));
  return comparison;
}

Comparison equivalent(Comparison comparison, const Values& differences, double margin) {
  fill(comparison, paired_t_test(differences));
  const auto below = paired_t_test(scaled(differences, -1, margin));
  const auto above = paired_t_test(scaled(differences, 1, margin));
  const auto& nearer = below.mean < above.mean ? below : above;
  comparison.p = std::max(below.p_greater, above.p_greater);
  comparison.p_reversed = nearer.mean < 0 ? nearer.p_two_sided : 1;
  return comparison;
}

}  // namespace

Identity model(const std::string& rule, const std::string& rescaling) {
  return {{"rule", rule}, {"rescaling", rescaling}};
}

Comparison test_above_zero(std::string what, Values differences) {
  Comparison comparison{.what = std::move(what)};
  if (keep_finite(differences, comparison)) fill(comparison, paired_t_test(differences));
  return comparison;
}

Comparison test_equivalence(std::string what, Values differences, double margin) {
  Comparison comparison{.what = std::move(what)};
  if (!keep_finite(differences, comparison)) return comparison;
  return equivalent(std::move(comparison), differences, margin);
}

Comparison check_exactness(std::string what, const Values& values) {
  Comparison comparison{.what = std::move(what)};
  auto finite = values;
  if (!keep_finite(finite, comparison)) return comparison;
  comparison.effect = 0;
  for (const double value : finite) {
    comparison.effect = std::max(comparison.effect, std::abs(1 - value));
  }
  comparison.direction = comparison.effect <= kExactness ? Direction::kHolds : Direction::kReversed;
  return comparison;
}

Measure more_aligned(const Identity& better, const Identity& worse) {
  return {against(better, worse),
          [=](const PanelResults& panel, const Identity& cell, std::string what) {
            return test_above_zero(std::move(what), minus(alignments(panel, with(cell, better)),
                                                          alignments(panel, with(cell, worse))));
          }};
}

Measure aligned_above(const Identity& model, double threshold) {
  return {fmt::format("{} above {}", name_of(model), threshold),
          [=](const PanelResults& panel, const Identity& cell, std::string what) {
            return test_above_zero(std::move(what),
                                   scaled(alignments(panel, with(cell, model)), 1, -threshold));
          }};
}

Measure aligned_below_one(const Identity& model) {
  return {name_of(model) + " below 1",
          [=](const PanelResults& panel, const Identity& cell, std::string what) {
            return test_above_zero(std::move(what),
                                   scaled(alignments(panel, with(cell, model)), -1, 1));
          }};
}

Measure exact(const Identity& model, const std::string& metric) {
  return {fmt::format("{} of {}", metric, name_of(model)),
          [=](const PanelResults& panel, const Identity& cell, std::string what) {
            return check_exactness(std::move(what), alignments(panel, with(cell, model), metric));
          }};
}

Measure trains_better(const Identity& better, const Identity& worse, const std::string& metric) {
  return {against(better, worse),
          [=](const PanelResults& panel, const Identity& cell, std::string what) {
            const auto low = panel.find(with(cell, better));
            const auto high = panel.find(with(cell, worse));
            if (!low || !high) return open(std::move(what), "not in the results");
            return compare_training(*low, *high, metric, std::move(what));
          }};
}

Measure trains_alike(const Identity& one, const Identity& other, const std::string& metric) {
  return {against(one, other),
          [=](const PanelResults& panel, const Identity& cell, std::string what) {
            auto compared = trains_better(one, other, metric).compare(panel, cell, std::move(what));
            if (compared.direction == Direction::kHolds) compared.direction = Direction::kReversed;
            if (compared.direction != Direction::kTested) return compared;
            const auto values = [&](const Identity& who) {
              return trained(*panel.find(with(cell, who)), metric);
            };
            auto differences = minus(values(other), values(one));
            std::erase_if(differences, [](double d) { return !std::isfinite(d); });
            return equivalent(std::move(compared), differences, kHalfADecade);
          }};
}

Measure more_direct(const Identity& better, const Identity& worse) {
  return {against(better, worse),
          [=](const PanelResults& panel, const Identity& cell, std::string what) {
            const auto way = [&](const Identity& who) {
              const auto entry = panel.find(with(cell, who));
              return entry ? entry->number("path_excess") : std::nullopt;
            };
            const auto shorter = way(better);
            const auto longer = way(worse);
            if (!shorter || !longer) return open(std::move(what), "not in the results");
            return Comparison{
                .what = std::move(what),
                .effect = *longer - *shorter,
                .direction = *longer > *shorter ? Direction::kHolds : Direction::kReversed};
          }};
}

}  // namespace pcxx::reproduce
