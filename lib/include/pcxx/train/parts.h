#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace pcxx::train {

/// What one job of a run measured, by name.
using Part = std::map<std::string, at::Tensor>;

/// The finished jobs of a run, on disk: `job<i>.pt` for each, and `run.json`, which says what run
/// they are of. A file appears whole or not at all, so that whatever ends the program, what is
/// finished stays; several programs may add different jobs to one folder. Beside them lies
/// `job<i>.checkpoint.pt` of a job that was left half done, until it is finished.
class Parts {
 public:
  /// The parts of `jobs` jobs that lie in any of `folders`, which need not exist; `write` adds to
  /// the first.
  Parts(std::vector<std::filesystem::path> folders, std::size_t jobs);

  const std::vector<std::filesystem::path>& folders() const { return folders_; }
  std::size_t jobs() const { return jobs_; }
  bool has(std::size_t job) const;
  std::vector<std::size_t> missing() const;

  /// Throws UserError when the file is damaged.
  Part read(std::size_t job) const;
  /// Of all jobs; nothing for those that are missing.
  std::vector<std::optional<Part>> read() const;
  /// Ends the job: its checkpoint is removed.
  void write(std::size_t job, const Part& part) const;

  /// Where the checkpoint of a job lies, in the first folder.
  std::filesystem::path checkpoint_path(std::size_t job) const;
  /// The jobs that are not finished and have one.
  std::vector<std::size_t> begun() const;

  /// run.json of a folder; nothing when there is none.
  static std::optional<nlohmann::json> run_of(const std::filesystem::path& folder);
  /// Makes the first folder and its run.json. Throws UserError when it holds anything else.
  void begin(const nlohmann::json& run) const;
  /// Removes the files of the first folder, and the folder if nothing else is in it.
  void remove() const;

 private:
  std::optional<std::filesystem::path> find(std::size_t job) const;

  std::vector<std::filesystem::path> folders_;
  std::size_t jobs_;
};

}  // namespace pcxx::train
