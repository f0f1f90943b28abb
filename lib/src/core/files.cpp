#include <fcntl.h>
#include <fmt/format.h>
#include <pcxx/core/error.h>
#include <pcxx/core/files.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <streambuf>
#include <system_error>
#include <utility>
#include <vector>

#include "core/system_calls.h"

namespace pcxx {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kChunk = std::size_t{1} << 16;

constexpr std::array kFaultsOfAPath{ENOENT, ENOTDIR,      EISDIR, EACCES, EPERM,
                                    EROFS,  ENAMETOOLONG, ELOOP,  EEXIST, ENOTEMPTY};

// Machines that share a folder may have the same process number.
unsigned machine_tag() {
  static const unsigned tag = std::random_device()();
  return tag;
}

}  // namespace

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int number() const { return number_; }
  bool open() const { return number_ >= 0; }
  /// 0 or an errno.
  int close() {
    const int closing = std::exchange(number_, -1);
    return closing < 0 || ::close(closing) == 0 || errno == EINTR ? 0 : errno;
  }
  /// Has everything on the disk; 0 or an errno. Some file systems cannot be told to.
  int sync() const {
    const bool done = retried([&] { return ::fsync(number_); }) == 0;
    return done || errno == EINVAL || errno == ENOTSUP || errno == ENOSYS ? 0 : errno;
  }

 private:
  int number_;
};

namespace {

int open_file(const fs::path& path, int flags) {
  return retried([&] { return ::open(path.c_str(), flags | O_CLOEXEC, 0666); });
}

// Of a file that another has written, or a folder with new names in it. What cannot be opened to
// read is left to the system.
int sync_path(const fs::path& path) {
  const Descriptor file(open_file(path, O_RDONLY));
  return file.open() ? file.sync() : 0;
}

}  // namespace

// Keeps its first error: a stream knows only that there was one.
class DescriptorBuffer final : public std::streambuf {
 public:
  explicit DescriptorBuffer(const fs::path& path)
      : file_(open_file(path, O_WRONLY | O_CREAT | O_TRUNC)),
        error_(file_.open() ? 0 : errno),
        chunk_(kChunk) {
    begin_chunk();
  }

  /// Has everything on the disk and closes. 0 or an errno.
  int finish() {
    flush();
    if (!file_.open()) return error_;
    keep(error_ == 0 ? file_.sync() : 0);
    keep(file_.close());
    return error_;
  }
  int error() const { return error_; }

 protected:
  int_type overflow(int_type next) override {
    flush();
    if (error_ != 0) return traits_type::eof();
    if (!traits_type::eq_int_type(next, traits_type::eof())) {
      sputc(traits_type::to_char_type(next));
    }
    return traits_type::not_eof(next);
  }
  int sync() override {
    flush();
    return error_ == 0 ? 0 : -1;
  }

 private:
  void begin_chunk() { setp(chunk_.data(), chunk_.data() + chunk_.size()); }
  void keep(int error) {
    if (error_ == 0) error_ = error;
  }
  void flush() {
    const char* next = pbase();
    while (error_ == 0 && next < pptr()) {
      const auto left = static_cast<std::size_t>(pptr() - next);
      const auto written = retried([&] { return ::write(file_.number(), next, left); });
      if (written <= 0) keep(written < 0 ? errno : EIO);
      next += std::max<ssize_t>(0, written);
    }
    begin_chunk();
  }

  Descriptor file_;
  int error_;
  std::vector<char> chunk_;
};

void file_error(std::string_view what, const fs::path& path, int error) {
  const auto text = fmt::format("{} '{}': {}", what, path.string(), std::strerror(error));
  const auto* found = std::find(kFaultsOfAPath.begin(), kFaultsOfAPath.end(), error);
  if (found != kFaultsOfAPath.end()) throw UserError(text);
  throw FileError(text);
}

class AtomicFile::Writer {
 public:
  explicit Writer(const fs::path& path) : buffer(path), stream(&buffer) {}

  DescriptorBuffer buffer;
  std::ostream stream;
};

AtomicFile::AtomicFile(fs::path path) : path_(std::move(path)) {
  static std::atomic<unsigned> count = 0;
  const auto name = fmt::format(".{}.{}-{:x}-{}.partial", path_.filename().string(), ::getpid(),
                                machine_tag(), ++count);
  temporary_ = path_.parent_path() / name;
}

AtomicFile::~AtomicFile() {
  writer_.reset();
  remove_entry(temporary_);
}

std::ostream& AtomicFile::stream() {
  if (!writer_) {
    auto writer = std::make_unique<Writer>(temporary_);
    if (const int error = writer->buffer.error(); error != 0) {
      file_error("cannot write", path_, error);
    }
    writer_ = std::move(writer);
  }
  return writer_->stream;
}

void AtomicFile::close() {
  const int error = writer_ ? writer_->buffer.finish() : sync_path(temporary_);
  if (error != 0) file_error("cannot write", path_, error);
}

void AtomicFile::commit() {
  close();
  if (retried([&] { return ::rename(temporary_.c_str(), path_.c_str()); }) != 0) {
    file_error("cannot write", path_, errno);
  }
}

void write_file(const fs::path& path, std::string_view text) {
  AtomicFile file(path);
  file.stream() << text;
  file.commit();
}

std::string read_file(const fs::path& path) {
  std::error_code ignored;
  const auto kind = fs::status(path, ignored);
  if (fs::exists(kind) && !fs::is_regular_file(kind) && !fs::is_directory(kind)) {
    user_error("cannot read '{}': it is a device or a pipe, not a file", path.string());
  }
  return read_file(path, std::numeric_limits<std::uint64_t>::max());
}

std::string read_file(const fs::path& path, std::uint64_t most) {
  std::error_code ignored;
  const auto kind = fs::status(path, ignored);
  if (fs::is_directory(kind)) user_error("cannot read '{}': it is a folder", path.string());
  // A pipe that nobody writes to is waited for until a signal ends that.
  const bool waits = fs::exists(kind) && !fs::is_regular_file(kind);
  const auto call = [&](const auto& function) { return waits ? function() : retried(function); };
  const Descriptor file(call([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); }));
  if (!file.open()) file_error("cannot read", path, errno);
  std::string text;
  std::vector<char> chunk(kChunk);
  for (;;) {
    const auto count = call([&] { return ::read(file.number(), chunk.data(), chunk.size()); });
    if (count < 0) file_error("cannot read", path, errno);
    if (count == 0) return text;
    text.append(chunk.data(), static_cast<std::size_t>(count));
    if (text.size() > most) {
      user_error("cannot read '{}': it is longer than {} bytes", path.string(), most);
    }
  }
}

void make_folders(const fs::path& path) {
  std::error_code error;
  retried([&] {
    fs::create_directories(path, error);
    errno = error.value();
    return error ? -1 : 0;
  });
  if (error) file_error("cannot make the folder", path, error.value());
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::error_code error;
  std::vector<std::string> names;
  for (fs::directory_iterator entry(folder, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  return names;
}

void sync_folder(const fs::path& folder) {
  const int error = sync_path(folder);
  if (error != 0) file_error("cannot write to the folder", folder, error);
}

bool remove_entry(const fs::path& path) {
  return retried([&] { return std::remove(path.c_str()); }) == 0 || errno == ENOENT;
}

}  // namespace pcxx
