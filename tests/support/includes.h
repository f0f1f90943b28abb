#pragma once

#include <optional>
#include <string>

namespace pcxx::test {

/// The text between <> or "" of an #include line, or nothing.
inline std::optional<std::string> included_path(const std::string& line) {
  const auto hash = line.find_first_not_of(" \t");
  if (hash == std::string::npos || line[hash] != '#') return std::nullopt;
  const auto word = line.find_first_not_of(" \t", hash + 1);
  if (word == std::string::npos || line.compare(word, 7, "include") != 0) return std::nullopt;
  const auto open = line.find_first_of("<\"", word);
  if (open == std::string::npos) return std::nullopt;
  const auto close = line.find_first_of(">\"", open + 1);
  if (close == std::string::npos) return std::nullopt;
  return line.substr(open + 1, close - open - 1);
}

}  // namespace pcxx::test
