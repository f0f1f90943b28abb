#pragma once

#include <gtest/gtest.h>
#include <pcxx/core/error.h>

#include <filesystem>
#include <optional>
#include <string>
#include <utility>

namespace pcxx::test {

/// A path as messages have it: between quotation marks.
inline std::string quoted(const std::filesystem::path& path) {
  return fmt::format("'{}'", path.string());
}

/// The text of the UserError that `call` throws, nothing when it throws none. A text must be one
/// sentence, on one line.
template <typename Call>
std::optional<std::string> user_error_text(Call&& call) {
  try {
    call();
  } catch (const UserError& error) {
    const std::string text = error.what();
    EXPECT_FALSE(text.empty());
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
    return text;
  }
  return std::nullopt;
}

/// `call` throws a UserError of one line that contains `part`.
template <typename Call>
void expect_user_error(Call&& call, const std::string& part) {
  const auto text = user_error_text(std::forward<Call>(call));
  ASSERT_TRUE(text) << "no UserError";
  EXPECT_NE(text->find(part), std::string::npos) << *text << "\n  does not contain: " << part;
}

}  // namespace pcxx::test
