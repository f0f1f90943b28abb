#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <pcxx/core/random.h>
#include <pcxx/io/safetensors.h>

#include <array>
#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>

#include "support/user_error.h"

namespace pcxx::io {
namespace {

using namespace std::string_literals;

const std::string kPath = "some/file.safetensors";

// ---- Files by hand, from the description of the format ------------------------------------------

std::string little_endian(std::uint64_t value) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<char>(value >> (8 * i) & 0xffU));
  return bytes;
}

std::string file_of(const std::string& header, const std::string& data) {
  return little_endian(header.size()) + header + data;
}

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  std::uint64_t begin, std::uint64_t end) {
  return fmt::format(R"("{}":{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})", name, dtype,
                     shape, begin, end);
}

// Two tensors: a, of 2 x 2 bytes, and b, of three shorts.
const std::string kA = entry("a", "U8", "[2,2]", 0, 4);
const std::string kB = entry("b", "I16", "[3]", 4, 10);
const std::string kData = "\x01\x02\x03\x04\x05\x00\x06\x00\xff\xff"s;

std::string object(const std::vector<std::string>& members) {
  std::string text;
  for (const auto& member : members) text += (text.empty() ? "{" : ",") + member;
  return text + "}";
}

void expect_refused(const std::string& bytes, const std::string& part) {
  SCOPED_TRACE(part);
  const auto text = test::user_error_text([&] { read_safetensors(bytes, kPath); });
  ASSERT_TRUE(text) << "it was accepted";
  EXPECT_NE(text->find(test::quoted(kPath)), std::string::npos) << *text;
  EXPECT_NE(text->find(part), std::string::npos) << *text;
}

std::string raw(const at::Tensor& tensor) {
  const auto whole = tensor.contiguous();
  return {static_cast<const char*>(whole.const_data_ptr()), whole.nbytes()};
}

std::string written(const NamedTensors& tensors,
                    const std::map<std::string, std::string>& metadata = {}) {
  std::ostringstream stream;
  write_safetensors(stream, tensors, metadata);
  return stream.str();
}

// Oracle: the numbers that were written down, byte by byte.
TEST(Safetensors, ReadsAFileMadeByHand) {
  const auto file = read_safetensors(
      file_of(object({R"("__metadata__":{"format":"pt","note":"ä"})", kA, kB}) + "  ", kData),
      kPath);
  ASSERT_EQ(file.tensors.size(), 2U);
  EXPECT_EQ(file.tensors[0].first, "a");
  EXPECT_TRUE(at::equal(file.tensors[0].second, at::tensor({1, 2, 3, 4}, at::kByte).view({2, 2})));
  EXPECT_EQ(file.tensors[0].second.scalar_type(), at::kByte);
  EXPECT_EQ(file.tensors[1].first, "b");
  EXPECT_TRUE(at::equal(file.tensors[1].second, at::tensor({5, 6, -1}, at::kShort)));
  EXPECT_EQ(file.tensors[1].second.scalar_type(), at::kShort);
  const std::map<std::string, std::string> metadata{{"format", "pt"}, {"note", "ä"}};
  EXPECT_EQ(file.metadata, metadata);
}

