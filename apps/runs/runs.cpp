#include "runs/runs.h"

#include <fmt/format.h>
#include <pcxx/core/error.h>
#include <pcxx/core/files.h>
#include <pcxx/core/standard_streams.h>
#include <pcxx/run/run_folder.h>
#include <pcxx/run/table.h>
#include <pcxx/version.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

namespace pcxx::runs {

namespace fs = std::filesystem;

namespace {

using Json = nlohmann::json;

constexpr const char* kName = "pcxx-runs";
constexpr int kDeepest = 4;  // folders within each other

constexpr const char* kHelp =
    R"(Lists the runs in a folder, the youngest first: when, which program, on what, and the model that
ended with the lowest error.

Usage: pcxx-runs [FOLDER] [options]

Examples:
  # runs/, where programs leave their results without --out
  pcxx-runs
  # the runs of a study
  pcxx-runs studies/width

Options:
  --version         print the version, and end
  -h, --help        print this, and end

Exit codes: 0 done, 2 bad input
)";

// An object; an empty one where the file has none.
Json read_object(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return Json::object();
  auto json = Json::parse(read_file(path), nullptr, /*allow_exceptions=*/false);
  return json.is_object() ? json : Json::object();
}

std::string text_of(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

std::string without(std::string text, std::string_view beginning) {
  return text.starts_with(beginning) ? text.substr(beginning.size()) : text;
}

// "2026-12-01 01:50" of "2026-12-01T01:50:11Z".
std::string minute_of(std::string date) {
  std::ranges::replace(date, 'T', ' ');
  return date.substr(0, 16);
}

std::optional<double> final_error(const Json& model) {
  const auto found = model.is_object() ? model.find("final_error") : model.end();
  if (!model.is_object() || found == model.end() || !found->is_number()) return std::nullopt;
  return found->get<double>();
}

void add_models(Row& row, const Json& summary) {
  const auto models = summary.find("models");
  if (models == summary.end() || !models->is_array() || models->empty()) return;
  row.models = std::to_string(models->size());
  std::optional<double> least;
  for (const auto& model : *models) {
    const auto error = final_error(model);
    if (!error || (least && *error >= *least)) continue;
    least = error;
    row.best = text_of(model, "model");
    row.error = run::brief(*error);
  }
}

// Nothing where the folder is no run's.
std::optional<Row> row_of(const fs::path& folder, const fs::path& below) {
  Row row;
  row.folder = fs::proximate(folder, below).string();
  std::error_code ignored;
  const auto environment = run::RunFolder::whole_run(folder);
  if (!environment) {
    if (!fs::exists(folder / "parts" / "run.json", ignored)) return std::nullopt;
    row.date = "unfinished";
    row.program = without(text_of(read_object(folder / "parts" / "run.json"), "program"), "pcxx-");
    return row;
  }
  row.date = minute_of(text_of(*environment, "date"));
  row.program = without(text_of(*environment, "program"), "pcxx-");
  const auto summary = read_object(folder / "summary.json");
  row.dataset = text_of(summary, "dataset");
  add_models(row, summary);
  return row;
}

void search(const fs::path& folder, const fs::path& below, int depth, std::vector<Row>& rows) {
  if (auto row = row_of(folder, below)) rows.push_back(std::move(*row));
  if (depth == kDeepest) return;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.is_directory(ignored) && !entry.is_symlink(ignored)) {
      search(entry.path(), below, depth + 1, rows);
    }
  }
}

// Whatever bytes a folder or a file has: a terminal is told nothing by them.
std::string printable(std::string text) {
  std::ranges::replace_if(text, [](unsigned char c) { return c < 32 || c == 127; }, '?');
  return text;
}

std::string table_of(const std::vector<Row>& rows) {
  run::Table table({"run", "date", "program", "data set", "models", "best model", "final error"});
  for (const auto& row : rows) {
    std::vector<std::string> cells;
    for (const auto& cell :
         {row.folder, row.date, row.program, row.dataset, row.models, row.best, row.error}) {
      cells.push_back(printable(cell));
    }
    table.row(std::move(cells));
  }
  return table.text();
}

int list(const fs::path& folder) {
  if (!fs::is_directory(folder)) {
    user_error("there is no folder '{}': a program makes runs/ when it is run without --out",
               folder.string());
  }
  const auto rows = find_runs(folder);
  print_to(stdout, rows.empty() ? fmt::format("no run lies in '{}'\n", folder.string())
                                : table_of(rows) + '\n');
  return 0;
}

int answer(const std::vector<std::string>& words) {
  fs::path folder = "runs";
  if (words.size() > 1) user_error("one folder at a time: {}", words[1]);
  if (!words.empty()) {
    if (words[0] == "--help" || words[0] == "-h") return print_to(stdout, kHelp), 0;
    if (words[0] == "--version") {
      return print_to(stdout, fmt::format("{} {}\n", kName, PCXX_VERSION)), 0;
    }
    if (words[0].starts_with('-'))
      user_error("no option is called '{}'; --help shows all", words[0]);
    folder = words[0];
  }
  return list(folder);
}

}  // namespace

std::vector<Row> find_runs(const fs::path& below) {
  std::vector<Row> rows;
  search(below, below, 0, rows);
  std::ranges::sort(rows, [](const Row& a, const Row& b) {
    return a.date == b.date ? a.folder < b.folder : a.date > b.date;
  });
  return rows;
}

int run(int argc, const char* const* argv) {
  try {
    return answer({argv + std::min(argc, 1), argv + argc});
  } catch (const UserError& error) {
    print_to(stderr, fmt::format("{}: {}\n", kName, error.what()));
    return 2;
  } catch (const std::exception& error) {
    print_to(stderr, fmt::format("{}: {}\n", kName, error.what()));
    return 1;
  }
}

}  // namespace pcxx::runs
