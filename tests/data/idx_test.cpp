#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <pcxx/data/idx.h>

#include <filesystem>
#include <string>

#include "support/idx_files.h"
#include "support/temporary_folder.h"
#include "support/user_error.h"

namespace pcxx::data {
namespace {

namespace fs = std::filesystem;
using test::big_endian;
using test::gzip;
using test::idx_file;
using test::idx_header;
using test::quoted;
using test::some_bytes;

class ReadIdx : public ::testing::Test {
 protected:
  at::Tensor read(const std::string& bytes) const {
    write_file(path(), bytes);
    return read_idx(path());
  }
  // A UserError of one line that names the file and contains `part`.
  void expect_error(const std::string& bytes, const std::string& part) const {
    write_file(path(), bytes);
    SCOPED_TRACE(part);
    test::expect_user_error([this] { read_idx(path()); }, quoted(path()));
    test::expect_user_error([this] { read_idx(path()); }, part);
  }
  fs::path path() const { return folder_ / "a file"; }

 private:
  test::TemporaryFolder folder_;
};

// Oracle: the bytes that the test wrote, raw and compressed; the content tells, not the name.
TEST_F(ReadIdx, ReadsWhatWasWritten) {
  using Sizes = std::vector<std::uint32_t>;
  for (const auto& sizes : {Sizes{1}, Sizes{5}, Sizes{300}, Sizes{70'000}, Sizes{3, 4},
                            Sizes{7, 28, 28}, Sizes{2, 1, 3, 2}, Sizes{1, 1, 1, 1, 1, 1, 1, 2}}) {
    const auto file = idx_file(sizes);
    const std::vector<std::int64_t> shape(sizes.begin(), sizes.end());
    auto bytes = file.substr(4 + 4 * sizes.size());
    const auto expected =
        at::from_blob(bytes.data(), {static_cast<std::int64_t>(bytes.size())}, at::kByte)
            .view(shape);
    for (const auto& content : {file, gzip(file)}) {
      const auto found = read(content);
      EXPECT_EQ(found.scalar_type(), at::kByte);
      EXPECT_EQ(found.sizes(), shape);
      EXPECT_TRUE(at::equal(found, expected));
    }
  }
}

// Oracle: the format. Sizes are big-endian, the last dimension is the fastest.
TEST_F(ReadIdx, ReadsAFileWrittenByHand) {
  const std::string file("\x00\x00\x08\x02\x00\x00\x00\x02\x00\x00\x00\x03\x01\x02\x03\xfd\xfe\xff",
                         18);
  const auto found = read(file);
  EXPECT_TRUE(at::equal(found, at::tensor({1, 2, 3, 253, 254, 255}).to(at::kByte).view({2, 3})));
}

// Oracle: contract, in each way that a file can be wrong.
TEST_F(ReadIdx, RejectsFilesThatAreTooShort) {
  const auto file = idx_file({7, 28, 28});
  expect_error("", "is empty");
  for (const std::size_t length : {1U, 3U, 4U, 10U, 15U}) {
    expect_error(file.substr(0, length), "truncated");
    expect_error(gzip(file.substr(0, length)), "truncated");
  }
  for (const std::size_t length : {16UL, 17UL, file.size() - 1}) {
    expect_error(file.substr(0, length), "truncated");
    expect_error(gzip(file.substr(0, length)), "truncated");
  }
}

TEST_F(ReadIdx, RejectsFilesThatAreTooLong) {
  const auto file = idx_file({7, 28, 28});
  expect_error(file + "x", "too long");
  expect_error(gzip(file + "x"), "too long");
  expect_error(file + file, "too long");
}

TEST_F(ReadIdx, RejectsOtherFormats) {
  const auto body = big_endian(4) + some_bytes(4);
  expect_error("P5\n28 28\n255\n" + some_bytes(784), "magic number");
  expect_error(gzip("this is some text"), "magic number");
  for (const std::uint32_t magic : {0x00000d01U, 0x00000901U, 0x00000c01U, 0x01000801U, 0x00010801U,
                                    0x01080000U, 0x00000800U, 0x00000809U, 0x000008ffU}) {
    expect_error(big_endian(magic) + body, "magic number is " + std::to_string(magic));
    expect_error(gzip(big_endian(magic) + body), "magic number is " + std::to_string(magic));
  }
}

TEST_F(ReadIdx, RejectsEmptyDimensions) {
  expect_error(idx_header({0}), "size 0");
  expect_error(idx_header({0, 28, 28}), "size 0");
  expect_error(idx_header({5, 28, 0}), "size 0");
  expect_error(gzip(idx_header({5, 0, 28})), "size 0");
}

// Oracle: contract. No memory is asked for on the word of such a header: 2^60 bytes, a product
// that wraps round to 0 in 64 bits, and 4 GiB are refused before.
TEST_F(ReadIdx, RejectsHeadersThatPromiseTooMuch) {
  using Sizes = std::vector<std::uint32_t>;
  for (const auto& sizes : {Sizes{1U << 20, 1U << 20, 1U << 20}, Sizes(8, 1U << 31),
                            Sizes{1U << 31, 1U << 31, 4}, Sizes{0xffffffffU}}) {
    expect_error(idx_header(sizes) + some_bytes(100), "more than it can hold");
    expect_error(gzip(idx_header(sizes) + some_bytes(100)), "more than it can hold");
  }
}

// Oracle: contract. A flipped bit anywhere is found, or changes nothing that is read (as in the
// header's time stamp, the only bytes where most flips go unnoticed).
TEST_F(ReadIdx, FindsAFlippedBitInAGzipFile) {
  const auto good = gzip(idx_file({3, 10, 10}));
  const auto expected = read(good);
  std::size_t found = 0;
  for (std::size_t i = 2; i < good.size(); ++i) {
    auto bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 1 << i % 8);
    write_file(path(), bad);
    at::Tensor values;
    const auto text = test::user_error_text([&] { values = read_idx(path()); });
    if (text) {
      ++found;
      EXPECT_NE(text->find(quoted(path())), std::string::npos) << *text;
    } else {
      EXPECT_TRUE(at::equal(values, expected)) << "byte " << i;
    }
  }
  EXPECT_GE(found, good.size() - 12);
}

TEST_F(ReadIdx, RejectsTruncatedGzipFiles) {
  const auto good = gzip(idx_file({7, 28, 28}));
  for (std::size_t length = 2; length < good.size(); length += length < 30 ? 1 : 97) {
    expect_error(good.substr(0, length), "truncated");
  }
  for (std::size_t missing = 1; missing <= 9; ++missing) {
    expect_error(good.substr(0, good.size() - missing), "truncated");
  }
}

TEST_F(ReadIdx, RejectsWhatFollowsAGzipFile) {
  const auto good = gzip(idx_file({7, 28, 28}));
  expect_error(good + "x", "too long");
  expect_error(good + good, "too long");
  expect_error(good + std::string(100, '\0') + "x", "too long");
  expect_error(good + std::string(100, '\0') + good, "too long");
  expect_error(good + gzip("") + "x", "too long");
  expect_error(good + "\x1f\x8b", "truncated");
  expect_error(good + gzip("").substr(0, 12), "truncated");
}

// Oracle: the same bytes in one member. As gzip -d reads them: members end where they like, also
// within the header, and are empty; bgzip ends with an empty one; zeros fill up a block of a tape.
TEST_F(ReadIdx, ReadsGzipFilesOfSeveralMembers) {
  const auto file = idx_file({7, 28, 28});
  const auto expected = read(file);
  const std::string zeros(1000, '\0');
  std::string many;
  for (std::size_t i = 0; i < file.size(); i += 100) many += gzip(file.substr(i, 100));
  for (const auto& content :
       {gzip(file.substr(0, 1000)) + gzip(file.substr(1000)),
        gzip(file.substr(0, 2)) + gzip(file.substr(2, 14)) + gzip(file.substr(16)),
        gzip("") + gzip(file), gzip(file) + gzip(""), gzip(file) + gzip("") + zeros,
        gzip(file) + zeros, gzip(file) + '\0', many, many + gzip("")}) {
    EXPECT_TRUE(at::equal(read(content), expected));
  }
  expect_error(zeros + gzip(file), "magic number is 0");
  expect_error(file + zeros, "too long");
}

// Oracle: the names. What people take for an IDX file is called what it is, compressed too.
TEST_F(ReadIdx, NamesOtherFormats) {
  const struct {
    std::string start;
    std::string name;
  } formats[] = {{"\x89PNG\r\n\x1a\n", "a PNG file"},
                 {"\xff\xd8\xff\xe0", "a JPEG file"},
                 {"\x93NUMPY\x01", "a NumPy file"},
                 {"PK\x03\x04", "a zip archive"},
                 {"GIF89a", "a GIF file"},
                 {"BM1234", "a BMP file"},
                 {"<!DOCTYPE html>", "a web page"},
                 {"<html>", "a web page"}};
  for (const auto& [start, name] : formats) {
    expect_error(start + some_bytes(100), name + ", not an IDX file");
    expect_error(gzip(start + some_bytes(100)), name + ", not an IDX file");
  }
}

TEST_F(ReadIdx, RejectsAMissingFileAndAFolder) {
  const test::TemporaryFolder folder;
  for (const auto& bad : {folder / "missing", folder.path()}) {
    test::expect_user_error([&] { read_idx(bad); }, quoted(bad));
  }
}

}  // namespace
}  // namespace pcxx::data