// Oracle: bit patterns of 1.5, -2 and their like by the definitions of the formats.
TEST(Safetensors, ReadsEveryTypeByItsBits) {
  const struct {
    std::string dtype;
    at::ScalarType type;
    std::string bytes;
    double value;
  } cases[] = {{"F64", at::kDouble, "\0\0\0\0\0\0\xf8\x3f"s, 1.5},
               {"F32", at::kFloat, "\0\0\xc0\x3f"s, 1.5},
               {"F16", at::kHalf, "\0\x3e"s, 1.5},
               {"BF16", at::kBFloat16, "\xc0\x3f"s, 1.5},
               {"I64", at::kLong, "\xfe\xff\xff\xff\xff\xff\xff\xff"s, -2},
               {"I32", at::kInt, "\xfe\xff\xff\xff"s, -2},
               {"I16", at::kShort, "\xfe\xff"s, -2},
               {"I8", at::kChar, "\xfe"s, -2},
               {"U8", at::kByte, "\xfe"s, 254},
               {"BOOL", at::kBool, "\x01"s, 1}};
  for (const auto& [dtype, type, bytes, value] : cases) {
    SCOPED_TRACE(dtype);
    const auto by_hand = file_of(object({entry("x", dtype, "[]", 0, bytes.size())}), bytes);
    const auto file = read_safetensors(by_hand, kPath);
    ASSERT_EQ(file.tensors.size(), 1U);
    const auto& tensor = file.tensors.front().second;
    EXPECT_EQ(tensor.scalar_type(), type);
    EXPECT_EQ(tensor.dim(), 0);
    EXPECT_EQ(tensor.to(at::kDouble).item<double>(), value);
    // And back: the same data behind a header that says the same.
    const auto again = written({{"x", tensor}});
    EXPECT_TRUE(again.ends_with(bytes));
    EXPECT_EQ(nlohmann::json::parse(again.substr(8, again.size() - 8 - bytes.size())),
              nlohmann::json::parse(object({entry("x", dtype, "[]", 0, bytes.size())})));
  }
}

// Oracle: the format's description: the header's length, a JSON object, spaces up to a multiple of
// 8, then the numbers row by row.
TEST(Safetensors, WritesWhatTheFormatSays) {
  const auto matrix = at::arange(6, at::kInt).view({2, 3});
  const auto bytes = written({{"m", matrix.t()}, {"v", at::tensor({7.0, 8.0}, at::kDouble)}},
                             {{"key", "a \"text\"\n"}});
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  EXPECT_EQ(length % 8, 0U);
  const auto header = bytes.substr(8, length);
  EXPECT_EQ(header.front(), '{');
  const auto expected = nlohmann::json::parse(
      object({R"("__metadata__":{"key":"a \"text\"\n"})", entry("m", "I32", "[3,2]", 0, 24),
              entry("v", "F64", "[2]", 24, 40)}));
  EXPECT_EQ(nlohmann::json::parse(header), expected);
  std::string data;
  for (const char value : {'\0', '\3', '\1', '\4', '\2', '\5'}) data += value + "\0\0\0"s;
  data += "\0\0\0\0\0\0\x1c\x40\0\0\0\0\0\0\x20\x40"s;  // 7 and 8
  EXPECT_EQ(bytes.substr(8 + length), data);
}

// Oracle: the bytes that were written; names, order, shapes, dtypes and texts too.
TEST(Safetensors, ComeBackAsTheyWere) {
  auto generator = make_generator(1, Purpose::kInputs);
  NamedTensors tensors;
  for (const auto type : {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16, at::kLong, at::kInt,
                          at::kShort, at::kChar, at::kByte, at::kBool}) {
    for (const std::vector<std::int64_t>& shape :
         {std::vector<std::int64_t>{}, {1}, {7}, {3, 5}, {2, 3, 4}, {0}, {4, 0, 2}}) {
      auto values = at::empty(shape, at::kDouble).uniform_(0, 100, generator);
      tensors.emplace_back(fmt::format("z{}.ä\"{}\"", tensors.size(), shape.size()),
                           values.to(type));
    }
  }
  tensors.emplace_back("special", at::tensor({std::nan(""), HUGE_VAL, -0.0, 5e-324}, at::kDouble));
  const std::map<std::string, std::string> metadata{{"", ""}, {"a", "x,\\\n\tü"}};
  const auto file = read_safetensors(written(tensors, metadata), kPath);
  EXPECT_EQ(file.metadata, metadata);
  ASSERT_EQ(file.tensors.size(), tensors.size());
  std::map<std::string, at::Tensor> found(file.tensors.begin(), file.tensors.end());
  std::vector<std::string> order;
  for (const auto& [name, tensor] : tensors) {
    SCOPED_TRACE(name);
    ASSERT_TRUE(found.contains(name));
    EXPECT_EQ(found[name].scalar_type(), tensor.scalar_type());
    EXPECT_EQ(found[name].sizes(), tensor.sizes());
    EXPECT_EQ(raw(found[name]), raw(tensor));
  }
  // Those without numbers have no place of their own.
  const auto names_of = [](const NamedTensors& all) {
    std::vector<std::string> names;
    for (const auto& [name, tensor] : all) {
      if (tensor.numel() > 0) names.push_back(name);
    }
    return names;
  };
  EXPECT_EQ(names_of(file.tensors), names_of(tensors));
}

