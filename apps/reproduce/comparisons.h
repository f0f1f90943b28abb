#pragma once

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "reproduce/claims.h"

/// What the claims are built from.
namespace pcxx::reproduce {

constexpr double kErrorFloor = 1e-28;  ///< errors below it are tied
constexpr double kExactness = 1e-6;    ///< largest |1 - TA| that passes for 1
constexpr double kHalfADecade = 0.5;   ///< what counts as little help
constexpr double kNearOne = 0.9;       ///< a target alignment above it is near 1
constexpr double kFlat = 0.01;         ///< less than this a doubling is no change of alignment

Identity model(const std::string& rule, const std::string& rescaling = "none");

/// An alignment of a model, per seed; empty where the model is missing.
std::vector<double> alignments(const PanelResults& panel, const Identity& model,
                               const std::string& metric = "target_alignment");

/// Where NaN, a seed is left out. Fewer than two: open.
Comparison test_above_zero(std::string what, std::vector<double> differences);

/// Two one-sided tests of |mean| < margin; reversed when it is beyond.
Comparison test_equivalence(std::string what, std::vector<double> differences, double margin);

/// Largest |1 - value| <= kExactness, without a test.
Comparison check_exactness(std::string what, const std::vector<double>& values);

/// A comparison at one cell of a panel: `cell` is added to the models' identities.
struct Measure {
  std::string label;
  std::function<Comparison(const PanelResults&, const Identity& cell, std::string what)> compare;
};

/// Target alignment of one model above another's.
Measure more_aligned(const Identity& better, const Identity& worse);

/// Target alignment above a number, and below 1.
Measure aligned_above(const Identity& model, double threshold);
Measure aligned_below_one(const Identity& model);

/// target_alignment or batch_alignment is 1.
Measure exact(const Identity& model, const std::string& metric = "target_alignment");

/// Lower error after training: "final_errors", as log10 ratio; or faster: "log_areas". With
/// "final_excess_errors", what no map of that width can fit is left out where it was measured.
/// Where both end below the floor from every seed, the faster one is better.
Measure trains_better(const Identity& better, const Identity& worse,
                      const std::string& metric = "final_errors");

/// Two models within half a decade of each other.
Measure trains_alike(const Identity& one, const Identity& other,
                     const std::string& metric = "final_errors");

/// A shorter way of the prediction to the target; without a test, as there is one seed.
Measure more_direct(const Identity& better, const Identity& worse);

using Compare = std::function<std::vector<Comparison>(const PanelResults&)>;

/// The cells of a panel: the values of a key among the models of an identity.
struct Cells {
  std::string key = {};  ///< empty: one cell
  Identity base = {};
  double from = -std::numeric_limits<double>::infinity();
  double to = std::numeric_limits<double>::infinity();

  std::vector<double> values(const PanelResults& panel) const;
};

/// Every measure at every cell.
Compare each(const Cells& cells, const std::vector<Measure>& measures);

enum class Scale { kLinear, kLog2, kLog10 };

/// Per seed, `sign` x the slope of target alignment over the cells, of one model. Guards: no step
/// between neighbouring cells goes the other way.
Compare trend(const Cells& cells, Scale scale, double sign, const Identity& model);

/// The same of the gap between two models.
Compare gap_trend(const Cells& cells, Scale scale, double sign, const Identity& better,
                  const Identity& worse);

/// From each cell to the next, one model's target alignment changes by less than +- margin.
Compare flat(const Cells& cells, double margin, const Identity& model);

/// Target alignment deviates more from its mean over seeds at the last cell than at the first.
Compare scatters_more(const Cells& cells, const Identity& model);

/// A claim in one reading, to be judged by one panel, or several ("2F,2H").
struct Reading {
  std::string claim;
  std::string reading;
  std::string statement;
  std::string unit;
  std::string panel;
  Compare compare;
};

std::vector<Reading> alignment_readings();
std::vector<Reading> training_readings();

}  // namespace pcxx::reproduce
