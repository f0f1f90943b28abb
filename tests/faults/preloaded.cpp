// A library between a program and the system's, linked or preloaded: at the n-th operation on what
// lies in a watched folder it kills the process (in the middle of it, if it is a write), or has the
// operation fail.

#include "faults/preloaded.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

std::string& watched() {
  static std::string folder;
  return folder;
}
std::atomic<long> count = 0;
long first = 0;
int failure = 0;
bool for_ever = false;

template <typename Function>
Function* original(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

bool is_watched(const std::string& path) {
  const auto& folder = watched();
  return !folder.empty() && path.compare(0, folder.size(), folder) == 0;
}

std::string path_of(int descriptor) {
  const int before = errno;
  char path[4096];
  const auto link = "/proc/self/fd/" + std::to_string(descriptor);
  const auto size = ::readlink(link.c_str(), path, sizeof path);
  errno = before;
  return size < 0 ? "" : std::string(path, static_cast<std::size_t>(size));
}

std::string path_at(int folder, const char* path) {
  return folder == AT_FDCWD || *path == '/' ? path : path_of(folder) + "/" + path;
}

[[noreturn]] void end() {
  ::kill(::getpid(), SIGKILL);
  for (;;) ::pause();
}

// Whether it is this operation's turn.
bool strikes(const std::string& path) {
  if (!is_watched(path)) return false;
  const long now = ++count;
  return now == first || (for_ever && now > first);
}

// Whether the operation fails; or it is the last.
bool fails(const std::string& path) {
  if (!strikes(path)) return false;
  if (failure == 0) end();
  errno = failure;
  return true;
}

// The mode behind the flags of open.
#define PCXX_MODE(flags)                                                \
  mode_t mode = 0;                                                      \
  if (((flags) & O_CREAT) != 0 || ((flags) & O_TMPFILE) == O_TMPFILE) { \
    va_list more;                                                       \
    va_start(more, flags);                                              \
    mode = va_arg(more, mode_t);                                        \
    va_end(more);                                                       \
  }

}  // namespace

extern "C" {

void pcxx_faults_arm(const char* folder, long n, int error, bool from_then_on) {
  watched() = folder;
  first = n;
  failure = error;
  for_ever = from_then_on;
  count = 0;
}

long pcxx_faults_count() {
  return count;
}

int open(const char* path, int flags, ...) {
  PCXX_MODE(flags)
  if (fails(path)) return -1;
  return original<int(const char*, int, ...)>("open")(path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  PCXX_MODE(flags)
  if (fails(path)) return -1;
  return original<int(const char*, int, ...)>("open64")(path, flags, mode);
}

int openat(int folder, const char* path, int flags, ...) {
  PCXX_MODE(flags)
  if (fails(path_at(folder, path))) return -1;
  return original<int(int, const char*, int, ...)>("openat")(folder, path, flags, mode);
}

int openat64(int folder, const char* path, int flags, ...) {
  PCXX_MODE(flags)
  if (fails(path_at(folder, path))) return -1;
  return original<int(int, const char*, int, ...)>("openat64")(folder, path, flags, mode);
}

FILE* fopen(const char* path, const char* mode) {
  if (fails(path)) return nullptr;
  return original<FILE*(const char*, const char*)>("fopen")(path, mode);
}

FILE* fopen64(const char* path, const char* mode) {
  if (fails(path)) return nullptr;
  return original<FILE*(const char*, const char*)>("fopen64")(path, mode);
}

ssize_t write(int descriptor, const void* bytes, size_t size) {
  auto* const real = original<ssize_t(int, const void*, size_t)>("write");
  if (watched().empty() || !strikes(path_of(descriptor))) return real(descriptor, bytes, size);
  if (failure == 0) {
    static_cast<void>(real(descriptor, bytes, size / 2));
    end();
  }
  errno = failure;
  return -1;
}

ssize_t writev(int descriptor, const iovec* pieces, int number) {
  if (!watched().empty() && fails(path_of(descriptor))) return -1;
  return original<ssize_t(int, const iovec*, int)>("writev")(descriptor, pieces, number);
}

// A power cut is not what the watched folder is for, and disks are slow.
int fsync(int descriptor) {
  if (!watched().empty()) return fails(path_of(descriptor)) ? -1 : 0;
  return original<int(int)>("fsync")(descriptor);
}

int fdatasync(int descriptor) {
  if (!watched().empty() && fails(path_of(descriptor))) return -1;
  return original<int(int)>("fdatasync")(descriptor);
}

int rename(const char* from, const char* to) {
  if (fails(to)) return -1;
  return original<int(const char*, const char*)>("rename")(from, to);
}

int renameat(int from_folder, const char* from, int to_folder, const char* to) {
  if (fails(path_at(to_folder, to))) return -1;
  return original<int(int, const char*, int, const char*)>("renameat")(from_folder, from, to_folder,
                                                                       to);
}

int unlink(const char* path) {
  if (fails(path)) return -1;
  return original<int(const char*)>("unlink")(path);
}

int unlinkat(int folder, const char* path, int flags) {
  if (fails(path_at(folder, path))) return -1;
  return original<int(int, const char*, int)>("unlinkat")(folder, path, flags);
}

int remove(const char* path) {
  if (fails(path)) return -1;
  return original<int(const char*)>("remove")(path);
}

int rmdir(const char* path) {
  if (fails(path)) return -1;
  return original<int(const char*)>("rmdir")(path);
}

int mkdir(const char* path, mode_t mode) {
  if (fails(path)) return -1;
  return original<int(const char*, mode_t)>("mkdir")(path, mode);
}

int symlink(const char* target, const char* path) {
  if (fails(path)) return -1;
  return original<int(const char*, const char*)>("symlink")(target, path);
}

int link(const char* from, const char* to) {
  if (fails(to)) return -1;
  return original<int(const char*, const char*)>("link")(from, to);
}

}  // extern "C"
