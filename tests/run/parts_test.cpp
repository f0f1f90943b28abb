#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <pcxx/core/files.h>
#include <pcxx/run/parts.h>

#include <limits>

#include "support/temporary_folder.h"
#include "support/user_error.h"

namespace pcxx::run {
namespace {

Part some_part() {
  return {{"plain", at::arange(5, at::kDouble)},
          {"with.dots and spaces/\"", at::tensor({1, 2, 3}, at::kLong)},
          {"nan", at::full({2, 2}, std::numeric_limits<double>::quiet_NaN(), at::kDouble)},
          {"none", at::empty({0}, at::kDouble)},
          {"scalar", at::scalar_tensor(0.1F, at::kFloat)}};
}

// Invariant: what is read is what was written, bit by bit.
TEST(Parts, ReadBackAsTheyWereWritten) {
  const test::TemporaryFolder folder;
  const Parts parts({folder / "parts"}, 3);
  parts.begin({{"program", "x"}});
  parts.write(1, some_part());
  EXPECT_EQ(parts.missing(), (std::vector<std::size_t>{0, 2}));
  const auto read = parts.read()[1];
  ASSERT_TRUE(read);
  ASSERT_EQ(read->size(), some_part().size());
  for (const auto& [name, tensor] : some_part()) {
    EXPECT_EQ(read->at(name).scalar_type(), tensor.scalar_type());
    EXPECT_TRUE(at::allclose(read->at(name), tensor, 0, 0, true)) << name;
  }
  EXPECT_EQ(Parts::run_of(folder / "parts")->at("program"), "x");
  EXPECT_FALSE(Parts::run_of(folder / "elsewhere"));
  parts.remove();
  EXPECT_EQ(folder.size(), 0U);
}

// Oracle: CRC-32 notices any change of one byte. Whatever byte of the file is flipped, it is either
// refused or read as the same numbers (padding, time stamps).
TEST(Parts, AFlippedByteIsRefusedOrHarmless) {
  const test::TemporaryFolder folder;
  const Parts parts({folder / "parts"}, 1);
  parts.begin({});
  const Part part{{"x", at::rand({40}, at::kDouble)}};
  parts.write(0, part);
  const auto good = read_file(folder / "parts" / "job0.safetensors");
  int refused = 0;
  for (std::size_t i = 0; i < good.size(); i += 5) {
    auto bytes = good;
    bytes[i] = static_cast<char>(bytes[i] ^ 0x41);
    write_file(folder / "parts" / "job0.safetensors", bytes);
    try {
      EXPECT_TRUE(parts.read(0).at("x").equal(part.at("x"))) << "byte " << i;
    } catch (const UserError& error) {
      ++refused;
      EXPECT_NE(std::string(error.what()).find("job0.safetensors' is damaged"), std::string::npos);
    }
  }
  EXPECT_GT(refused, 40 * 8 / 5);
}

TEST(Parts, AreFoundInAnyOfTheirFolders) {
  const test::TemporaryFolder folder;
  const Parts a({folder / "a"}, 2);
  const Parts b({folder / "b"}, 2);
  a.begin({});
  b.begin({});
  a.write(0, some_part());
  b.write(1, some_part());
  const Parts both({folder / "a", folder / "b", folder / "nowhere"}, 2);
  EXPECT_TRUE(both.missing().empty());
  EXPECT_EQ(both.read(1).size(), some_part().size());
}

// Oracle: contract, at the moments of a kill: before run.json has its name, and while the parts of
// a run that has its results are removed.
TEST(Parts, WhatAKillLeftIsRecognised) {
  const test::TemporaryFolder folder;
  const auto path = folder / "parts";
  const Parts parts({path}, 2);
  make_folders(path);
  write_file(path / ".run.json.12-ab-1.partial", "{");
  parts.begin({});
  parts.write(0, some_part());
  EXPECT_EQ(parts.missing(), std::vector<std::size_t>{1});

  std::filesystem::remove(path / "run.json");
  EXPECT_EQ(parts.missing(), (std::vector<std::size_t>{0, 1}));
  write_file(parts.checkpoint_path(1), "left");
  EXPECT_TRUE(parts.begun().empty());
  parts.begin({});
  EXPECT_EQ(parts.missing(), (std::vector<std::size_t>{0, 1}));
  EXPECT_TRUE(parts.begun().empty());

  parts.write(0, some_part());
  Parts::discard(path);
  EXPECT_TRUE(parts.has(0)) << "these are of use";
  std::filesystem::remove(path / "run.json");
  Parts::discard(path);
  EXPECT_EQ(folder.size(), 0U);
}

TEST(Parts, NeverTouchWhatIsNotTheirs) {
  const test::TemporaryFolder folder;
  const Parts parts({folder.path()}, 1);
  write_file(folder / "notes.txt", "mine");
  test::expect_user_error([&] { parts.begin({}); }, "holds other files");
  parts.remove();
  EXPECT_EQ(read_file(folder / "notes.txt"), "mine");
}

}  // namespace
}  // namespace pcxx::run
