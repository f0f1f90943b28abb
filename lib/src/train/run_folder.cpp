#include <c10/util/Exception.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <pcxx/core/error.h>
#include <pcxx/train/run_folder.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <iterator>
#include <ranges>

#include "train/json_text.h"

namespace pcxx::train {

namespace fs = std::filesystem;

namespace {

// The topmost folder on the way to `path` that is not there yet; empty if all are.
fs::path topmost_missing(fs::path path) {
  fs::path topmost;
  std::error_code ignored;
  for (; !path.empty() && !fs::exists(path, ignored); path = path.parent_path()) topmost = path;
  return topmost;
}

void make_folders(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) user_error("cannot make the folder '{}': {}", path.string(), error.message());
}

// From `path` up to `topmost`; folders that are not empty stay.
void remove_folders(fs::path path, const fs::path& topmost) {
  std::error_code ignored;
  for (; path != topmost; path = path.parent_path()) fs::remove(path, ignored);
  fs::remove(topmost, ignored);
}

// Of a file below a folder.
bool is_file_name(const std::string& name) {
  const fs::path path(name);
  return path.has_filename() && path.is_relative() &&
         std::none_of(path.begin(), path.end(),
                      [](const fs::path& part) { return part == "." || part == ".."; });
}

// And the folders on its way that it leaves empty.
void remove_file(const fs::path& folder, const fs::path& name) {
  std::error_code ignored;
  fs::remove(folder / name, ignored);
  for (auto above = name.parent_path(); !above.empty(); above = above.parent_path()) {
    fs::remove(folder / above, ignored);
  }
}

nlohmann::json environment_of(const fs::path& folder) {
  std::ifstream stream(folder / "environment.json");
  const std::string text(std::istreambuf_iterator<char>(stream), {});
  return parse_json(text);
}

// What the run before this one says it wrote.
std::vector<std::string> listed_files(const fs::path& folder) {
  const auto environment = environment_of(folder);
  std::vector<std::string> names;
  if (!environment.is_object() || !environment.contains("files")) return names;
  for (const auto& name : environment["files"]) {
    if (name.is_string() && is_file_name(name)) names.push_back(name);
  }
  return names;
}

// What a killed run left of a file.
void remove_half_written(const fs::path& file) {
  std::error_code ignored;
  std::vector<fs::path> stale;
  const auto start = fmt::format(".{}.", file.filename().string());
  for (const auto& entry : fs::directory_iterator(file.parent_path(), ignored)) {
    const auto found = entry.path().filename().string();
    if (found.starts_with(start) && found.ends_with(".partial")) {
      stale.push_back(entry.path());
    }
  }
  for (const auto& path : stale) fs::remove(path, ignored);
}

}  // namespace

RunFolder::RunFolder(fs::path path, fs::path created)
    : path_(std::move(path)), created_(std::move(created)) {}

RunFolder::RunFolder(const fs::path& path) : RunFolder(path, topmost_missing(path)) {
  std::error_code ignored;
  if (fs::exists(path_, ignored) && !fs::is_directory(path_, ignored)) {
    user_error("'{}' is a file, not a folder for results", path_.string());
  }
  make_folders(path_);
  if (::access(path_.c_str(), W_OK | X_OK) != 0) {
    user_error("cannot write to the folder '{}': {}", path_.string(), std::strerror(errno));
  }
}

RunFolder RunFolder::fresh(std::string_view program) {
  const fs::path runs = "runs";
  const auto missing = topmost_missing(runs);
  make_folders(runs);
  const std::time_t now = std::time(nullptr);
  const auto name = fmt::format("{}-{:%Y%m%d-%H%M%S}", program, *std::localtime(&now));
  for (int number = 1;; ++number) {
    const auto path = runs / (number == 1 ? name : fmt::format("{}-{}", name, number));
    std::error_code error;
    if (fs::create_directory(path, error)) return {path, missing.empty() ? path : missing};
    if (error) user_error("cannot make the folder '{}': {}", path.string(), error.message());
  }
}

RunFolder RunFolder::scratch() {
  auto name = (fs::temp_directory_path() / "pcxx-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) {
    user_error("cannot make the folder '{}': {}", name, std::strerror(errno));
  }
  return {name, name};
}

RunFolder::~RunFolder() {
  files_.clear();
  if (committed_) return;
  for (const auto& [path, created] : std::views::reverse(made_)) remove_folders(path, created);
  if (!created_.empty()) remove_folders(path_, created_);
}

AtomicFile& RunFolder::file(std::string_view name) {
  TORCH_CHECK(is_file_name(std::string(name)), "'", name, "' is not the name of a file");
  const auto path = path_ / name;
  for (const auto& file : files_) {
    if (file->path() == path) return *file;
  }
  const auto missing = topmost_missing(path.parent_path());
  make_folders(path.parent_path());
  if (!missing.empty()) made_.emplace_back(path.parent_path(), missing);
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    user_error("cannot write '{}': it is a folder", path.string());
  }
  names_.emplace_back(name);
  return *files_.emplace_back(std::make_unique<AtomicFile>(path));
}

void RunFolder::write(std::string_view name, std::string_view text) {
  file(name).stream() << text;
}

void RunFolder::commit() {
  const auto listed = listed_files(path_);
  for (const auto& file : files_) file->close();
  for (const auto& name : listed) {
    const bool stale = std::find(names_.begin(), names_.end(), name) == names_.end();
    if (stale) remove_file(path_, name);
  }
  for (const auto& file : files_) file->commit();
  for (const auto& name : names_) remove_half_written(path_ / name);
  committed_ = true;
}

bool RunFolder::holds_whole_run() const {
  const auto environment = environment_of(path_);
  if (!environment.is_object() || !environment.contains("files")) return false;
  const auto complete = environment.find("complete");
  return complete == environment.end() || *complete == true;
}

}  // namespace pcxx::train
