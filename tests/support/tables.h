#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <string>

namespace pcxx::test {

/// Largest |a - b| / max(|a|, 1e-3) over the last column of two tables of the same rows; infinite
/// when the rows differ in anything else.
inline double largest_difference(const std::string& a, const std::string& b) {
  std::istringstream left(a);
  std::istringstream right(b);
  double largest = 0;
  for (std::string one, other; std::getline(left, one);) {
    const auto comma = one.rfind(',');
    if (!std::getline(right, other) || other.compare(0, comma + 1, one, 0, comma + 1) != 0) {
      return std::numeric_limits<double>::infinity();
    }
    if (one == other) continue;
    const double x = std::stod(one.substr(comma + 1));
    const double y = std::stod(other.substr(comma + 1));
    largest = std::max(largest, std::abs(x - y) / std::max(std::abs(x), 1e-3));
  }
  return right.peek() == std::char_traits<char>::eof() ? largest
                                                       : std::numeric_limits<double>::infinity();
}

}  // namespace pcxx::test
