#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace pcxx::run {

/// A table for the terminal: the first column flush left, the others flush right.
///
///   Table table({"model", "best rate", "final error"});
///   table.row({"pc", "0.5", "1.2e-21"});
///   run.print("{}", table.text());
class Table {
 public:
  explicit Table(std::vector<std::string> header);

  /// Throws c10::Error on another number of cells than the header has.
  Table& row(std::vector<std::string> cells);

  /// Lines without a line break after the last.
  std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

/// A number with `digits` significant digits, for people: "0.0123", "1.23e-21", "diverged" for what
/// is not finite.
std::string brief(double value, int digits = 3);

/// One line on the models of a summary of which half of the hidden ReLU units or more are dead
/// (`dead_units`, metrics/dead_units.h); empty where there are none.
std::string dead_units_line(const nlohmann::json& models);

}  // namespace pcxx::run
