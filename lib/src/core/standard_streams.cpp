#include <fcntl.h>
#include <fmt/format.h>
#include <pcxx/core/files.h>
#include <pcxx/core/standard_streams.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace pcxx {

void open_standard_streams() {
  for (const int number : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    const bool closed = ::fcntl(number, F_GETFD) < 0 && errno == EBADF;
    // It gets the lowest number that is free, which is this one.
    if (closed && ::open("/dev/null", O_RDWR) < 0) return;
  }
}

void print_to(std::FILE* stream, std::string_view text) noexcept {
  std::fwrite(text.data(), 1, text.size(), stream);
  std::fflush(stream);
}

void print_answer(std::string_view text) {
  const bool written =
      std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  if (written || errno == EPIPE) return;
  throw FileError(fmt::format("cannot write to stdout: {}", std::strerror(errno)));
}

}  // namespace pcxx
