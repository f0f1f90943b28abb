#include "reproduce/claims.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "reproduce/comparisons.h"
#include "reproduce/statistics.h"

namespace pcxx::reproduce {
namespace {

using Names = std::vector<std::string>;

bool tested(const Comparison& comparison) {
  return comparison.direction == Direction::kTested;
}

// Without those that speak only where they are reversed.
std::vector<Comparison> answers(const Verdict& verdict) {
  auto found = verdict.comparisons;
  std::erase_if(found, [](const Comparison& comparison) { return comparison.guard; });
  return found;
}

Names names_where(const Verdict& verdict, const std::function<bool(const Comparison&)>& holds) {
  Names names;
  for (const auto& comparison : verdict.comparisons) {
    if (holds(comparison)) names.push_back(comparison.what);
  }
  return names;
}

// Bonferroni over the cells of one verdict.
Names reversed(const Verdict& verdict) {
  const auto cells = std::count_if(verdict.comparisons.begin(), verdict.comparisons.end(), tested);
  return names_where(verdict, [&](const Comparison& comparison) {
    if (!tested(comparison)) return comparison.direction == Direction::kReversed;
    return comparison.p_reversed * static_cast<double>(cells) < kSignificance;
  });
}

// Without an answer; where every cell has one by itself, the weakest after correction.
Names open(const Verdict& verdict) {
  const double factor = verdict.p > 0 ? verdict.p_corrected / verdict.p : 1;
  return names_where(verdict, [&](const Comparison& comparison) {
    if (comparison.guard) return false;
    if (tested(comparison)) return comparison.p * factor >= kSignificance;
    return comparison.direction == Direction::kOpen;
  });
}

// The cell on which the claim hangs; nullptr where none has a number.
const Comparison* weakest(const std::vector<Comparison>& comparisons) {
  const Comparison* found = nullptr;
  for (const auto& comparison : comparisons) {
    if (std::isnan(comparison.effect)) continue;
    const bool exactness = found != nullptr && !tested(comparison) && !tested(*found);
    const bool weaker = found == nullptr || comparison.p > found->p ||
                        (comparison.p == found->p && comparison.effect < found->effect) ||
                        (exactness && comparison.effect > found->effect);
    if (weaker) found = &comparison;
  }
  return found;
}

Verdict compare(const Reading& reading, const Results& results) {
  Verdict verdict{.claim = reading.claim, .reading = reading.reading, .unit = reading.unit};
  const auto panel = results.panel(reading.panel);
  if (!panel) {
    verdict.text = fmt::format("{}: panel {} has not run", reading.statement, reading.panel);
    return verdict;
  }
  verdict.outcome = Outcome::kUndecided;
  verdict.text = reading.statement;
  verdict.comparisons = reading.compare(*panel);
  if (verdict.comparisons.empty()) verdict.notes.emplace_back("no cells in the results");
  std::set<std::string> said;
  for (const auto& comparison : verdict.comparisons) {
    for (const auto& note : comparison.notes) {
      if (said.insert(note).second) verdict.notes.push_back(note);
    }
  }
  const auto cells = answers(verdict);
  if (const auto* cell = weakest(cells)) {
    verdict.effect = cell->effect;
    verdict.low = cell->low;
    verdict.high = cell->high;
    verdict.p = cell->p;
  }
  return verdict;
}

void correct(std::vector<Verdict>& verdicts) {
  std::vector<double> p;
  for (const auto& verdict : verdicts) {
    if (!std::isnan(verdict.p)) p.push_back(verdict.p);
  }
  const auto corrected = holm(p);
  auto next = corrected.begin();
  for (auto& verdict : verdicts) {
    if (!std::isnan(verdict.p)) verdict.p_corrected = *next++;
  }
}

void decide(Verdict& verdict) {
  if (verdict.outcome == Outcome::kNotRun) return;
  const auto against = reversed(verdict);
  const auto unanswered = open(verdict);
  if (!against.empty()) {
    verdict.outcome = Outcome::kNotSupported;
    verdict.text += fmt::format(": not so at {} of {}: {}", against.size(),
                                verdict.comparisons.size(), fmt::join(against, "; "));
  } else if (!unanswered.empty() || verdict.comparisons.empty()) {
    verdict.text += fmt::format(": undecided at {} of {}: {}", unanswered.size(),
                                verdict.comparisons.size(), fmt::join(unanswered, "; "));
  } else {
    verdict.outcome = Outcome::kSupported;
    verdict.text += verdict.comparisons.size() == 1
                        ? std::string(": so")
                        : fmt::format(": so at all {}", verdict.comparisons.size());
  }
}

nlohmann::json json_number(double value) {
  if (std::isnan(value)) return nullptr;
  if (std::isinf(value)) return value > 0 ? "infinite" : "-infinite";
  return value;
}

std::string to_string(Direction direction) {
  switch (direction) {
    case Direction::kTested:
      return "tested";
    case Direction::kHolds:
      return "holds";
    case Direction::kReversed:
      return "reversed";
    case Direction::kOpen:
      break;
  }
  return "open";
}

nlohmann::json to_json(const Comparison& comparison) {
  return {{"what", comparison.what},
          {"effect", json_number(comparison.effect)},
          {"low", json_number(comparison.low)},
          {"high", json_number(comparison.high)},
          {"p", json_number(comparison.p)},
          {"p_reversed", json_number(comparison.p_reversed)},
          {"d", json_number(comparison.d)},
          {"direction", to_string(comparison.direction)},
          {"guard", comparison.guard},
          {"notes", comparison.notes}};
}

}  // namespace

std::string to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::kSupported:
      return "supported";
    case Outcome::kNotSupported:
      return "not supported";
    case Outcome::kUndecided:
      return "undecided";
    case Outcome::kNotRun:
      break;
  }
  return "not run";
}

std::vector<Verdict> judge(const Results& results) {
  auto readings = alignment_readings();
  for (auto& reading : training_readings()) readings.push_back(std::move(reading));
  std::stable_sort(readings.begin(), readings.end(),
                   [](const auto& a, const auto& b) { return a.claim < b.claim; });
  std::vector<Verdict> verdicts;
  for (const auto& reading : readings) verdicts.push_back(compare(reading, results));
  correct(verdicts);
  for (auto& verdict : verdicts) decide(verdict);
  return verdicts;
}

nlohmann::json to_json(const Verdict& verdict) {
  auto comparisons = nlohmann::json::array();
  for (const auto& comparison : verdict.comparisons) comparisons.push_back(to_json(comparison));
  return {{"claim", verdict.claim},
          {"reading", verdict.reading},
          {"text", verdict.text},
          {"outcome", to_string(verdict.outcome)},
          {"effect", json_number(verdict.effect)},
          {"low", json_number(verdict.low)},
          {"high", json_number(verdict.high)},
          {"p", json_number(verdict.p)},
          {"p_corrected", json_number(verdict.p_corrected)},
          {"unit", verdict.unit},
          {"comparisons", std::move(comparisons)},
          {"notes", verdict.notes}};
}

}  // namespace pcxx::reproduce
