#pragma once

#include <gtest/gtest.h>
#include <pcxx/core/files.h>

#include <string>

namespace pcxx::test {

/// `call` throws a FileError of one line that contains both.
template <typename Call>
void expect_file_error(Call&& call, const std::string& path, const std::string& reason) {
  try {
    call();
  } catch (const FileError& error) {
    const std::string text = error.what();
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
    EXPECT_NE(text.find(path), std::string::npos) << text;
    EXPECT_NE(text.find(reason), std::string::npos) << text;
    return;
  }
  FAIL() << "no FileError";
}

}  // namespace pcxx::test
