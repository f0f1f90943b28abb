#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <ostream>
#include <string>
#include <string_view>

namespace pcxx {

/// A file that appears whole or not at all: it is written under a temporary name in its own folder
/// and renamed by `commit()`. Without a commit nothing is left, and an older file stays as it was.
///
///   AtomicFile file(folder / "summary.json");
///   file.stream() << text;
///   file.commit();
///
/// Throws UserError with the path when it cannot be written.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();

  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// Opened at the first call.
  std::ostream& stream();

  /// The name to give to a writer that opens files itself, such as `torch::save`.
  const std::filesystem::path& temporary() const { return temporary_; }
  const std::filesystem::path& path() const { return path_; }

  /// Hands everything written to the file system, so that only the renaming is left to `commit()`:
  /// with several files, all are known to be whole before the first gets its name.
  void close();
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  std::ofstream stream_;
};

/// Writes `text` to `path`, whole or not at all.
void write_file(const std::filesystem::path& path, std::string_view text);

/// The whole text of a file. Throws UserError when it cannot be read, or is no regular file: a
/// device has no end, and a pipe may never begin.
std::string read_file(const std::filesystem::path& path);

/// The same of a file of at most `most` bytes. Throws UserError when it is longer.
std::string read_file(const std::filesystem::path& path, std::uint64_t most);

}  // namespace pcxx