// Shapes without numbers may be as large as they like, or too large for a tensor.
TEST(Safetensors, LargeShapesWithoutNumbersAreNoCrash) {
  for (const std::string shape : {"[0,9223372036854775807]", "[9223372036854775807,0]",
                                  "[0,9223372036854775807,9223372036854775807]",
                                  "[9223372036854775807,9223372036854775807,0]"}) {
    SCOPED_TRACE(shape);
    const auto bytes = file_of(object({entry("x", "U8", shape, 0, 0)}), "");
    const auto text = test::user_error_text(
        [&] { EXPECT_EQ(read_safetensors(bytes, kPath).tensors.front().second.numel(), 0); });
    if (text) {
      EXPECT_NE(text->find("'x'"), std::string::npos) << *text;
    }
  }
}

TEST(Safetensors, MayBeEmpty) {
  const auto file = read_safetensors(written({}), kPath);
  EXPECT_TRUE(file.tensors.empty());
  EXPECT_TRUE(file.metadata.empty());
  EXPECT_TRUE(read_safetensors(file_of("{}", ""), kPath).tensors.empty());
}

TEST(Safetensors, HaveNoComplexNumbers) {
  std::ostringstream stream;
  EXPECT_THROW(write_safetensors(stream, {{"z", at::zeros({2}, at::kComplexFloat)}}, {}),
               c10::Error);
}

// Oracle: the format; only the whole file is one. Every length below that of the file is refused.
TEST(Safetensors, CutShortAnywhereAreRefused) {
  const auto whole = file_of(object({kA, kB}), kData);
  ASSERT_EQ(read_safetensors(whole, kPath).tensors.size(), 2U);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    SCOPED_TRACE(size);
    const auto header_end = whole.size() - kData.size();
    expect_refused(whole.substr(0, size), size < 8            ? "only"
                                          : size < header_end ? "cut short: its header"
                                                              : "cut short");
  }
}

// A header is named that the file cannot hold, up to lengths that no memory could.
TEST(Safetensors, AHeaderThatIsTooLongIsRefused) {
  const auto whole = file_of(object({kA, kB}), kData);
  const auto rest = whole.substr(8);
  expect_refused(little_endian(rest.size() + 1) + rest, "cut short");
  expect_refused(little_endian(100'000'000) + rest, "cut short");
  for (const std::uint64_t length : {100'000'001UL, 1UL << 40U, ~0UL, 1UL << 63U}) {
    expect_refused(little_endian(length) + rest, "too long");
  }
  // All of the numbers in the header.
  expect_refused(little_endian(rest.size()) + rest, "no JSON object");
}

TEST(Safetensors, AHeaderThatIsNoObjectIsRefused) {
  for (const std::string header : {"", " ", "{", "[]", "3", "null", "\"text\"", "{} {}", "{\"a\":}",
                                   "{\"a\" 3}", "{'a':3}", "{\"\xff\":{}}", "\0\0\0\0"}) {
    expect_refused(file_of(header, ""), "no JSON object");
  }
}

// Contract: the format has nothing before the brace.
TEST(Safetensors, NothingStandsBeforeTheHeader) {
  for (const std::string before : {" ", "\n", "\t", "\xef\xbb\xbf"}) {
    expect_refused(file_of(before + object({kA, kB}), kData), "no JSON object");
  }
}

