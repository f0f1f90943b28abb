#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "support/process.h"

/// Python beside the tests.
namespace pcxx::test {

/// Exit code of a command; `text` is what it printed, errors after it.
inline int run_command(std::vector<std::string> command, std::string& text) {
  const Process process(std::move(command));
  const int code = process.wait();
  text = process.out() + process.errors();
  return code;
}

/// The project's own Python, or the system's, that can import these modules; empty if none can.
inline std::string python_with(const std::string& modules) {
  std::string ignored;
  for (const std::string name : {PCXX_SOURCE_DIR "/.venv/bin/python", "python3"}) {
    if (name.front() == '/' && !std::filesystem::exists(name)) continue;
    if (run_command({name, "-c", "import " + modules}, ignored) == 0) return name;
  }
  return "";
}

}  // namespace pcxx::test
