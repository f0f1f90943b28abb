#pragma once

#include <pcxx/core/files.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pcxx::run {

/// The folder of one run: config.toml, environment.json, metrics.csv, summary.json, and what else
/// the program leaves there.
///
/// Its files are written beside their final names and renamed, all of them, by `commit()`. Without
/// a commit nothing is left of them, nor of folders made for them, and the files of an older run
/// stay as they were.
///
/// A commit takes an older run's place whole: files that its environment.json lists under "files"
/// and that this run did not write, such as the weights and the figure of other models, are
/// removed, so that whatever the folder lists belongs to one run. Files that no run lists, such as
/// a user's notes, are left alone. Until the last file has its name, environment.json says that the
/// folder is of no whole run: give it that file last. A name may be a path below the folder, such
/// as "tensorboard/bp/events"; the folders on its way come and go with what is in them.
class RunFolder {
 public:
  /// Makes the folder. Throws UserError when it cannot be made or written to.
  explicit RunFolder(const std::filesystem::path& path);
  /// A new folder `runs/PROGRAM-DATE-TIME`, with a number after it where that is taken; no two
  /// runs get the same one.
  static RunFolder fresh(std::string_view program);
  /// A new folder among the machine's temporary ones, of which nothing stays.
  static RunFolder scratch();
  ~RunFolder();

  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

  /// A file that gets its name at `commit()`; one that is already open is returned again. Write to
  /// its `stream()`, or give its `temporary()` path to a writer of its own. Throws UserError when a
  /// folder has that name.
  AtomicFile& file(std::string_view name);
  void write(std::string_view name, std::string_view text);
  /// What `file` was asked for so far, in order.
  const std::vector<std::string>& names() const { return names_; }

  void commit();

  /// environment.json of a folder that holds the results of a whole run.
  static std::optional<nlohmann::json> whole_run(const std::filesystem::path& folder);

 private:
  RunFolder(std::filesystem::path path, std::filesystem::path created);

  std::filesystem::path path_;
  std::filesystem::path created_;  // topmost folder that was not there before; empty if none
  std::vector<std::unique_ptr<AtomicFile>> files_;
  std::vector<std::string> names_;  // of the files
  std::vector<std::pair<std::filesystem::path, std::filesystem::path>>
      made_;  // below, with topmost
  bool committed_ = false;
};

}  // namespace pcxx::run
