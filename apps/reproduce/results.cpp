#include "reproduce/results.h"

#include <pcxx/core/error.h>
#include <pcxx/core/files.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <limits>
#include <set>
#include <sstream>

namespace pcxx::reproduce {

namespace fs = std::filesystem;

namespace {

using Json = nlohmann::json;

constexpr int kDeepest = 64;

// The key of an entry, if any, that is there with a value of another kind than it has.
std::optional<std::string> wrong_key(const Json& entry) {
  if (!entry.is_object()) return "keys";
  const auto find = [&](const auto& names, const auto& is_right) -> std::optional<std::string> {
    for (const char* name : names) {
      const auto found = entry.find(name);
      if (found != entry.end() && !is_right(*found)) return name;
    }
    return std::nullopt;
  };
  constexpr std::array texts{"model", "rule", "rescaling", "best_rate_at_edge"};
  constexpr std::array lists{"final_errors", "log_areas", "early_log_areas",
                             "mean_target_alignments", "mean_held_out_alignments"};
  constexpr std::array alignments{"target_alignment", "batch_alignment", "held_out_alignment"};
  auto wrong = find(texts, [](const Json& value) { return value.is_string(); });
  if (!wrong) wrong = find(lists, [](const Json& value) { return value.is_array(); });
  if (!wrong) {
    wrong = find(std::array{"batch_size"}, [](const Json& value) { return value.is_number(); });
  }
  if (wrong) return wrong;
  return find(alignments, [](const Json& value) {
    return value.is_object() && value.contains("values") && value["values"].is_array();
  });
}

// Discarded where the text is no JSON.
Json parse(const std::string& text, const std::string& path) {
  const auto limit = [&](int depth, Json::parse_event_t, const Json&) {
    if (depth > kDeepest) user_error("'{}' is nested more than {} deep", path, kDeepest);
    return true;
  };
  return Json::parse(text, limit, false);
}

}  // namespace

Json read_json(const fs::path& file) {
  std::error_code error;
  if (!fs::is_regular_file(file, error)) return Json::object();
  auto json = parse(read_file(file), file.string());
  return json.is_object() ? json : Json::object();
}

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

PanelResults PanelResults::read(const std::string& text, const std::string& path) {
  auto summary = parse(text, path);
  if (summary.is_discarded()) user_error("'{}' is not JSON", path);
  if (!summary.is_object()) user_error("'{}' is no summary: it holds no object", path);
  if (summary.contains("best_by") && !summary["best_by"].is_string()) {
    user_error("'{}' is no summary: its best_by is no text", path);
  }
  for (const char* list : {"cells", "models"}) {
    const auto found = summary.find(list);
    if (found == summary.end()) continue;
    if (!found->is_array()) user_error("'{}' is no summary: its {} are no list", path, list);
    for (const auto& entry : *found) {
      if (const auto wrong = wrong_key(entry)) {
        user_error("'{}' is no summary: one of its {} has no {} as the programs write it", path,
                   list, *wrong);
      }
    }
  }
  return PanelResults(std::move(summary));
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

std::optional<PanelResults> Results::panel(std::string_view ids) const {
  std::vector<PanelResults> panels;
  std::istringstream list{std::string(ids)};
  for (std::string id; std::getline(list, id, ',');) {
    auto found = one(id);
    if (!found) return std::nullopt;
    panels.push_back(std::move(*found));
  }
  if (panels.size() == 1) return panels.front();
  Json all;
  for (const auto& panel : panels) {
    for (const char* key : {"cells", "models"}) {
      for (const auto& entry : panel.summary().value(key, Json::array())) all[key].push_back(entry);
    }
  }
  return PanelResults(std::move(all));
}

std::optional<PanelResults> Results::one(const std::string& id) const {
  const auto path = folder_ / "panels" / id / "summary.json";
  std::error_code error;
  if (!fs::exists(path, error)) return std::nullopt;
  return PanelResults::read(read_file(path), path.string());
}

}  // namespace pcxx::reproduce
