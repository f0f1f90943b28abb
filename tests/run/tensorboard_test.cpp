#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <pcxx/catalog/vocabulary.h>
#include <pcxx/core/files.h>
#include <pcxx/io/png.h>
#include <pcxx/run/tensorboard.h>
#include <zlib.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <numeric>
#include <set>

#include "io/event_file.h"
#include "support/small_program.h"
#include "support/temporary_folder.h"

namespace pcxx::run {
namespace {

namespace fs = std::filesystem;

using test::TemporaryFolder;

// ---- A reader of its own, as the formats are described ------------------------------------------

template <typename Number>
Number number_at(std::string_view bytes, std::size_t place) {
  Number number{};
  EXPECT_LE(place + sizeof number, bytes.size());
  std::memcpy(&number, bytes.data() + place, sizeof number);
  return number;
}

// Bit by bit.
std::uint32_t slow_masked_crc(std::string_view bytes) {
  std::uint32_t crc = 0xffffffffU;
  for (const char c : bytes) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      const auto in = (static_cast<unsigned char>(c) >> bit & 1U) ^ (crc & 1U);
      crc = (crc >> 1) ^ (in * 0x82f63b78U);
    }
  }
  crc = ~crc;
  return std::rotr(crc, 15) + 0xa282ead8U;
}

std::vector<std::string> records_of(std::string_view file) {
  std::vector<std::string> records;
  while (!file.empty()) {
    const auto length = number_at<std::uint64_t>(file, 0);
    EXPECT_EQ(number_at<std::uint32_t>(file, 8), slow_masked_crc(file.substr(0, 8)));
    records.emplace_back(file.substr(12, length));
    EXPECT_EQ(number_at<std::uint32_t>(file, 12 + length), slow_masked_crc(records.back()));
    file.remove_prefix(16 + length);
  }
  return records;
}

// The fields of a message: integers as such, all others as bytes.
struct Field {
  std::uint64_t number = 0;
  std::uint64_t integer = 0;
  std::string bytes = {};
};

std::uint64_t varint(std::string_view& bytes) {
  std::uint64_t value = 0;
  for (unsigned shift = 0;; shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes.at(0));
    bytes.remove_prefix(1);
    value |= std::uint64_t{byte & 127U} << shift;
    if (byte < 128) return value;
  }
}

std::vector<Field> fields_of(std::string_view bytes) {
  std::vector<Field> fields;
  while (!bytes.empty()) {
    const auto key = varint(bytes);
    Field field{.number = key >> 3};
    const std::map<std::uint64_t, std::size_t> fixed{{1, 8}, {5, 4}};
    if (key % 8 == 0) {
      field.integer = varint(bytes);
    } else {
      const auto length = key % 8 == 2 ? varint(bytes) : fixed.at(key % 8);
      field.bytes = bytes.substr(0, length);
      bytes.remove_prefix(length);
    }
    fields.push_back(field);
  }
  return fields;
}

const Field& field(const std::vector<Field>& fields, std::uint64_t number) {
  return *std::find_if(fields.begin(), fields.end(),
                       [&](const Field& one) { return one.number == number; });
}

struct Value {
  std::int64_t step;
  std::string tag;
  float number = 0;
  std::vector<Field> image = {};
};

// What an event file shows, in its order.
std::vector<Value> values_of(const fs::path& path) {
  std::vector<Value> values;
  const auto records = records_of(read_file(path));
  EXPECT_EQ(field(fields_of(records.at(0)), 3).bytes, "brain.Event:2");
  for (std::size_t i = 1; i < records.size(); ++i) {
    const auto event = fields_of(records[i]);
    for (const auto& one : fields_of(field(event, 5).bytes)) {
      const auto parts = fields_of(one.bytes);
      Value value{.step = static_cast<std::int64_t>(field(event, 2).integer),
                  .tag = field(parts, 1).bytes};
      const auto& content = parts.at(1);
      if (content.number == 2) value.number = number_at<float>(content.bytes, 0);
      if (content.number == 4) value.image = fields_of(content.bytes);
      values.push_back(value);
    }
  }
  return values;
}

