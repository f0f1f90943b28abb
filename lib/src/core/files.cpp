#include <pcxx/core/error.h>
#include <pcxx/core/files.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <limits>
#include <random>
#include <system_error>
#include <vector>

namespace pcxx {

namespace fs = std::filesystem;

namespace {

[[noreturn]] void cannot_write(const fs::path& path, int error) {
  user_error("cannot write '{}': {}", path.string(),
             error == 0 ? "the write failed" : std::strerror(error));
}

// Machines that share a folder may have the same process number.
unsigned machine_tag() {
  static const unsigned tag = std::random_device()();
  return tag;
}

}  // namespace

AtomicFile::AtomicFile(fs::path path) : path_(std::move(path)) {
  const auto name =
      fmt::format(".{}.{}-{:x}.partial", path_.filename().string(), ::getpid(), machine_tag());
  temporary_ = path_.parent_path() / name;
}

AtomicFile::~AtomicFile() {
  stream_.close();
  std::error_code ignored;
  fs::remove(temporary_, ignored);
}

std::ostream& AtomicFile::stream() {
  if (!stream_.is_open()) {
    errno = 0;
    stream_.open(temporary_, std::ios::binary | std::ios::trunc);
    if (!stream_) {
      cannot_write(path_, errno);
    }
  }
  return stream_;
}

void AtomicFile::close() {
  if (stream_.is_open()) {
    errno = 0;
    stream_.close();
    if (!stream_) {
      cannot_write(path_, errno);
    }
  }
}

void AtomicFile::commit() {
  close();
  std::error_code error;
  fs::rename(temporary_, path_, error);
  if (error) {
    cannot_write(path_, error.value());
  }
}

void write_file(const fs::path& path, std::string_view text) {
  AtomicFile file(path);
  file.stream() << text;
  file.commit();
}

std::string read_file(const fs::path& path) {
  return read_file(path, std::numeric_limits<std::uint64_t>::max());
}

std::string read_file(const fs::path& path, std::uint64_t most) {
  std::error_code error;
  const auto kind = fs::status(path, error);
  if (fs::is_directory(kind)) user_error("cannot read '{}': it is a folder", path.string());
  if (fs::exists(kind) && !fs::is_regular_file(kind)) {
    user_error("cannot read '{}': it is a device or a pipe, not a file", path.string());
  }
  errno = 0;
  std::ifstream stream(path, std::ios::binary);
  std::string text;
  std::vector<char> chunk(std::size_t{1} << 16);
  while (stream) {
    stream.read(chunk.data(), static_cast<std::streamsize>(chunk.size()));
    text.append(chunk.data(), static_cast<std::size_t>(stream.gcount()));
    if (text.size() > most) {
      user_error("cannot read '{}': it is longer than {} bytes", path.string(), most);
    }
  }
  if (!stream.eof()) {
    user_error("cannot read '{}': {}", path.string(),
               errno == 0 ? "the read failed" : std::strerror(errno));
  }
  return text;
}

}  // namespace pcxx
