#include "fuzz/targets.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <pcxx/catalog/vocabulary.h>
#include <pcxx/config/config.h>
#include <pcxx/core/error.h>
#include <pcxx/data/idx.h>
#include <pcxx/io/safetensors.h>
#include <pcxx/run/parts.h>
#include <pcxx/run/program.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "io/archive.h"
#include "reproduce/results.h"
#include "run/saved_run.h"
#include "support/idx_files.h"
#include "support/small_program.h"
#include "support/temporary_folder.h"

namespace pcxx::fuzz {
namespace {

namespace fs = std::filesystem;

// Of every kind and shape one key.
const config::Schema& schema() {
  static const auto keys = catalog::schema({"rule", "rescaling", "learning_rate", "dtype", "width",
                                            "widths", "steps", "seeds", "bias", "data"})
                               .initial("learning_rate", "0.1");
  return keys;
}

void expect(bool holds, const char* what) {
  if (!holds) throw std::logic_error(what);
}

// Invariant: what is written reads back as the same.
void read_toml(const std::string& input) {
  const auto config = config::Config::parse(schema(), input, "input.toml");
  const auto written = config.toml();
  const auto again = config::Config::parse(schema(), written, "written.toml");
  expect(again == config, "a config that is written reads back as another one");
  expect(again.toml() == written, "a config that is written twice differs");
}

const run::Program& program() {
  static const auto all = [] {
    auto small = test::small_program();
    small.schema = schema();
    small.works = small.curves = true;
    return small;
  }();
  return all;
}

// A word a line.
void read_command_line(const std::string& input) {
  std::vector<std::string> words;
  for (std::size_t at = 0; at < input.size();) {
    const auto end = std::min(input.find('\n', at), input.size());
    words.push_back(input.substr(at, end - at));
    at = end + 1;
  }
  const auto line = test::parse_command_line(program(), words);
  const auto config = config::Config::parse(schema(), "", "", line.assignments);
  expect(config == config::Config::parse(schema(), config.toml(), "written.toml"),
         "an assigned config that is written reads back as another one");
}

void read_idx(const std::string& input) {
  const auto values = data::idx_of_bytes(input, "input");
  expect(values.numel() > 0 && values.is_contiguous(), "IDX values are no values");
  auto written = test::big_endian(0x0800U + static_cast<std::uint32_t>(values.dim()));
  for (const auto size : values.sizes()) {
    written += test::big_endian(static_cast<std::uint32_t>(size));
  }
  written.append(static_cast<const char*>(values.const_data_ptr()), values.nbytes());
  expect(at::equal(data::idx_of_bytes(written, "written"), values),
         "IDX values that are written read back as others");
}

std::string written(const io::Safetensors& file) {
  std::ostringstream bytes;
  io::write_safetensors(bytes, file.tensors, file.metadata);
  return std::move(bytes).str();
}

void read_safetensors(const std::string& input) {
  const auto bytes = written(io::read_safetensors(input, "input.safetensors"));
  expect(written(io::read_safetensors(bytes, "written.safetensors")) == bytes,
         "tensors that are written read back as others");
}

// A folder with a run of two jobs that was not ended.
class Unfinished {
 public:
  Unfinished() { fs::create_directories(parts()); }

  fs::path out() const { return folder_ / "run"; }
  fs::path parts() const { return out() / "parts"; }
  fs::path put(const std::string& name, const std::string& bytes) const {
    const auto path = parts() / name;
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }

  // As run.json in the corpus has it, whatever version and commit this is.
  static const nlohmann::json& identity() {
    static const auto json = [] {
      auto run = run::identity_of(program(), config::Config::parse(schema(), "", ""),
                                  {{"images", "0123abcd"}}, 2);
      run["version"] = "1";
      run["commit"] = "c";
      return run;
    }();
    return json;
  }

