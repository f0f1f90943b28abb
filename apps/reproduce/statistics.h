#pragma once

#include <cstddef>
#include <vector>

/// Statistics of a handful of seeds. Throws c10::Error where a size does not fit.
namespace pcxx::reproduce {

/// P(T <= t) of Student's t with `dof` >= 1 degrees of freedom: the finite series of Abramowitz and
/// Stegun 26.7.3-4. Right to about 1e-15, absolute.
double student_t(double t, int dof);

/// The t with student_t(t, dof) = p, for p in (0, 1), by bisection.
double student_t_quantile(double p, int dof);

/// Whether the mean of paired differences is 0.
struct PairedTest {
  std::size_t pairs = 0;
  double mean = 0;
  double low = 0;  ///< 95 % interval of the mean
  double high = 0;
  double p_greater = 1;  ///< one-sided, against mean <= 0
  double p_two_sided = 1;
  double d = 0;  ///< Cohen's d_z = mean / standard deviation; infinite without scatter
};

/// t test with n - 1 degrees of freedom, n >= 2. Without scatter a mean other than 0 is certain
/// (p = 0 or 1) and a mean of 0 is no evidence (p = 1).
PairedTest paired_t_test(const std::vector<double>& differences);

/// Holm's step-down correction: p values that hold together, in the order given.
std::vector<double> holm(const std::vector<double>& p);

/// 1 for the smallest of the values; tied ones share the mean of their ranks.
std::vector<double> ranks(const std::vector<double>& values);

/// Spearman's rank correlation.
struct RankCorrelation {
  double rho = 0;
  double low = -1;  ///< 95 % interval by Fisher's transformation; [-1, 1] below four pairs
  double high = 1;
  double p = 1;  ///< two-sided, t with n - 2 degrees of freedom
};

/// Tied values share the mean of their ranks; rho = 0 and p = 1 where one side is constant. n >= 3.
RankCorrelation spearman(const std::vector<double>& x, const std::vector<double>& y);

/// Least-squares slope of y over x, n >= 2 and x not constant.
double slope(const std::vector<double>& x, const std::vector<double>& y);

}  // namespace pcxx::reproduce
