#include "reproduce/results.h"

#include <gtest/gtest.h>
#include <pcxx/core/files.h>

#include "support/temporary_folder.h"
#include "support/user_error.h"

namespace pcxx::reproduce {
namespace {

// Contract: what nests deeper than a copy of it can go is refused; other text counts as none.
TEST(ReadJson, RefusesWhatIsNestedTooDeep) {
  const test::TemporaryFolder folder;
  const auto file = folder / "environment.json";
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "{\"a\":";
  deep += '1';
  deep.append(100'000, '}');
  write_file(file, deep);
  test::expect_user_error([&] { read_json(file); }, "nested more than 64 deep");
  write_file(file, "[1");
  EXPECT_EQ(read_json(file), nlohmann::json::object());
}

}  // namespace
}  // namespace pcxx::reproduce
