#include "reproduce/figures.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <pcxx/core/error.h>
#include <pcxx/core/files.h>
#include <toml++/toml.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <sstream>

namespace pcxx::reproduce {

namespace fs = std::filesystem;

namespace {

constexpr std::array kProfiles{Profile::kQuick, Profile::kPaper, Profile::kMore};
constexpr std::string_view kBeyond = "beyond";

using TextViews = std::vector<std::string_view>;

// A table of a file, whose keys are all known.
class TomlTable {
 public:
  TomlTable(const fs::path& file, const toml::table& table, const TextViews& known)
      : file_(file), table_(table) {
    for (const auto& [key, node] : table) {
      if (std::find(known.begin(), known.end(), key.str()) == known.end()) {
        user_error("{}:{}: unknown key {}; known are {}", file.string(), node.source().begin.line,
                   key.str(), fmt::join(known, ", "));
      }
    }
  }

  std::string text(std::string_view key) const {
    const auto value = table_[key].value<std::string>();
    if (!value) fail(key, "a text");
    return *value;
  }
  bool has(std::string_view key) const { return table_.contains(key); }
  std::string text_or(std::string_view key, std::string_view otherwise) const {
    return table_[key] ? text(key) : std::string(otherwise);
  }
  double number_or(std::string_view key, double otherwise) const {
    if (!table_[key]) return otherwise;
    const auto value = table_[key].value<double>();
    if (!value || *value <= 0) fail(key, "a number above 0");
    return *value;
  }
  std::vector<std::string> texts(std::string_view key) const {
    std::vector<std::string> values;
    if (!table_[key]) return values;
    const auto* array = table_[key].as_array();
    if (array == nullptr || !(array->empty() || array->is_homogeneous<std::string>())) {
      fail(key, "a list of texts");
    }
    for (const auto& value : *array) values.push_back(*value.value<std::string>());
    return values;
  }
  TomlTable table(std::string_view key, const TextViews& known) const {
    static const toml::table kEmpty;
    if (!table_[key]) return {file_, kEmpty, known};
    if (!table_[key].is_table()) fail(key, "a table");
    return {file_, *table_[key].as_table(), known};
  }
  std::vector<TomlTable> tables(std::string_view key, const TextViews& known) const {
    const auto* array = table_[key].as_array();
    if (array == nullptr || !array->is_homogeneous<toml::table>()) fail(key, "a list of tables");
    std::vector<TomlTable> tables;
    for (const auto& entry : *array) {
      tables.emplace_back(file_, *entry.as_table(), known);
    }
    return tables;
  }

 private:
  [[noreturn]] void fail(std::string_view key, std::string_view what) const {
    user_error("{}:{}: {} must be {}", file_.string(), table_.source().begin.line, key, what);
  }

