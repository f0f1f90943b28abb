#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// What the panels of a reproduction left behind: their summary.json.
namespace pcxx::reproduce {

/// Some keys of an identity and their values: {{"rule", "pc"}, {"width", 20}}.
using Identity = std::map<std::string, nlohmann::json>;

/// `identity` and more of it; what comes later wins.
Identity with(Identity identity, const Identity& more);

/// The object in a file that a program wrote; an empty one where there is no such file or no
/// object.
nlohmann::json read_json(const std::filesystem::path& file);

/// One model of a panel: who it is, and what was measured of it.
class Entry {
 public:
  explicit Entry(const nlohmann::json& json) : json_(&json) {}

  /// Whether every key of the identity is here with that value.
  bool is(const Identity& identity) const;

  /// "PC + alpha".
  std::string name() const;

  /// A key of the identity for people: "kaiming", "8"; empty where there is none.
  std::string text(const std::string& key) const;

  /// Of every seed, NaN where it is not finite: of an alignment, "target_alignment"; of a training,
  /// "final_errors", "log_areas" or, of the first fifth of it, "early_log_areas". Empty when it was
  /// not measured.
  std::vector<double> seeds(const std::string& metric) const;

  /// Every learning rate diverged.
  bool diverged() const;

  /// "none", "low" or "high".
  std::string edge() const;

  /// A number, or nullopt where there is none: "steps_to_plain_bp" of a model that never got there.
  std::optional<double> number(const std::string& key) const;

 private:
  const nlohmann::json* json_;
};

/// A panel that has run.
class PanelResults {
 public:
  explicit PanelResults(nlohmann::json summary) : summary_(std::move(summary)) {}

  /// From the text of a summary.json, which `path` stands for in messages. Throws UserError unless
  /// it has the form that the programs write.
  static PanelResults read(const std::string& text, const std::string& path);

  const nlohmann::json& summary() const { return summary_; }

  /// The first that fits.
  std::optional<Entry> find(const Identity& identity) const;

  /// The values of a numeric key among those that fit, ascending.
  std::vector<double> values(const std::string& key, const Identity& identity) const;

  /// All of them, as long as this lives.
  std::vector<Entry> entries() const;

 private:
  nlohmann::json summary_;
};

/// The panels in folder/panels/<id>/.
class Results {
 public:
  explicit Results(std::filesystem::path folder) : folder_(std::move(folder)) {}

  /// One panel, or several as one: "2F,2H". nullopt when one has not run. UserError names a summary
  /// that cannot be read.
  std::optional<PanelResults> panel(std::string_view ids) const;

 private:
  std::optional<PanelResults> one(const std::string& id) const;

  std::filesystem::path folder_;
};

}  // namespace pcxx::reproduce
