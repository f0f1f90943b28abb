#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <pcxx/catalog/model.h>
#include <pcxx/run/records.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "catalog/stack.h"

namespace pcxx::run {
namespace {

constexpr std::size_t kBuffer = std::size_t{1} << 16;

}  // namespace

Columns columns(const config::Config& config) {
  Columns result(kIdentity.begin(), kIdentity.end());
  for (const auto& key : config.schema().keys()) {
    const bool known = std::find(kIdentity.begin(), kIdentity.end(), key.name) != kIdentity.end();
    if (!known && (config.swept(key.name) || config.set_by_models(key.name))) {
      result.push_back(key.name);
    }
  }
  return result;
}

bool applies(const config::Config& config, std::string_view column) {
  constexpr std::array<std::string_view, 4> kReplaced{"hidden_layers", "width", "inputs",
                                                      "outputs"};
  if (!config.has(column)) return false;
  return std::find(kReplaced.begin(), kReplaced.end(), column) == kReplaced.end() ||
         !catalog::lists_widths(config);
}

config::Value column_value(const config::Config& config, std::string_view column) {
  if (column == "architecture" && catalog::has_stack(config)) return std::string("layers");
  return config.values(column).front();
}

Cell::Cell(const config::Config& config, const Columns& columns)
    : columns_(std::make_shared<const Columns>(columns)), fields_(columns.size()) {
  for (std::size_t c = 0; c < columns.size(); ++c) {
    if (!applies(config, columns[c])) continue;
    if (config.values(columns[c]).size() != 1) continue;
    fields_[c] = config::to_string(column_value(config, columns[c]));
  }
  render();
}

Cell Cell::with(std::string_view column, const config::Value& value) const {
  const auto found = std::find(columns_->begin(), columns_->end(), column);
  TORCH_CHECK(found != columns_->end(), "metrics.csv has no column '", column, "'");
  auto copy = *this;
  copy.fields_[static_cast<std::size_t>(found - columns_->begin())] = config::to_string(value);
  copy.render();
  return copy;
}

std::string Cell::field(std::string_view column) const {
  const auto found = std::find(columns_->begin(), columns_->end(), column);
  return found == columns_->end() ? ""
                                  : fields_[static_cast<std::size_t>(found - columns_->begin())];
}

void Cell::render() {
  text_.clear();
  for (const auto& field : fields_) text_ += csv_field(field) + ',';
}

Records::Records(std::ostream& stream, Columns columns)
    : stream_(stream), columns_(std::move(columns)) {
  for (const auto& column : columns_) buffer_ += fmt::format("{},", column);
  buffer_ += "step,metric,value\n";
}

void Records::add(const Cell& cell, std::int64_t step, std::string_view metric, double value) {
  append(cell, fmt::format_int(step).c_str(), metric, value);
  if (listener_) listener_(cell, step, metric, value);
}

void Records::add(const Cell& cell, std::string_view metric, double value) {
  append(cell, "", metric, value);
}

void Records::append(const Cell& cell, std::string_view step, std::string_view metric,
                     double value) {
  if (std::isnan(value)) value = std::abs(value);  // its sign says nothing
  fmt::format_to(std::back_inserter(buffer_), "{}{},{},{}\n", cell.text(), step, csv_field(metric),
                 value);
  ++rows_;
  if (buffer_.size() >= kBuffer) flush();
}

void Records::flush() {
  stream_ << buffer_;
  buffer_.clear();
}

std::string csv_field(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

}  // namespace pcxx::run
