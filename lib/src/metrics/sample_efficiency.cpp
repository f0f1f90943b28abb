#include <c10/util/Exception.h>
#include <pcxx/metrics/sample_efficiency.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace pcxx::metrics {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double mean_area(const std::vector<Curve>& seeds) {
  double sum = 0;
  for (const auto& curve : seeds) sum += area_under_log_curve(curve);
  return sum / static_cast<double>(seeds.size());
}

void check(const std::vector<std::vector<Curve>>& curves, const std::vector<double>& rates) {
  TORCH_CHECK(curves.size() == rates.size(), "curves of ", curves.size(), " rates for ",
              rates.size(), " rates");
  for (std::size_t i = 0; i < curves.size(); ++i) {
    TORCH_CHECK(!curves[i].empty() && curves[i].size() == curves.front().size(), "rate ", rates[i],
                " has ", curves[i].size(), " seeds, not ", curves.front().size());
  }
}

}  // namespace

bool diverged(const Curve& curve) {
  TORCH_CHECK(!curve.empty(), "a curve has at least one error");
  return std::any_of(curve.begin(), curve.end(), [&](double error) {
    return !std::isfinite(error) || error > kDivergence * curve.front();
  });
}

std::optional<std::int64_t> steps_to_reach(const Curve& curve, double threshold) {
  const auto found =
      std::find_if(curve.begin(), curve.end(), [&](double error) { return error <= threshold; });
  if (found == curve.end()) return std::nullopt;
  return found - curve.begin();
}

std::optional<std::int64_t> samples_to_reach(const Curve& curve, double threshold,
                                             std::int64_t batch_size) {
  const auto steps = steps_to_reach(curve, threshold);
  if (!steps) return std::nullopt;
  return *steps * batch_size;
}

double early_area_under_log_curve(const Curve& curve) {
  constexpr std::size_t kParts = 5;
  const auto steps = (curve.size() - 1) / kParts;
  return area_under_log_curve(
      {curve.begin(), curve.begin() + static_cast<std::ptrdiff_t>(steps) + 1});
}

double area_under_log_curve(const Curve& curve) {
  if (diverged(curve)) return kInfinity;
  double sum = 0;
  for (const double error : curve) sum += std::log10(std::max(error, kLogFloor));
  return sum / static_cast<double>(curve.size());
}

double mean_final_error(const std::vector<Curve>& seeds) {
  TORCH_CHECK(!seeds.empty(), "a mean over seeds needs at least one");
  if (std::any_of(seeds.begin(), seeds.end(), diverged)) return kInfinity;
  double sum = 0;
  for (const auto& curve : seeds) sum += curve.back();
  return sum / static_cast<double>(seeds.size());
}

std::optional<BestRate> best_rate(const std::vector<std::vector<Curve>>& curves,
                                  const std::vector<double>& rates, BestBy best_by) {
  check(curves, rates);
  std::vector<double> errors;
  for (const auto& seeds : curves) errors.push_back(mean_final_error(seeds));
  const auto lowest = std::min_element(errors.begin(), errors.end());
  if (lowest == errors.end() || *lowest == kInfinity) return std::nullopt;

  BestRate best;
  best.diverged_rates =
      static_cast<std::size_t>(std::count(errors.begin(), errors.end(), kInfinity));
  for (std::size_t i = 0; i < rates.size(); ++i) {
    const double bound = best_by == BestBy::kFinal ? std::max(*lowest, kTieFloor)
                                                   : std::numeric_limits<double>::max();
    if (errors[i] > bound) continue;
    const double area = mean_area(curves[i]);
    if (best.tied++ == 0 || area < best.area) {
      best.index = i;
      best.area = area;
    }
  }
  best.rate = rates[best.index];
  best.final_error = errors[best.index];
  const auto [low, high] = std::minmax_element(rates.begin(), rates.end());
  best.at_low_edge = *low < *high && best.rate == *low;
  best.at_high_edge = *low < *high && best.rate == *high;
  return best;
}

}  // namespace pcxx::metrics
