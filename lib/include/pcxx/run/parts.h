#pragma once

#include <pcxx/core/state.h>

#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace pcxx::run {

/// What one job of a run measured, by name.
using Part = State;

/// The finished jobs of a run, on disk: `job<i>.safetensors` for each, and `run.json`, which says
/// what run they are of. A file appears whole or not at all, so that whatever ends the program,
/// what is finished stays; several programs may add different jobs to one folder. Jobs in a folder
/// without run.json are what is left of a run that has its results, and count for nothing. Beside
/// them lies `job<i>.checkpoint.safetensors` of a job that was left half done, until it is
/// finished.
class Parts {
 public:
  /// Where a run in `out` keeps its parts.
  static std::filesystem::path folder_in(const std::filesystem::path& out) { return out / "parts"; }

  /// The parts of `jobs` jobs that lie in any of `folders`, which need not exist; `write` adds to
  /// the first.
  Parts(std::vector<std::filesystem::path> folders, std::size_t jobs);

  const std::vector<std::filesystem::path>& folders() const { return folders_; }
  std::size_t jobs() const { return jobs_; }
  bool has(std::size_t job) const;
  std::vector<std::size_t> missing() const;

  /// Throws UserError when the file is damaged, or `check` throws c10::Error.
  using Check = std::function<void(const Part& part)>;
  Part read(std::size_t job, const Check& check = nullptr) const;
  /// Of all jobs; nothing for those that are missing.
  std::vector<std::optional<Part>> read(const Check& check = nullptr) const;
  /// Ends the job: its checkpoint is removed.
  void write(std::size_t job, const Part& part) const;

  /// Where the checkpoint of a job lies, in the first folder.
  std::filesystem::path checkpoint_path(std::size_t job) const;
  /// The jobs that are not finished and have one.
  std::vector<std::size_t> begun() const;

  /// Throws UserError when an older version of this library has left its archives there, which are
  /// not read.
  static void refuse_older(const std::filesystem::path& folder);
  /// run.json of a folder; nothing when there is none.
  static std::optional<nlohmann::json> run_of(const std::filesystem::path& folder);
  /// Makes the first folder and its run.json. What killed programs have left there goes. Throws
  /// UserError when it holds anything else.
  void begin(const nlohmann::json& run) const;
  /// Removes the files of the first folder, and the folder if nothing else is in it. However it is
  /// interrupted, the folder is of the whole run, or without run.json.
  void remove() const;
  /// Ends such a removal, where one has been interrupted.
  static void discard(const std::filesystem::path& folder);

 private:
  std::optional<std::filesystem::path> find(std::size_t job) const;

  std::vector<std::filesystem::path> folders_;
  std::size_t jobs_;
};

}  // namespace pcxx::run
