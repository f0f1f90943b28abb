#pragma once

#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "reproduce/results.h"

/// The paper's claims (a) to (t), each judged by the results.
namespace pcxx::reproduce {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr double kSignificance = 0.05;

/// How a comparison speaks: by its p values, without a test (exactness, a rival that diverged), or
/// not at all (fewer than two seeds, both diverged, a model that is missing).
enum class Direction { kTested, kHolds, kReversed, kOpen };

/// One cell of a claim, paired over seeds. Numbers that do not exist are NaN.
struct Comparison {
  std::string what;       ///< "hidden layers 8: PC against BP"
  double effect = kNone;  ///< mean over seeds; above 0 as claimed (of equivalence and exactness: 0)
  double low = kNone;     ///< 95 % interval of the effect
  double high = kNone;
  double p = kNone;           ///< one-sided, for the claimed direction
  double p_reversed = kNone;  ///< two-sided, 1 when the effect is as claimed
  double d = kNone;           ///< Cohen's d_z
  Direction direction = Direction::kOpen;
  std::vector<std::string> notes = {};
  /// It speaks only where it is reversed: a step of a trend, which must not go the other way.
  bool guard = false;
};

enum class Outcome { kSupported, kNotSupported, kUndecided, kNotRun };

/// A claim in one of its readings. It holds at every cell or not at all (intersection-union): p is
/// the largest over the cells, effect and interval are those of that cell.
struct Verdict {
  std::string claim;      ///< "a"
  std::string reading;    ///< "Kaiming, depth, B = 1"
  std::string text = {};  ///< one sentence, with the cells that are against it or open
  Outcome outcome = Outcome::kNotRun;
  double effect = kNone;
  double low = kNone;
  double high = kNone;
  double p = kNone;
  double p_corrected = kNone;  ///< Holm, over all verdicts that have a p
  std::string unit = {};       ///< "TA difference" or "decades (log10 ratio)"
  std::vector<Comparison> comparisons = {};
  std::vector<std::string> notes = {};
};

/// Every claim in every reading, in the order of the claims. Supported: corrected p < 0.05, and no
/// cell reversed or open. Not supported: some cell is reversed, without a test or with p < 0.05 /
/// cells.
std::vector<Verdict> judge(const Results& results);

std::string to_string(Outcome outcome);

/// Numbers that do not exist are null.
nlohmann::json to_json(const Verdict& verdict);

}  // namespace pcxx::reproduce
