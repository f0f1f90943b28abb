#pragma once

#include <cerrno>
#include <filesystem>
#include <string>
#include <vector>

/// What the system is asked for, as often as it takes.
namespace pcxx {

/// A system call that a signal has cut short is made again, though not for ever.
template <typename Call>
auto retried(const Call& call) {
  constexpr int kAttempts = 100;
  auto result = call();
  for (int i = 1; i < kAttempts && result < 0 && errno == EINTR; ++i) result = call();
  return result;
}

/// Names of what lies in a folder; none where it cannot be listed.
std::vector<std::string> names_in(const std::filesystem::path& folder);

/// Removes a file, a link or an empty folder. Whether it is gone.
bool remove_entry(const std::filesystem::path& path);

/// Has the names in a folder on the disk. Throws what `file_error` throws.
void sync_folder(const std::filesystem::path& folder);

}  // namespace pcxx
