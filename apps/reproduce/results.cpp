#include "reproduce/results.h"

#include <pcxx/core/error.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <set>

namespace pcxx::reproduce {

Identity with(Identity identity, const Identity& more) {
  for (const auto& [key, value] : more) identity[key] = value;
  return identity;
}

bool Entry::is(const Identity& identity) const {
  return std::all_of(identity.begin(), identity.end(), [&](const auto& item) {
    const auto found = json_->find(item.first);
    return found != json_->end() && *found == item.second;
  });
}

std::string Entry::name() const {
  const auto* rule = json_->value("rule", "") == "pc" ? "PC" : "BP";
  const auto rescaling = json_->value("rescaling", "none");
  return rescaling == "none" ? rule : fmt::format("{} + {}", rule, rescaling);
}

std::vector<double> Entry::seeds(const std::string& metric) const {
  const auto found = json_->find(metric);
  if (found == json_->end()) return {};
  const auto& list = found->is_object() ? found->value("values", nlohmann::json::array()) : *found;
  std::vector<double> values;
  for (const auto& value : list) {
    values.push_back(value.is_number() ? value.get<double>()
                                       : std::numeric_limits<double>::quiet_NaN());
  }
  return values;
}

std::string Entry::text(const std::string& key) const {
  const auto found = json_->find(key);
  if (found == json_->end()) return "";
  return found->is_string() ? found->get<std::string>() : found->dump();
}

bool Entry::diverged() const {
  const auto rate = json_->find("best_rate");
  return rate != json_->end() && rate->is_null();
}

std::string Entry::edge() const {
  return json_->value("best_rate_at_edge", "none");
}

std::optional<double> Entry::number(const std::string& key) const {
  const auto found = json_->find(key);
  if (found == json_->end() || !found->is_number()) return std::nullopt;
  return found->get<double>();
}

std::vector<Entry> PanelResults::entries() const {
  std::vector<Entry> result;
  for (const char* list : {"cells", "models"}) {
    const auto found = summary_.find(list);
    if (found == summary_.end()) continue;
    for (const auto& json : *found) result.emplace_back(json);
  }
  return result;
}

std::optional<Entry> PanelResults::find(const Identity& identity) const {
  for (const auto& entry : entries()) {
    if (entry.is(identity)) return entry;
  }
  return std::nullopt;
}

std::vector<double> PanelResults::values(const std::string& key, const Identity& identity) const {
  std::set<double> found;
  for (const auto& entry : entries()) {
    if (!entry.is(identity)) continue;
    if (const auto value = entry.number(key)) found.insert(*value);
  }
  return {found.begin(), found.end()};
}

std::optional<PanelResults> Results::panel(std::string_view id) const {
  const auto path = folder_ / "panels" / id / "summary.json";
  std::ifstream file(path);
  if (!file) return std::nullopt;
  auto summary = nlohmann::json::parse(file, nullptr, false);
  if (summary.is_discarded()) user_error("'{}' is not JSON", path.string());
  return PanelResults(std::move(summary));
}

}  // namespace pcxx::reproduce