 private:
  test::TemporaryFolder folder_;
};

const Unfinished& unfinished() {
  static const Unfinished run;
  return run;
}

void read_run(const std::string& input) {
  const auto& run = unfinished();
  const auto path = run.put("run.json", input);
  const auto config = run::read_config(program(), {.out = run.out(), .resume = true, .text = {}});
  expect(config == config::Config::parse(schema(), config.toml(), "written.toml"),
         "the config of a run that is written reads back as another one");
  run::check_same_run(run.parts(), program(), Unfinished::identity());
  const auto json = run::Parts::run_of(run.parts());
  run.put("run.json", json->dump());
  expect(run::Parts::run_of(run.parts()) == json, "a run that is written reads back as another");
}

// Tensors by name, however they are damaged.
void read_tensors(const std::string& input) {
  const auto bytes = io::bytes_of_tensors(io::tensors_of_bytes(input, "input.safetensors"));
  expect(io::bytes_of_tensors(io::tensors_of_bytes(bytes, "written.safetensors")) == bytes,
         "tensors that are written read back as others");
}

void read_part(const std::string& input) {
  const auto& run = unfinished();
  run.put("run.json", Unfinished::identity().dump());
  run.put("job0.safetensors", input);
  run::Parts({run.parts()}, 1).read(0, [](const run::Part& part) {
    entry_like(part, "final_error", at::zeros({}, at::kDouble));
    entry_like(part, "weight.1", at::zeros({2, 3}));
    expect(count_of(part, "steps") >= 0, "a part has a negative count");
  });
  read_tensors(input);
}

// Of a text in braces, which no such file begins with, the checkpoint that has it as its origin.
std::string checkpoint(const std::string& input) {
  if (!input.starts_with("{\"")) return input;
  return io::bytes_of_tensors({{"origin", as_bytes(input)}, {"state.weight.1", at::ones({2})}});
}

void read_checkpoint(const std::string& input) {
  constexpr std::int64_t kSteps = 1000;
  const auto bytes = checkpoint(input);
  const auto steps = run::checkpoint_of(bytes, "input.safetensors").steps;
  expect(steps >= 0, "a checkpoint has negative steps");
  const auto path = unfinished().put("job0.checkpoint.safetensors", bytes);
  run::read_checkpoint(path, program(), Unfinished::identity(),
                       {.name = "pc, seed 0", .steps = kSteps});
  expect(steps <= kSteps, "a checkpoint is beyond the end of its job");
  read_tensors(bytes);
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
  const auto again = reproduce::PanelResults::read(results.summary().dump(), "written.json");
  expect(again.summary() == results.summary(), "a summary that is written reads back as another");
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

// With the checksum that its tensors have.
std::string with_checksum(const std::string& input) {
  const auto bytes = with_length(input);
  try {
    return io::bytes_of_tensors(io::read_safetensors(bytes, "input.safetensors").tensors);
  } catch (const UserError&) {
    return bytes;
  }
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

const std::vector<std::string> kTensorWords{"{",
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
                                            "{}"};

// Of JSON around a config.
std::vector<std::string> saved_words() {
  auto words = kTensorWords;
  for (const char* word :
       {"\"program\"", "\"pcxx-small\"", "\"version\"", "\"commit\"", "\"inputs\"", "\"config\"",
        "\"jobs\"",    "\"run\"",        "\"job\"",     "\"steps\"",  "\"images\"", "\\n",
        "\\\"",        "width = 3",      "[[models]]",  "rule",       "[",          "0x1",
        "\\u001b",     "1000",           "null"}) {
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
       [](const std::string& bytes) {
         return bytes.starts_with("\x1f\x8b") ? bytes : test::gzip(bytes);
       }},
      {"safetensors", read_safetensors, kTensorWords, with_length},
      {"part", read_part, kTensorWords, with_checksum},
      {"checkpoint", read_checkpoint, saved_words(), with_checksum},
      {"run_json", read_run, saved_words(), {}},
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
