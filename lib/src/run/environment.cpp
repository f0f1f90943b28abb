#include "run/environment.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <pcxx/run/commit.h>
#include <pcxx/version.h>
#include <sys/utsname.h>
#include <torch/version.h>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <thread>
#include <vector>

namespace pcxx::run {
namespace {

std::string compiler() {
#ifdef __clang__
  return "Clang " __clang_version__;
#elif defined(__GNUC__)
  return "GCC " __VERSION__;
#else
  return "";
#endif
}

// What stands after "name :" in a file of /proc.
std::string field(const std::filesystem::path& file, std::string_view name) {
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) {
    if (!line.starts_with(name)) continue;
    const auto value = line.find_first_not_of(" \t", line.find(':') + 1);
    return value == std::string::npos ? "" : line.substr(value);
  }
  return "";
}

std::vector<std::string> gpu_models() {
  std::vector<std::string> models;
  std::error_code none;
  for (const auto& gpu : std::filesystem::directory_iterator("/proc/driver/nvidia/gpus", none)) {
    models.push_back(field(gpu.path() / "information", "Model"));
  }
  return models;
}

std::string operating_system() {
  utsname name{};
  if (::uname(&name) != 0) return "";
  return fmt::format("{} {} {}", name.sysname, name.release, name.machine);
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", *std::gmtime(&now));
}

}  // namespace

std::string git_commit() {
  return PCXX_GIT_COMMIT;
}

nlohmann::ordered_json environment(const std::string& program, c10::Device device) {
  nlohmann::ordered_json result;
  const auto add = [&](const char* name, const std::string& text) {
    if (!text.empty()) result[name] = text;
  };
  add("program", program);
  add("version", PCXX_VERSION);
  add("git_commit", git_commit());
  add("date", utc_now());
  add("libtorch", TORCH_VERSION);
  add("compiler", compiler());
  add("build_type", PCXX_BUILD_TYPE);
  add("os", operating_system());
  add("cpu", field("/proc/cpuinfo", "model name"));
  result["cores"] = std::thread::hardware_concurrency();
  add("device", device.str());
  if (device.is_cuda()) result["gpus"] = gpu_models();
  return result;
}

}  // namespace pcxx::run
