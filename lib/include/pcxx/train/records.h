#pragma once

#include <pcxx/train/config.h>

#include <array>
#include <concepts>
#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>

namespace pcxx::train {

/// The columns of metrics.csv that say what was measured; `step`, `metric`, `value` follow them.
/// Each is the config key of the same name; `seed` is one of `seeds`.
inline constexpr std::array<std::string_view, 13> kIdentity = {"rule",
                                                               "rescaling",
                                                               "architecture",
                                                               "init",
                                                               "hidden_layers",
                                                               "width",
                                                               "condition_number",
                                                               "batch_size",
                                                               "learning_rate",
                                                               "targets",
                                                               "steps",
                                                               "dtype",
                                                               "seed"};

/// One cell of a sweep: the values of the identity columns, rendered once for all of its rows.
class Cell {
 public:
  Cell() = default;
  /// Every column that the config holds one value of; the others stay empty.
  explicit Cell(const Config& config);

  /// The same cell with another value in one column. Throws c10::Error when there is no such
  /// column.
  ///
  ///   auto cell = Cell(model).with("learning_rate", 0.1).with("seed", 3);
  Cell with(std::string_view column, const Value& value) const;
  template <std::integral Integer>
  Cell with(std::string_view column, Integer value) const {
    return with(column, Value(static_cast<std::int64_t>(value)));
  }

  /// The columns as CSV, with a comma after each.
  const std::string& text() const { return text_; }

 private:
  void render();

  std::array<std::string, kIdentity.size()> fields_;
  std::string text_ = std::string(kIdentity.size(), ',');
};

/// Measurements as tidy CSV, one row each.
///
///   rule,rescaling,...,seed,step,metric,value
///   pc,none,...,0,1,map_error,0.012
///
/// Numbers are written in the shortest form that reads back as the same double; what does not apply
/// is empty.
class Records {
 public:
  /// Writes the header. The stream must outlive the records.
  explicit Records(std::ostream& stream);

  void add(const Cell& cell, std::int64_t step, std::string_view metric, double value);
  /// A measurement that belongs to no step, such as a best rate.
  void add(const Cell& cell, std::string_view metric, double value);

  std::int64_t rows() const { return rows_; }
  /// Hands everything to the stream; call it at the end.
  void flush();

 private:
  void append(const Cell& cell, std::string_view step, std::string_view metric, double value);

  std::ostream& stream_;
  std::string buffer_;
  std::int64_t rows_ = 0;
};

/// A field of CSV: quoted when it holds a comma, a quote or a line break.
std::string csv_field(std::string_view text);

}  // namespace pcxx::train
