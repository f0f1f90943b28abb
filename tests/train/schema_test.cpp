#include <gtest/gtest.h>
#include <pcxx/train/config.h>

#include <iostream>

namespace pcxx::train {
namespace {

std::vector<std::string> all_names() {
  std::vector<std::string> names;
  for (const auto& key : vocabulary()) names.push_back(key.name);
  return names;
}

// Oracle: the vocabulary itself. Every key admits its own default, and reading what was written
// gives it again.
TEST(Vocabulary, DefaultsAreAdmittedByTheirKeys) {
  const Config config{Schema(all_names())};
  std::cout << config.toml() << config.schema().help();
  for (const auto& name : all_names()) EXPECT_TRUE(config.has(name)) << name;
}

}  // namespace
}  // namespace pcxx::train
