#pragma once

#include <pcxx/run/work.h>

#include <filesystem>
#include <optional>
#include <string_view>
#include <thread>

namespace pcxx::run {

/// What a process does in the folder of a run. All of it, if nothing else is said.
struct FolderWork {
  std::optional<Shard> jobs = Shard{};  ///< those that it may do; a merge does none
  bool results = true;                  ///< whether it writes the results; a shard does not
};

/// Keeps others from the same work in a folder, on this machine and on those that share the folder.
///
///   const RunLock lock("runs/a", "pcxx-regression");
///
/// It is a symbolic link in the folder, `.pcxx-lock-...`, whose target is no file but a text: which
/// process on which host is at work; twice a minute it is given the time. The link of a process of
/// this host that has ended, whatever has ended it, is taken over, and so is one of another host
/// that has not been given the time for three minutes. Shards with other jobs, and a merge, may be
/// at work beside a shard. On a file system without symbolic links nothing is kept from anybody.
class RunLock {
 public:
  /// Throws UserError, naming process and host, where another is at work on any of this.
  RunLock(const std::filesystem::path& folder, std::string_view program,
          const FolderWork& work = {});
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

  /// Removes the locks of processes that have ended, where nobody is to work any more.
  static void sweep(const std::filesystem::path& folder);

  /// How many are at work in a folder, this process included.
  static std::size_t holders(const std::filesystem::path& folder);

 private:
  std::filesystem::path link_;  // empty without a lock
  std::jthread signs_;          // of life
};

}  // namespace pcxx::run
