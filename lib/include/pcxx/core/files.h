#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <ostream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace pcxx {

/// A file that cannot be written or read although its name is good: the disk is full or broken, too
/// many files are open. The text is one sentence with the reason. Programs end with exit code 1.
class FileError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// "cannot write 'PATH': No space left on device", for an `errno`. A UserError where the path is at
/// fault (no such folder, no right to write there), else a FileError.
[[noreturn]] void file_error(std::string_view what, const std::filesystem::path& path, int error);

/// A file that appears whole or not at all: it is written under a temporary name in its own folder
/// and renamed by `commit()`. Without a commit nothing is left, and an older file stays as it was.
/// It is on the disk before it gets its name, so that neither a kill nor a power cut leaves half.
///
///   AtomicFile file(folder / "summary.json");
///   file.stream() << text;
///   file.commit();
///
/// `stream()`, `close()` and `commit()` throw what `file_error` throws, with the first reason;
/// what is sent to the stream of a full disk is lost without an exception before that.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();

  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// Opened at the first call.
  std::ostream& stream();

  /// The name to give to a writer that opens files itself.
  const std::filesystem::path& temporary() const { return temporary_; }
  const std::filesystem::path& path() const { return path_; }

  /// Hands everything written to the disk, so that only the renaming is left to `commit()`: with
  /// several files, all are known to be whole before the first gets its name.
  void close();
  void commit();

 private:
  class Writer;

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  std::unique_ptr<Writer> writer_;
};

/// Writes `text` to `path`, whole or not at all.
void write_file(const std::filesystem::path& path, std::string_view text);

/// The whole text of a file. Throws what `file_error` throws, and UserError when it is no regular
/// file: a device has no end, and a pipe may never begin.
std::string read_file(const std::filesystem::path& path);

/// The same of at most `most` bytes, of a pipe or device too. Throws UserError where more come.
std::string read_file(const std::filesystem::path& path, std::uint64_t most);

/// Makes a folder, and those above it that are not there. Throws what `file_error` throws.
void make_folders(const std::filesystem::path& path);

}  // namespace pcxx