  const fs::path& file_;
  const toml::table& table_;
};

toml::table parse(const fs::path& file) {
  const auto text = read_file(file);
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& error) {
    user_error("{}:{}: {}", file.string(), error.source().begin.line, error.description());
  }
}

// A panel that says nothing but its id is another figure's.
Panel read_panel(const TomlTable& table, const fs::path& folder, Profile profile) {
  Panel panel{.id = table.text("id"), .title = "", .program = "", .config = "", .set = {}};
  if (!table.has("program")) return panel;
  panel = {.id = panel.id,
           .title = table.text("title"),
           .program = table.text("program"),
           .config = (folder / table.text("config")).lexically_normal(),
           .set = table.texts("set")};
  if (profile != Profile::kPaper) {
    const auto more = table.texts(name(profile));
    panel.set.insert(panel.set.end(), more.begin(), more.end());
  }
  panel.seconds =
      table.table("seconds", {name(Profile::kQuick), name(Profile::kPaper), name(Profile::kMore)})
          .number_or(name(profile), 1);
  return panel;
}

// figure2.toml is figure 2.
std::string id_of(const fs::path& file) {
  constexpr std::string_view kPrefix = "figure";
  const auto stem = file.stem().string();
  return stem.starts_with(kPrefix) ? stem.substr(kPrefix.size()) : stem;
}

Figure read_figure(const fs::path& file, Profile profile) {
  const auto parsed = parse(file);
  const TomlTable table(file, parsed, {"title", "plot", "columns", "notes", "panels"});
  Figure figure{.id = id_of(file),
                .title = table.text("title"),
                .plot = table.text_or("plot", "curves"),
                .columns = static_cast<int>(table.number_or("columns", 2)),
                .notes = table.text_or("notes", ""),
                .panels = {}};
  for (const auto& panel : table.tables(
           "panels", {"id", "title", "program", "config", "set", "quick", "more", "seconds"})) {
    figure.panels.push_back(read_panel(panel, file.parent_path(), profile));
  }
  return figure;
}

// 1B before 2, 2 before 10, and what is not in the paper last.
std::pair<int, std::string> rank(const Figure& figure) {
  const auto number = std::strtol(figure.id.c_str(), nullptr, 10);
  return {number > 0 ? static_cast<int>(number) : 1000, figure.id};
}

void resolve_panels(std::vector<Figure>& figures) {
  std::map<std::string, Panel> panels;
  for (const auto& figure : figures) {
    for (const auto& panel : figure.panels) {
      if (panel.program.empty()) continue;
      if (!panels.emplace(panel.id, panel).second) {
        user_error("figure {}: there are two panels {}", figure.id, panel.id);
      }
    }
  }
  for (auto& figure : figures) {
    for (auto& panel : figure.panels) {
      const auto found = panels.find(panel.id);
      if (found == panels.end()) {
        user_error("figure {}: panel {} has no program, and no other figure has such a panel",
                   figure.id, panel.id);
      }
      panel = found->second;
    }
  }
}

bool takes(const Figure& figure, std::string_view word) {
  return word == figure.id || (word == kBeyond && figure.id.starts_with(kBeyond));
}

}  // namespace

std::string_view name(Profile profile) {
  return profile == Profile::kQuick ? "quick" : profile == Profile::kPaper ? "paper" : "more";
}

Profile profile_from(std::string_view text) {
  for (const auto profile : kProfiles) {
    if (name(profile) == text) return profile;
  }
  user_error("--profile {} is none of quick, paper, more", text);
}

std::vector<Figure> read_figures(const fs::path& folder, Profile profile) {
  std::error_code error;
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".toml") files.push_back(entry.path());
  }
  if (files.empty()) {
    user_error("'{}' has no figures (PCXX_CONFIGS names the folder of the configs)",
               folder.string());
  }
  std::vector<Figure> figures;
  for (const auto& file : files) figures.push_back(read_figure(file, profile));
  std::sort(figures.begin(), figures.end(),
            [](const Figure& a, const Figure& b) { return rank(a) < rank(b); });
  resolve_panels(figures);
  return figures;
}

std::vector<Figure> select_figures(std::vector<Figure> figures, const std::string& names) {
  if (names.empty()) return figures;
  std::vector<std::string> words;
  std::istringstream list(names);
  for (std::string word; std::getline(list, word, ',');) words.push_back(word);
  std::vector<bool> used(words.size(), false);
  const auto wanted = [&](auto matches) {
    bool any = false;
    for (std::size_t i = 0; i < words.size(); ++i) {
      if (!matches(words[i])) continue;
      used[i] = true;
      any = true;
    }
    return any;
  };
  std::vector<Figure> selected;
  std::vector<std::string> known;
  for (auto& figure : figures) {
    known.push_back(figure.id);
    const bool whole = wanted([&](const auto& word) { return takes(figure, word); });
    std::erase_if(figure.panels, [&](const Panel& panel) {
      return !wanted([&](const auto& word) { return word == panel.id; }) && !whole;
    });
    if (!figure.panels.empty()) selected.push_back(std::move(figure));
  }
  const auto unknown = std::find(used.begin(), used.end(), false);
  if (unknown != used.end()) {
    user_error(
        "--figure: there is no figure or panel '{}'; figures are {}, and {} for those of "
        "our own",
        words[static_cast<std::size_t>(unknown - used.begin())], fmt::join(known, ", "), kBeyond);
  }
  return selected;
}

}  // namespace pcxx::reproduce
