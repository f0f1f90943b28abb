#pragma once

#include <pcxx/core/names.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

/// How fast an error falls. A curve holds the error before training at index 0 and after step t at
/// index t; it is never empty.
namespace pcxx::metrics {

using Curve = std::vector<double>;

/// Errors below this count as this much under the logarithm: the square of float64's rounding,
/// below which curves only jitter.
inline constexpr double kLogFloor = 1e-32;
/// An error this many times the initial one is a diverged run.
inline constexpr double kDivergence = 1e6;
/// Final errors below this are tied, and an average that is to end where rounding begins ends here.
inline constexpr double kTieFloor = 1e-28;

/// True when any error of the curve is not finite or above kDivergence times the first.
bool diverged(const Curve& curve);

/// The first step whose error is at most `threshold`; nullopt if none is. To compare with another
/// model, take its final error as the threshold.
std::optional<std::int64_t> steps_to_reach(const Curve& curve, double threshold);

/// Samples seen until then: steps times the batch size.
std::optional<std::int64_t> samples_to_reach(const Curve& curve, double threshold,
                                             std::int64_t batch_size);

/// Mean over the curve of log10(max(error, kLogFloor)); infinite for a diverged curve.
double area_under_log_curve(const Curve& curve);

/// The same over the first fifth of the steps: how fast training begins.
double early_area_under_log_curve(const Curve& curve);

/// What makes a learning rate the best.
///   kFinal  the lowest mean final error over seeds, as in the paper; those below kTieFloor are
///           tied, and the lowest mean area under the log curve wins
///   kArea   the lowest mean area
enum class BestBy { kFinal, kArea };

/// The learning rate chosen from a sweep.
///
///   index, rate     which of the given rates
///   final_error     mean over seeds of the last error
///   area            mean over seeds of the area under the log curve
///   at_low_edge, at_high_edge  the lowest or highest of several rates: the range should be widened
///   tied            number of rates among which the area decided, this one included
///   diverged_rates  number of rates with a diverged seed
struct BestRate {
  std::size_t index = 0;
  double rate = 0;
  double final_error = 0;
  double area = 0;
  bool at_low_edge = false;
  bool at_high_edge = false;
  std::size_t tied = 0;
  std::size_t diverged_rates = 0;
};

/// Mean over seeds of the last error; infinite when any seed has diverged.
double mean_final_error(const std::vector<Curve>& seeds);

/// The best rate; one with a diverged seed is none, and of equal ones it is the first.
/// `curves[i][s]` is seed s at rates[i]; rates are in any order. nullopt when every rate has
/// diverged. Throws c10::Error when the sizes do not fit.
std::optional<BestRate> best_rate(const std::vector<std::vector<Curve>>& curves,
                                  const std::vector<double>& rates,
                                  BestBy best_by = BestBy::kFinal);

}  // namespace pcxx::metrics

template <>
inline constexpr auto pcxx::kNames<pcxx::metrics::BestBy> =
    std::to_array<pcxx::Named<pcxx::metrics::BestBy>>(
        {{pcxx::metrics::BestBy::kFinal, "final"}, {pcxx::metrics::BestBy::kArea, "area"}});
