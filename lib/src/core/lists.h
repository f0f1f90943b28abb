#pragma once

#include <algorithm>
#include <limits>
#include <vector>

namespace pcxx {

/// What was not measured.
inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

template <typename Value, typename Wanted>
bool contains(const std::vector<Value>& values, const Wanted& wanted) {
  return std::find(values.begin(), values.end(), wanted) != values.end();
}

}  // namespace pcxx