// Contract: no deeper than 64 lists or objects, wherever they are, and no crash beyond.
TEST(Safetensors, AHeaderThatNestsDeeplyIsRefused) {
  for (const int depth : {65, 1000, 100'000}) {
    const std::string lists(static_cast<std::size_t>(depth), '[');
    const std::string ends(static_cast<std::size_t>(depth), ']');
    std::string objects;
    for (int i = 0; i < depth; ++i) objects += R"({"a":)";
    for (const auto& value : {lists, lists + ends, objects}) {
      expect_refused(file_of(R"({"x":)" + value + "}", ""), "nests more than 64");
      expect_refused(file_of(R"({"__metadata__":{"x":)" + value + "}}", ""), "nests more than 64");
    }
  }
}

// Contract: a time that grows with the length. By the square 30,000 took minutes; the bound is far
// above what a slow machine needs, and far below that.
TEST(Safetensors, ManyTensorsAreReadAndWrittenInLinearTime) {
  NamedTensors tensors;
  for (int i = 0; i < 30'000; ++i) tensors.emplace_back(fmt::format("t{}", i), at::empty({0}));
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(read_safetensors(written(tensors), kPath).tensors.size(), tensors.size());
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

TEST(Safetensors, MoreDimensionsThanTensorsHaveAreRefused) {
  std::string shape = "[1";
  for (int i = 0; i < 64; ++i) shape += ",1";
  expect_refused(file_of(object({entry("x", "U8", shape + "]", 0, 1)}), "\1"), "65 dimensions");
}

// A bool of other bits is no value of C++.
TEST(Safetensors, TruthIsZeroOrOne) {
  expect_refused(file_of(object({entry("x", "BOOL", "[3]", 0, 3)}), "\0\1\2"s), "neither true");
}

TEST(Safetensors, MetadataThatAreNoTextsAreRefused) {
  for (const std::string metadata : {"3", "[]", "{\"a\":3}", "{\"a\":{}}", "{\"a\":null}"}) {
    expect_refused(file_of("{\"__metadata__\":" + metadata + "}", ""), "__metadata__");
  }
}

TEST(Safetensors, TensorsWithoutTypeShapeAndPlaceAreRefused) {
  for (const std::string value :
       {"3", "[]", "null", "{}", R"({"shape":[1],"data_offsets":[0,1]})",
        R"({"dtype":"U8","data_offsets":[0,1]})", R"({"dtype":"U8","shape":[1]})",
        R"({"dtype":8,"shape":[1],"data_offsets":[0,1]})",
        R"({"dtype":"U8","shape":1,"data_offsets":[0,1]})",
        R"({"dtype":"U8","shape":[-1],"data_offsets":[0,1]})",
        R"({"dtype":"U8","shape":[1.0],"data_offsets":[0,1]})",
        R"({"dtype":"U8","shape":["1"],"data_offsets":[0,1]})",
        R"({"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,1]})",
        R"({"dtype":"U8","shape":[1],"data_offsets":[0]})",
        R"({"dtype":"U8","shape":[1],"data_offsets":[0,1,1]})",
        R"({"dtype":"U8","shape":[1],"data_offsets":[-1,0]})",
        R"({"dtype":"U8","shape":[1],"data_offsets":{"begin":0,"end":1}})"}) {
    SCOPED_TRACE(value);
    expect_refused(file_of("{\"x\":" + value + "}", "\x01"), "'x' has no dtype");
  }
}

TEST(Safetensors, UnknownTypesAreRefused) {
  for (const std::string dtype : {"F8_E4M3", "U16", "C64", "f32", "", "F32 "}) {
    expect_refused(file_of(object({entry("x", dtype, "[1]", 0, 1)}), "\x01"), "unknown dtype");
  }
}

TEST(Safetensors, ANameThatComesTwiceIsRefused) {
  const auto data = "\x01\x02"s;
  expect_refused(
      file_of(object({entry("x", "U8", "[1]", 0, 1), entry("x", "U8", "[1]", 1, 2)}), data),
      "'x' twice");
  expect_refused(file_of(object({R"("__metadata__":{})", entry("x", "U8", "[2]", 0, 2),
                                 R"("__metadata__":{})"}),
                         data),
                 "'__metadata__' twice");
  // Written otherwise, and still the same name.
  expect_refused(
      file_of(object({entry("x", "U8", "[1]", 0, 1), entry("\\u0078", "U8", "[1]", 1, 2)}), data),
      "'x' twice");
  // Within a tensor's description, and within the texts.
  expect_refused(
      file_of(R"({"x":{"dtype":"U8","shape":[2],"shape":[2],"data_offsets":[0,2]}})", data),
      "'shape' twice");
  expect_refused(
      file_of(object({R"("__metadata__":{"a":"1","a":"2"})", entry("x", "U8", "[2]", 0, 2)}), data),
      "'a' twice");
  // The same key in two objects is no name that comes twice.
  EXPECT_EQ(read_safetensors(file_of(object({entry("dtype", "U8", "[2]", 0, 2)}), data), kPath)
                .tensors.size(),
            1U);
}