// ---- Tests --------------------------------------------------------------------------------------

// Oracle: RFC 3720, appendix B.4, and the check value of "123456789" that catalogues of CRCs give.
TEST(EventFile, ChecksumsAreCastagnoli) {
  std::string rising(32, '\0');
  std::iota(rising.begin(), rising.end(), '\0');
  EXPECT_EQ(io::crc32c(std::string(32, '\0')), 0x8A9136AAU);
  EXPECT_EQ(io::crc32c(std::string(32, '\xff')), 0x62A8AB43U);
  EXPECT_EQ(io::crc32c(rising), 0x46DD794EU);
  EXPECT_EQ(io::crc32c(std::string(rising.rbegin(), rising.rend())), 0x113FDB5CU);
  EXPECT_EQ(io::crc32c("123456789"), 0xE3069283U);
  EXPECT_EQ(io::crc32c(""), 0U);
}

// Oracle: the encodings by hand; 300 and -1 are the examples of the format's own description.
TEST(EventFile, MessagesAreProtocolBuffers) {
  EXPECT_EQ(io::Message().integer(1, 150).text(), "\x08\x96\x01");
  EXPECT_EQ(io::Message().integer(1, 300).text(), "\x08\xac\x02");
  EXPECT_EQ(io::Message().integer(2, -1).text(), "\x10" + std::string(9, '\xff') + "\x01");
  EXPECT_EQ(io::Message().integer(2, 0).text(), std::string("\x10\0", 2));
  EXPECT_EQ(io::Message().bytes(2, "testing").text(), "\x12\x07testing");
  EXPECT_EQ(io::Message().number(2, 1.0F).text(), std::string("\x15\0\0\x80\x3f", 5));
  EXPECT_EQ(io::Message().bytes(20, "").text(), std::string("\xa2\x01\0", 3));
}

// Oracle: zlib, which unpacks the pixels and computes the CRCs again.
TEST(Png, HoldsThePixels) {
  const auto pixels = at::arange(35, at::kByte).view({5, 7}).mul(7);
  for (const auto& picture : {pixels, pixels.t()}) {
    const auto file = io::png(picture);
    ASSERT_TRUE(file.starts_with("\x89PNG\r\n\x1a\n"));
    std::map<std::string, std::string> chunks;
    const auto big_endian = [&](std::size_t place) {
      return __builtin_bswap32(number_at<std::uint32_t>(file, place));
    };
    std::size_t place = 8;
    while (place < file.size()) {
      const auto length = big_endian(place);
      const auto named = file.substr(place + 4, 4 + length);
      EXPECT_EQ(big_endian(place + 8 + length),
                ::crc32_z(0, reinterpret_cast<const Bytef*>(named.data()), named.size()));
      chunks[named.substr(0, 4)] = named.substr(4);
      place += 12 + length;
    }
    EXPECT_EQ(big_endian(16), picture.size(1));
    EXPECT_EQ(big_endian(20), picture.size(0));
    EXPECT_EQ(chunks["IHDR"].substr(8), std::string("\x08\0\0\0\0", 5));
    EXPECT_EQ(chunks.count("IEND"), 1U);

    std::string unpacked(static_cast<std::size_t>(picture.size(0) * (picture.size(1) + 1)), '?');
    auto size = static_cast<uLongf>(unpacked.size());
    const auto& packed = chunks["IDAT"];
    ASSERT_EQ(::uncompress(reinterpret_cast<Bytef*>(unpacked.data()), &size,
                           reinterpret_cast<const Bytef*>(packed.data()), packed.size()),
              Z_OK);
    std::string rows;
    for (std::int64_t i = 0; i < picture.size(0); ++i) {
      rows += '\0';
      for (std::int64_t k = 0; k < picture.size(1); ++k) {
        rows += static_cast<char>(picture[i][k].item<std::uint8_t>());
      }
    }
    EXPECT_EQ(unpacked, rows);
  }
  EXPECT_THROW(io::png(at::zeros({2, 2})), c10::Error);
  EXPECT_THROW(io::png(at::zeros({2}, at::kByte)), c10::Error);
}

