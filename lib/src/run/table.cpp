#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <pcxx/run/table.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace pcxx::run {

Table::Table(std::vector<std::string> header) {
  rows_.push_back(std::move(header));
}

Table& Table::row(std::vector<std::string> cells) {
  TORCH_CHECK(cells.size() == rows_.front().size(), "a row of ", cells.size(),
              " cells in a table of ", rows_.front().size(), " columns");
  rows_.push_back(std::move(cells));
  return *this;
}

std::string Table::text() const {
  std::vector<std::size_t> widths(rows_.front().size());
  for (const auto& row : rows_) {
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  }
  std::string out;
  for (const auto& row : rows_) {
    if (!out.empty()) out += '\n';
    for (std::size_t c = 0; c < row.size(); ++c) {
      out += c == 0 ? fmt::format("{:<{}}", row[c], widths[c])
                    : fmt::format("  {:>{}}", row[c], widths[c]);
    }
  }
  return out;
}

std::string dead_units_line(const nlohmann::json& models) {
  constexpr double kMany = 0.5;
  std::string named;
  for (const auto& model : models) {
    const auto found = model.find("dead_units");
    if (found == model.end() || !found->is_number() || found->get<double>() < kMany) continue;
    named += fmt::format("{}{} {:.0f} %", named.empty() ? "" : ", ",
                         model["model"].get<std::string>(), 100 * found->get<double>());
  }
  if (named.empty()) return named;
  return "dead hidden units (inactive for every test sample, nothing to learn or to infer): " +
         named;
}

std::string brief(double value, int digits) {
  return std::isfinite(value) ? fmt::format("{:.{}g}", value, digits) : "diverged";
}

}  // namespace pcxx::run
