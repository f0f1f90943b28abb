#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <pcxx/train/records.h>

#include <algorithm>
#include <cmath>
#include <iterator>

namespace pcxx::train {
namespace {

constexpr std::size_t kBuffer = std::size_t{1} << 16;

}  // namespace

Cell::Cell(const Config& config) {
  for (std::size_t c = 0; c < kIdentity.size(); ++c) {
    if (!config.has(kIdentity[c])) continue;
    const auto& values = config.values(kIdentity[c]);
    if (values.size() == 1) fields_[c] = to_string(values.front());
  }
  render();
}

Cell Cell::with(std::string_view column, const Value& value) const {
  const auto found = std::find(kIdentity.begin(), kIdentity.end(), column);
  TORCH_CHECK(found != kIdentity.end(), "metrics.csv has no column '", column, "'");
  auto copy = *this;
  copy.fields_[static_cast<std::size_t>(found - kIdentity.begin())] = to_string(value);
  copy.render();
  return copy;
}

void Cell::render() {
  text_.clear();
  for (const auto& field : fields_) text_ += csv_field(field) + ',';
}

Records::Records(std::ostream& stream) : stream_(stream) {
  for (const auto column : kIdentity) buffer_ += fmt::format("{},", column);
  buffer_ += "step,metric,value\n";
}

void Records::add(const Cell& cell, std::int64_t step, std::string_view metric, double value) {
  append(cell, fmt::format_int(step).c_str(), metric, value);
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

}  // namespace pcxx::train
