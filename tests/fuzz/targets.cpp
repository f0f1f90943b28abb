#include "fuzz/targets.h"

#include <fmt/format.h>
#include <pcxx/core/error.h>
#include <pcxx/data/idx.h>
#include <pcxx/train/config.h>
#include <pcxx/train/program.h>

#include <algorithm>
#include <sstream>
#include <stdexcept>

#include "reproduce/results.h"
#include "support/idx_files.h"
#include "support/small_program.h"
#include "train/safetensors.h"

namespace pcxx::fuzz {
namespace {

// Of every kind and shape one key.
const train::Schema& schema() {
  static const auto keys = train::Schema({"rule", "rescaling", "learning_rate", "dtype", "width",
                                          "widths", "steps", "seeds", "bias", "data"})
                               .initial("learning_rate", "0.1");
  return keys;
}

void expect(bool holds, const char* what) {
  if (!holds) throw std::logic_error(what);
}

// Invariant: what is written reads back as the same.
void read_toml(const std::string& input) {
  const auto config = train::Config::parse(schema(), input, "input.toml");
  const auto written = config.toml();
  const auto again = train::Config::parse(schema(), written, "written.toml");
  expect(again == config, "a config that is written reads back as another one");
  expect(again.toml() == written, "a config that is written twice differs");
}

// A word a line.
void read_command_line(const std::string& input) {
  static const auto program = [] {
    auto all = test::small_program();
    all.schema = schema();
    all.works = all.curves = true;
    return all;
  }();
  std::vector<std::string> words;
  for (std::size_t at = 0; at < input.size();) {
    const auto end = std::min(input.find('\n', at), input.size());
    words.push_back(input.substr(at, end - at));
    at = end + 1;
  }
  const auto line = test::parse_command_line(program, words);
  const auto config = train::Config::parse(schema(), "", "", line.assignments);
  expect(config == train::Config::parse(schema(), config.toml(), "written.toml"),
         "an assigned config that is written reads back as another one");
}

void read_idx(const std::string& input) {
  const auto values = data::idx_of_bytes(input, "input");
  expect(values.numel() > 0 && values.is_contiguous(), "IDX values are no values");
}

void read_safetensors(const std::string& input) {
  const auto file = train::read_safetensors(input, "input.safetensors");
  std::ostringstream written;
  train::write_safetensors(written, file.tensors, file.metadata);
  const auto again = train::read_safetensors(written.str(), "written.safetensors");
  expect(again.metadata == file.metadata && again.tensors.size() == file.tensors.size(),
         "tensors that are written read back as others");
}

void read_summary(const std::string& input) {
  const auto results = reproduce::PanelResults::read(input, "summary.json");
  for (const auto& entry : results.entries()) {
    entry.name();
    entry.edge();
    entry.diverged();
    for (const char* key : {"width", "target_alignment", "final_errors"}) {
      entry.text(key);
      entry.seeds(key);
      entry.number(key);
    }
  }
  results.values("width", {{"rule", "pc"}});
}

// With the length of the header that it has now.
std::string with_length(std::string input) {
  if (input.size() < 8) return input;
  auto end = input.rfind('}');
  if (end == std::string::npos || end < 8) end = input.size() - 1;
  auto length = end + 1 - 8;
  for (std::size_t i = 0; i < 8; ++i, length >>= 8) input[i] = static_cast<char>(length & 0xffU);
  return input;
}

const std::vector<std::string> kTomlWords{"=",
                                          "\n",
                                          "[[models]]\n",
                                          "[",
                                          "]",
                                          "{",
                                          "}",
                                          ",",
                                          ".",
                                          "\"",
                                          "'",
                                          "\"\"\"",
                                          "'''",
                                          "\\",
                                          "#",
                                          "rule",
                                          "\"bp\"",
                                          "\"pc\"",
                                          "\"kpc\"",
                                          "rescaling",
                                          "\"projection\"",
                                          "learning_rate",
                                          "dtype",
                                          "\"float32\"",
                                          "width",
                                          "widths",
                                          "steps",
                                          "seeds",
                                          "bias",
                                          "true",
                                          "data",
                                          "from",
                                          "to",
                                          "points",
                                          "scale",
                                          "\"log\"",
                                          "\"linear\"",
                                          "nan",
                                          "inf",
                                          "1e400",
                                          "1979-05-27",
                                          "0x10",
                                          "1_0",
                                          ".5",
                                          "1.",
                                          "1e3",
                                          "9223372036854775807",
                                          "-9223372036854775808",
                                          "{ from = 1, to = 3 }",
                                          "{ from = 1e-3, to = 1, points = 4 }",
                                          "\\u0000",
                                          "\\U0010ffff",
                                          "\xff",
                                          "\r\n",
                                          "\t",
                                          "a.b"};

std::vector<std::string> command_words() {
  auto words = kTomlWords;
  for (const char* word : {"--set\n",
                           "--config\n",
                           "--out\n",
                           "--seed\n",
                           "--seed=3\n",
                           "--data\n",
                           "--threads\n",
                           "--device=cpu\n",
                           "--load\n",
                           "--resume\n",
                           "--quiet\n",
                           "--shard\n0/2\n",
                           "--merge\na\n",
                           "--tensorboard\n",
                           "--print-config\n",
                           "--help\n",
                           "--version\n",
                           "--\n",
                           "-",
                           "--set=width=3\n",
                           "\u2018"}) {
    words.emplace_back(word);
  }
  return words;
}

}  // namespace

const std::vector<Target>& targets() {
  static const std::vector<Target> all{
      {"toml", read_toml, kTomlWords, {}},
      {"command_line", read_command_line, command_words(), {}},
      {"idx",
       read_idx,
       {std::string("\0\0\x08\x03", 4), std::string("\0\0\x08\x01", 4), "\x1f\x8b\x08",
        std::string("\0\0\0\1", 4), "\x89PNG", "\x93NUMPY", std::string(16, '\0')},
       [](const std::string& bytes) { return test::gzip(bytes); }},
      {"safetensors",
       read_safetensors,
       {"{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "\\u0000",
        "\"__metadata__\"",
        "\"dtype\"",
        "\"shape\"",
        "\"data_offsets\"",
        "\"F32\"",
        "\"F64\"",
        "\"I64\"",
        "\"U8\"",
        "\"BOOL\"",
        "\"BF16\"",
        "null",
        "true",
        "1e3",
        "-1",
        "18446744073709551615",
        "9223372036854775807",
        "[0,0]",
        "[[",
        "{}"},
       with_length},
      {"summary_json",
       read_summary,
       {"{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "null",
        "true",
        "NaN",
        "1e999",
        "\"cells\"",
        "\"models\"",
        "\"rule\"",
        "\"rescaling\"",
        "\"model\"",
        "\"best_rate\"",
        "\"width\"",
        "\"best_rate_at_edge\"",
        "\"final_errors\"",
        "\"target_alignment\"",
        "\"values\"",
        "\"batch_size\"",
        "[]",
        "{}",
        "\\ud800",
        "\xff"},
       {}},
  };
  return all;
}

void read(const Target& target, const std::string& input) {
  constexpr std::size_t kLongest = 1000;
  try {
    target.read(input);
  } catch (const UserError& error) {
    const std::string_view text = error.what();
    const bool one_line = std::none_of(text.begin(), text.end(), [](char c) {
      return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    });
    expect(!text.empty() && one_line, "a refusal is not one line");
    expect(text.size() <= kLongest, "a refusal is too long");
  }
}

}  // namespace pcxx::fuzz
