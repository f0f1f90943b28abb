#include <dlfcn.h>
#include <link.h>
#include <pcxx/core/share.h>

#include <cstdlib>
#include <system_error>

namespace pcxx {

namespace fs = std::filesystem;

namespace {

// The file that this code was loaded from. The loader has no name for the program itself, and the
// words that started it may be no path.
fs::path own_file() {
  Dl_info info{};
  link_map* file = nullptr;
  const auto* here = reinterpret_cast<const void*>(&share_folder);
  if (::dladdr1(here, &info, reinterpret_cast<void**>(&file), RTLD_DL_LINKMAP) != 0 &&
      file != nullptr && *file->l_name != '\0') {
    return file->l_name;
  }
  return "/proc/self/exe";
}

}  // namespace

fs::path share_folder() {
  const char* chosen = std::getenv("PCXX_SHARE");
  if (chosen != nullptr && *chosen != '\0') return chosen;
  std::error_code error;
  const auto file = fs::canonical(own_file(), error);
  const auto installed = (file.parent_path() / PCXX_RELATIVE_SHARE).lexically_normal();
  return !error && fs::is_directory(installed, error) ? installed : fs::path(PCXX_SOURCE_SHARE);
}

}  // namespace pcxx