Cell cell_of(const std::vector<std::string>& settings) {
  const auto config = config::Config::read(
      catalog::schema({"rule", "rescaling", "width", "learning_rate", "seeds", "dataset", "data"}),
      std::nullopt, settings);
  auto names = columns(config);
  names.emplace_back("data");
  return Cell(config, names).with("seed", 3);
}

fs::path event_file(const fs::path& folder, const std::string& run) {
  return folder / "tensorboard" / run / "events.out.tfevents.0.pcxx";
}

std::set<std::string> runs_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder / "tensorboard")) {
    names.insert(entry.path().filename());
  }
  return names;
}

// Oracle: the decoder above, and what was told. Metrics come one after the other, events by step.
TEST(Tensorboard, ShowsWhatItIsTold) {
  const TemporaryFolder temporary;
  RunFolder folder(temporary / "run");
  Tensorboard board({"width"});
  const auto cell = cell_of({"rule=pc", "rescaling=alpha", "width=5", "learning_rate=0.1"});
  for (const auto& [step, value] :
       {std::pair(0, 1.5), std::pair(10, 0.25), std::pair(2'000'000'000, 1e-30)}) {
    board.scalar(cell, step, "error", value);
  }
  board.scalar(cell, 10, "inference/energy", std::nan(""));
  board.image(cell, 10, "pictures", at::full({4, 9}, 200, at::kByte));
  board.write(folder);
  folder.commit();

  const std::string run = "pc + alpha, width 5, learning_rate 0.1, seed 3";
  EXPECT_EQ(runs_in(folder.path()), std::set<std::string>{run});
  const auto values = values_of(event_file(folder.path(), run));
  ASSERT_EQ(values.size(), 5U);
  const std::vector<std::tuple<std::int64_t, std::string, float>> expected{
      {0, "error", 1.5F}, {10, "error", 0.25F}, {2'000'000'000, "error", 1e-30F}};
  for (std::size_t i = 0; i < 3; ++i) {
    const auto& value = values[i == 2 ? 3 : i];
    EXPECT_EQ(std::tuple(value.step, value.tag, value.number), expected[i]);
  }
  EXPECT_EQ(values[2].tag, "inference/energy");
  EXPECT_EQ(values[2].step, 10);
  EXPECT_TRUE(std::isnan(values[2].number));
  const auto& image = values[4].image;
  EXPECT_EQ(values[4].tag, "pictures");
  EXPECT_EQ(field(image, 1).integer, 4U);
  EXPECT_EQ(field(image, 2).integer, 9U);
  EXPECT_EQ(field(image, 3).integer, 1U);
  EXPECT_EQ(field(image, 4).bytes, io::png(at::full({4, 9}, 200, at::kByte)));
}

// Contract: two ends are no curve, unless there are no curves at all.
TEST(Tensorboard, LeavesOutRunsOfWhichOnlyTheEndsAreKnown) {
  const auto ends = cell_of({"rule=bp", "learning_rate=0.1"});
  const auto whole = cell_of({"rule=bp", "learning_rate=0.2"});
  for (const bool all_ends : {false, true}) {
    const TemporaryFolder temporary;
    RunFolder folder(temporary / "run");
    Tensorboard board({});
    for (const int step : {0, 9, 5}) {
      if (step != 5) board.scalar(ends, step, "error", 1);
      if (step != 5 || !all_ends) board.scalar(whole, step, "error", 1);
    }
    board.write(folder);
    folder.commit();
    std::set<std::string> expected{"bp, learning_rate 0.2, seed 3"};
    if (all_ends) expected.insert("bp, learning_rate 0.1, seed 3");
    EXPECT_EQ(runs_in(folder.path()), expected);
  }
}

// Contract: every cell has a folder of its own, right below tensorboard/, whatever its values are.
TEST(Tensorboard, NamesAreFoldersAndDiffer) {
  const TemporaryFolder temporary;
  RunFolder folder(temporary / "run");
  Tensorboard board({"data"});
  for (const auto& data : {std::string("a/b"), std::string("a_b"), std::string("../.."),
                           std::string(300, 'x'), std::string(301, 'x')}) {
    board.scalar(cell_of({"rule=bp", "data='" + data + "'", "learning_rate=0.1"}), 0, "error", 1);
  }
  board.write(folder);
  folder.commit();
  const auto runs = runs_in(folder.path());
  EXPECT_EQ(runs.size(), 5U);
  EXPECT_TRUE(runs.contains("bp, data a_b, learning_rate 0.1, seed 3"));
  EXPECT_TRUE(runs.contains("bp, data .._.., learning_rate 0.1, seed 3"));
  for (const auto& run : runs) EXPECT_EQ(values_of(event_file(folder.path(), run)).size(), 1U);
}

Program curves() {
  auto program = test::small_program([](run::Run& run) {
    for (const auto& model : run.config().models()) {
      const auto cell = run.records().cell(model).with("learning_rate", 0.5).with("seed", 1);
      for (int step = 0; step < 4; ++step) run.records().add(cell, step, "error", 0.5 * step);
      run.records().add(cell, "best_error", 7);
    }
  });
  program.curves = true;
  return program;
}

// Oracle: what was recorded, without what belongs to no step. The same run gives the same bytes,
// and one without the option takes them away.
TEST(Tensorboard, OfAProgramAreTheRecords) {
  const TemporaryFolder temporary;
  const auto out = temporary / "run";
  const std::vector<std::string> words{"--out", out.string(), "--set", "rule=[bp,pc]"};
  auto with = words;
  with.emplace_back("--tensorboard");
  const auto outcome = test::run_program(curves(), with);
  ASSERT_EQ(outcome.code, 0) << outcome.errors;
  EXPECT_NE(outcome.out.find("tensorboard --logdir " + (out / "tensorboard").string() + "\n"),
            std::string::npos)
      << outcome.out;
  EXPECT_EQ(runs_in(out), (std::set<std::string>{"bp, learning_rate 0.5, seed 1",
                                                 "pc, learning_rate 0.5, seed 1"}));
  const auto file = event_file(out, "pc, learning_rate 0.5, seed 1");
  const auto values = values_of(file);
  ASSERT_EQ(values.size(), 4U);
  for (std::size_t step = 0; step < 4; ++step) {
    EXPECT_EQ(values[step].step, static_cast<std::int64_t>(step));
    EXPECT_EQ(values[step].number, 0.5F * static_cast<float>(step));
    EXPECT_EQ(values[step].tag, "error");
  }
  EXPECT_NE(read_file(out / "config.toml").find(" --tensorboard\n"), std::string::npos);
  const auto bytes = read_file(file);
  ASSERT_EQ(test::run_program(curves(), with).code, 0);
  EXPECT_EQ(read_file(file), bytes);
  ASSERT_EQ(test::run_program(curves(), words).code, 0);
  EXPECT_FALSE(fs::exists(out / "tensorboard"));
  EXPECT_EQ(test::run_program(test::small_program(), {"--tensorboard"}).code, 2);
}

// Contract: a run that fails leaves nothing.
TEST(Tensorboard, AFailedRunLeavesNone) {
  const TemporaryFolder temporary;
  auto program = curves();
  program.run = [run = program.run](run::Run& r) {
    run(r);
    throw std::runtime_error("no more");
  };
  EXPECT_EQ(
      test::run_program(program, {"--out", (temporary / "run").string(), "--tensorboard"}).code, 1);
  EXPECT_EQ(temporary.size(), 0U);
}

}  // namespace
}  // namespace pcxx::run
