#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace pcxx {

/// Bad input from a user: a config, a command line, a data file, a checkpoint.
///
/// The text is one sentence that names the file, key, line or value at fault. Programs print it and
/// end with exit code 2. A caller's mistake in C++ is TORCH_CHECK instead (c10::Error).
class UserError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Throws a UserError with a formatted text: `user_error("'{}' is not a folder", path)`.
template <typename... Args>
[[noreturn]] void user_error(fmt::format_string<Args...> format, Args&&... args) {
  throw UserError(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace pcxx
