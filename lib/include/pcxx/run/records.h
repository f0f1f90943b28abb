#pragma once

#include <pcxx/config/config.h>

#include <array>
#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pcxx::run {

/// The columns of metrics.csv that every program has and that say what was measured; the columns of
/// the run's own sweep, then `step`, `metric`, `value` follow them. Each is the config key of the
/// same name; `seed` is one of `seeds`.
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

using Columns = std::vector<std::string>;

/// kIdentity, and behind it every other key that the config sweeps or that one of its models sets:
/// `noise = [0, 0.1]` gives a column `noise`.
Columns columns(const config::Config& config);

/// Whether a column says something of the config: it holds the key, and, of a width or a number of
/// layers, `widths` does not list them all.
bool applies(const config::Config& config, std::string_view column);

/// What stands in a column for a config that holds one value of it; `architecture` is "layers" where
/// the key `layers` writes the network.
config::Value column_value(const config::Config& config, std::string_view column);

/// One cell of a sweep: the values of the identity columns, rendered once for all of its rows.
class Cell {
 public:
  /// Every column that applies and that the config holds one value of; the others stay empty.
  Cell(const config::Config& config, const Columns& columns);

  /// The same cell with another value in one column. Throws c10::Error when there is no such
  /// column.
  ///
  ///   auto cell = records.cell(model).with("learning_rate", 0.1).with("seed", 3);
  Cell with(std::string_view column, const config::Value& value) const;
  template <std::integral Integer>
  Cell with(std::string_view column, Integer value) const {
    return with(column, config::Value(static_cast<std::int64_t>(value)));
  }

  /// What stands in a column; empty where there is no such column.
  std::string field(std::string_view column) const;

  /// The columns as CSV, with a comma after each.
  const std::string& text() const { return text_; }

 private:
  void render();

  std::shared_ptr<const Columns> columns_;
  std::vector<std::string> fields_;
  std::string text_;
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
  Records(std::ostream& stream, Columns columns);

  /// The cell of a model of the run.
  Cell cell(const config::Config& model) const { return {model, columns_}; }

  void add(const Cell& cell, std::int64_t step, std::string_view metric, double value);
  /// A measurement that belongs to no step, such as a best rate.
  void add(const Cell& cell, std::string_view metric, double value);

  /// Is told of every measurement of a step that is added from now on.
  using Listener = std::function<void(const Cell& cell, std::int64_t step, std::string_view metric,
                                      double value)>;
  void listen(Listener listener) { listener_ = std::move(listener); }

  std::int64_t rows() const { return rows_; }
  /// Hands everything to the stream; call it at the end.
  void flush();

 private:
  void append(const Cell& cell, std::string_view step, std::string_view metric, double value);

  std::ostream& stream_;
  Columns columns_;
  Listener listener_;
  std::string buffer_;
  std::int64_t rows_ = 0;
};

/// A field of CSV: quoted when it holds a comma, a quote or a line break.
std::string csv_field(std::string_view text);

}  // namespace pcxx::run