// Oracle: the format: places follow one another from 0 to the end, each as long as its shape says.
TEST(Safetensors, PlacesThatDoNotFitAreRefused) {
  const auto both = [](const std::string& a, const std::string& b, std::size_t bytes = 10) {
    return file_of(object({a, b}), std::string(bytes, '\1'));
  };
  expect_refused(both(kA, entry("b", "I16", "[3]", 3, 9)), "'b' overlaps");
  expect_refused(both(kA, entry("b", "I16", "[2]", 0, 4)), "overlaps");
  expect_refused(both(entry("a", "U8", "[10]", 0, 10), entry("b", "U8", "[2]", 4, 6)),
                 "'b' overlaps");
  expect_refused(both(kA, entry("b", "I16", "[2]", 6, 10)), "gap before its 'b'");
  expect_refused(both(entry("a", "U8", "[3]", 1, 4), kB), "gap before its 'a'");
  expect_refused(both(kA, kB, 11), "1 bytes at its end");
  expect_refused(both(kA, kB, 9), "cut short");
  expect_refused(file_of("{}", "x"), "1 bytes at its end");
  expect_refused(both(kA, entry("b", "I16", "[3]", 10, 4)), "before it begins");
  // A tensor without numbers cannot stand inside another one, nor behind the end.
  expect_refused(both(entry("a", "U8", "[10]", 0, 10), entry("b", "U8", "[0]", 5, 5)), "overlaps");
  expect_refused(both(entry("a", "U8", "[10]", 0, 10), entry("b", "U8", "[0]", 11, 11)),
                 "cut short");
  // In another order than that of the data they are fine.
  EXPECT_EQ(read_safetensors(both(kB, kA), kPath).tensors.front().first, "a");
}

TEST(Safetensors, ShapesThatDoNotFitTheirBytesAreRefused) {
  for (const std::string shape :
       {"[1,2]", "[5]", "[]", "[2,2,2]", "[0]", "[4,9223372036854775807]",
        "[9223372036854775807,9223372036854775807]", "[4294967296,4294967296,4294967296,0]",
        "[2305843009213693952,8,2,2]"}) {
    SCOPED_TRACE(shape);
    expect_refused(file_of(object({entry("x", "U8", shape, 0, 4)}), "\1\2\3\4"), "'x' has 4 bytes");
  }
  expect_refused(file_of(object({entry("x", "F64", "[2305843009213693952]", 0, 0)}), ""),
                 "'x' has 0 bytes");
}

// Invariant: whatever byte of the header is changed, the file is refused or a file all the same.
TEST(Safetensors, ChangedHeadersDoNoHarm) {
  const auto whole = file_of(object({R"("__metadata__":{"k":"v"})", kA, kB}), kData);
  int refused = 0;
  for (std::size_t i = 0; i < whole.size() - kData.size(); ++i) {
    for (const int change : {0x01, 0x04, 0x10, 0x20, 0x80}) {
      auto damaged = whole;
      damaged[i] = static_cast<char>(damaged[i] ^ change);
      std::size_t numbers = 0;
      const auto text = test::user_error_text([&] {
        for (const auto& [name, tensor] : read_safetensors(damaged, kPath).tensors) {
          numbers += tensor.nbytes();
        }
      });
      refused += text ? 1 : 0;
      if (!text) {
        EXPECT_EQ(numbers, kData.size()) << i;
      }
    }
  }
  EXPECT_GT(refused, 300);
}

}  // namespace
}  // namespace pcxx::io
