#include <fmt/format.h>
#include <pcxx/core/error.h>
#include <pcxx/core/files.h>
#include <pcxx/run/parts.h>

#include <algorithm>
#include <cctype>

#include "core/system_calls.h"
#include "io/archive.h"
#include "io/json_text.h"

namespace pcxx::run {

namespace fs = std::filesystem;

namespace {

fs::path run_file(const fs::path& folder) {
  return folder / "run.json";
}

fs::path job_file(const fs::path& folder, std::size_t job) {
  return folder / fmt::format("job{}.safetensors", job);
}

bool has_run(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(run_file(folder), ignored);
}

// Half-written files begin with a dot.
bool is_of_job(std::string_view name) {
  if (name.starts_with('.')) name.remove_prefix(1);
  return name.starts_with("job") && name.size() > 3 && std::isdigit(name[3]) != 0;
}

bool is_of_run(std::string_view name) {
  return name.starts_with("run.json") || name.starts_with(".run.json.");
}

bool is_ours(std::string_view name) {
  return is_of_job(name) || is_of_run(name);
}

}  // namespace

Parts::Parts(std::vector<fs::path> folders, std::size_t jobs)
    : folders_(std::move(folders)), jobs_(jobs) {}

std::optional<fs::path> Parts::find(std::size_t job) const {
  std::error_code ignored;
  for (const auto& folder : folders_) {
    auto path = job_file(folder, job);
    if (fs::exists(path, ignored) && has_run(folder)) return path;
  }
  return std::nullopt;
}

bool Parts::has(std::size_t job) const {
  return find(job).has_value();
}

std::vector<std::size_t> Parts::missing() const {
  std::vector<std::size_t> result;
  for (std::size_t job = 0; job < jobs_; ++job) {
    if (!has(job)) result.push_back(job);
  }
  return result;
}

Part Parts::read(std::size_t job, const Check& check) const {
  const auto path = find(job);
  TORCH_CHECK(path, "job ", job, " has left no part");
  Part part;
  for (auto& [name, tensor] : io::read_tensors(*path)) part[name] = std::move(tensor);
  try {
    if (check) check(part);
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    user_error("'{}' is no part of its job: {}", path->string(), text.substr(0, text.find('\n')));
  }
  return part;
}

std::vector<std::optional<Part>> Parts::read(const Check& check) const {
  std::vector<std::optional<Part>> parts(jobs_);
  for (std::size_t job = 0; job < jobs_; ++job) {
    if (has(job)) parts[job] = read(job, check);
  }
  return parts;
}

void Parts::write(std::size_t job, const Part& part) const {
  io::write_tensors(job_file(folders_.front(), job), {part.begin(), part.end()});
  remove_entry(checkpoint_path(job));
}

fs::path Parts::checkpoint_path(std::size_t job) const {
  return folders_.front() / fmt::format("job{}.checkpoint.safetensors", job);
}

std::vector<std::size_t> Parts::begun() const {
  std::error_code ignored;
  auto jobs = missing();
  const bool runs = has_run(folders_.front());
  std::erase_if(jobs,
                [&](auto job) { return !runs || !fs::exists(checkpoint_path(job), ignored); });
  return jobs;
}

void Parts::refuse_older(const fs::path& folder) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const auto name = entry.path().filename().string();
    if (!name.starts_with("job") || !name.ends_with(".pt")) continue;
    user_error(
        "'{}' is of an older version, whose files can run code while they are read: "
        "python/pcxx_weights.py with --convert takes the weights out, and without it the run can "
        "only be done again",
        entry.path().string());
  }
}

std::optional<nlohmann::json> Parts::run_of(const fs::path& folder) {
  const auto path = run_file(folder);
  if (!has_run(folder)) return std::nullopt;
  auto run = io::parse_json(read_file(path));
  if (!run.is_object()) user_error("'{}' is damaged", path.string());
  return run;
}

void Parts::begin(const nlohmann::json& run) const {
  const auto& folder = folders_.front();
  // In this order: a program that begins at the same time writes run.json before any job.
  const auto names = names_in(folder);
  if (!has_run(folder)) {
    if (!std::all_of(names.begin(), names.end(), is_ours)) {
      user_error("'{}' is needed for the finished jobs, but holds other files", folder.string());
    }
    for (const auto& name : names) {
      if (is_of_job(name)) remove_entry(folder / name);
    }
  }
  make_folders(folder);
  write_file(run_file(folder),
             run.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

void Parts::remove() const {
  if (remove_entry(run_file(folders_.front()))) discard(folders_.front());
}

void Parts::discard(const fs::path& folder) {
  if (has_run(folder)) return;
  for (const auto& name : names_in(folder)) {
    if (is_ours(name)) remove_entry(folder / name);
  }
  remove_entry(folder);
}

}  // namespace pcxx::run
