#pragma once

#include <sstream>
#include <string>
#include <vector>

namespace pcxx::test {

/// The fields of a row of a CSV file in which none is quoted.
inline std::vector<std::string> fields(const std::string& row) {
  std::vector<std::string> found;
  std::istringstream stream(row);
  for (std::string field; std::getline(stream, field, ',');) found.push_back(field);
  return found;
}

}  // namespace pcxx::test
