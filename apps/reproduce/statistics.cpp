#include "reproduce/statistics.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

namespace pcxx::reproduce {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNormalQuantile = 1.959963984540054;  // of 0.975

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// P(|T| <= t) for t >= 0.
double central_probability(double t, int dof) {
  const double theta = std::atan(t / std::sqrt(static_cast<double>(dof)));
  const double cosine = std::cos(theta);
  const bool odd = dof % 2 == 1;
  double term = odd ? cosine : 1;
  double sum = dof == 1 ? 0 : term;
  for (int k = odd ? 3 : 2; k <= dof - 2; k += 2) {
    term *= cosine * cosine * (k - 1) / k;
    sum += term;
  }
  const double series = std::sin(theta) * sum;
  return std::min(1.0, odd ? 2 / std::numbers::pi * (theta + series) : series);
}

PairedTest without_scatter(PairedTest test) {
  test.low = test.high = test.mean;
  if (test.mean == 0) return test;
  test.p_two_sided = 0;
  test.p_greater = test.mean > 0 ? 0 : 1;
  test.d = std::copysign(kInfinity, test.mean);
  return test;
}

// Sum of (x - mean x)(y - mean y).
double cross_products(const std::vector<double>& x, const std::vector<double>& y) {
  const double mean_x = mean_of(x);
  const double mean_y = mean_of(y);
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += (x[i] - mean_x) * (y[i] - mean_y);
  return sum;
}

}  // namespace

std::vector<double> ranks(const std::vector<double>& values) {
  std::vector<double> result;
  for (const double value : values) {
    const auto below =
        std::count_if(values.begin(), values.end(), [&](double v) { return v < value; });
    const auto equal = std::count(values.begin(), values.end(), value);
    result.push_back(static_cast<double>(below) + static_cast<double>(equal + 1) / 2);
  }
  return result;
}

double student_t(double t, int dof) {
  TORCH_CHECK(dof >= 1, dof, " degrees of freedom");
  const double tail = (1 - central_probability(std::abs(t), dof)) / 2;
  return t < 0 ? tail : 1 - tail;
}

double student_t_quantile(double p, int dof) {
  TORCH_CHECK(p > 0 && p < 1, "no quantile of ", p);
  double low = -1;
  double high = 1;
  while (student_t(low, dof) > p) low *= 2;
  while (student_t(high, dof) < p) high *= 2;
  while (true) {
    const double middle = low + (high - low) / 2;
    if (middle <= low || middle >= high) return middle;
    (student_t(middle, dof) < p ? low : high) = middle;
  }
}

PairedTest paired_t_test(const std::vector<double>& differences) {
  const auto pairs = differences.size();
  TORCH_CHECK(pairs >= 2, "a t test of ", pairs, " differences");
  PairedTest test{.pairs = pairs, .mean = mean_of(differences)};
  const auto [least, largest] = std::minmax_element(differences.begin(), differences.end());
  if (*least == *largest) {
    test.mean = *least;
    return without_scatter(test);
  }
  const int dof = static_cast<int>(pairs) - 1;
  const double deviation = std::sqrt(cross_products(differences, differences) / dof);
  const double error = deviation / std::sqrt(static_cast<double>(pairs));
  const double margin = student_t_quantile(0.975, dof) * error;
  test.low = test.mean - margin;
  test.high = test.mean + margin;
  test.p_greater = student_t(-test.mean / error, dof);
  test.p_two_sided = 2 * student_t(-std::abs(test.mean) / error, dof);
  test.d = test.mean / deviation;
  return test;
}

std::vector<double> holm(const std::vector<double>& p) {
  std::vector<std::size_t> order(p.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return p[a] < p[b]; });
  std::vector<double> corrected(p.size());
  double largest = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    largest = std::max(largest, static_cast<double>(p.size() - i) * p[order[i]]);
    corrected[order[i]] = std::min(1.0, largest);
  }
  return corrected;
}

RankCorrelation spearman(const std::vector<double>& x, const std::vector<double>& y) {
  TORCH_CHECK(x.size() == y.size() && x.size() >= 3, "a rank correlation of ", x.size(), " and ",
              y.size(), " values");
  const auto rank_x = ranks(x);
  const auto rank_y = ranks(y);
  const double scale = cross_products(rank_x, rank_x) * cross_products(rank_y, rank_y);
  if (scale == 0) return {};
  RankCorrelation result{.rho = cross_products(rank_x, rank_y) / std::sqrt(scale)};
  const auto n = static_cast<double>(x.size());
  if (std::abs(result.rho) >= 1 - 1e-15) {
    result.rho = result.low = result.high = std::copysign(1.0, result.rho);
    result.p = 0;
    return result;
  }
  const double t = result.rho * std::sqrt((n - 2) / (1 - result.rho * result.rho));
  result.p = 2 * student_t(-std::abs(t), static_cast<int>(x.size()) - 2);
  if (x.size() > 3) {
    const double margin = kNormalQuantile / std::sqrt(n - 3);
    result.low = std::tanh(std::atanh(result.rho) - margin);
    result.high = std::tanh(std::atanh(result.rho) + margin);
  }
  return result;
}

double slope(const std::vector<double>& x, const std::vector<double>& y) {
  TORCH_CHECK(x.size() == y.size() && x.size() >= 2, "a slope through ", x.size(), " and ",
              y.size(), " values");
  const double squares = cross_products(x, x);
  TORCH_CHECK(squares > 0, "a slope over a constant");
  return cross_products(x, y) / squares;
}

}  // namespace pcxx::reproduce
