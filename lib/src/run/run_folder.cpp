#include <c10/util/Exception.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <pcxx/core/error.h>
#include <pcxx/run/run_folder.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <iterator>
#include <ranges>
#include <set>

#include "core/system_calls.h"
#include "io/json_text.h"

namespace pcxx::run {

namespace fs = std::filesystem;

namespace {

constexpr const char* kEnvironment = "environment.json";

// The topmost folder on the way to `path` that is not there yet; empty if all are.
fs::path topmost_missing(fs::path path) {
  fs::path topmost;
  std::error_code ignored;
  for (; !path.empty() && !fs::exists(path, ignored); path = path.parent_path()) topmost = path;
  return topmost;
}

// From `path` up to `topmost`; folders that are not empty stay.
void remove_folders(fs::path path, const fs::path& topmost) {
  for (; path != topmost; path = path.parent_path()) remove_entry(path);
  remove_entry(topmost);
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
  remove_entry(folder / name);
  for (auto above = name.parent_path(); !above.empty(); above = above.parent_path()) {
    remove_entry(folder / above);
  }
}

nlohmann::json environment_of(const fs::path& folder) {
  const auto file = folder / kEnvironment;
  std::error_code ignored;
  if (!fs::is_regular_file(file, ignored)) return nullptr;
  return io::parse_json(read_file(file));
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
  const auto start = fmt::format(".{}.", file.filename().string());
  for (const auto& name : names_in(file.parent_path())) {
    if (name.starts_with(start) && name.ends_with(".partial")) {
      remove_entry(file.parent_path() / name);
    }
  }
}

// While files are replaced, the folder is of no whole run, and lists what is of either. The new
// environment.json ends that.
void announce(const fs::path& folder, std::vector<std::string> files) {
  auto environment = environment_of(folder);
  environment["complete"] = false;
  environment["files"] = std::move(files);
  write_file(folder / kEnvironment, environment.dump(2) + "\n");
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
    file_error("cannot write to the folder", path_, errno);
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
    if (error) file_error("cannot make the folder", path, error.value());
  }
}

RunFolder RunFolder::scratch() {
  auto name = (fs::temp_directory_path() / "pcxx-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) file_error("cannot make the folder", name, errno);
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
  std::vector<std::string> stale;
  std::copy_if(listed.begin(), listed.end(), std::back_inserter(stale), [&](const auto& name) {
    return std::find(names_.begin(), names_.end(), name) == names_.end();
  });
  if (!listed.empty()) {
    auto either = names_;
    either.insert(either.end(), stale.begin(), stale.end());
    announce(path_, either);
  }
  for (const auto& name : stale) remove_file(path_, name);
  std::set<fs::path> folders;
  for (const auto& file : files_) {
    file->commit();
    folders.insert(file->path().parent_path());
  }
  for (const auto& folder : folders) sync_folder(folder);
  for (const auto& name : names_) remove_half_written(path_ / name);
  committed_ = true;
}

std::optional<nlohmann::json> RunFolder::whole_run(const fs::path& folder) {
  auto environment = environment_of(folder);
  if (!environment.is_object() || !environment.contains("files")) return std::nullopt;
  const auto complete = environment.find("complete");
  if (complete != environment.end() && *complete != true) return std::nullopt;
  return environment;
}

}  // namespace pcxx::run
