#pragma once

#include <pcxx/run/work.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace pcxx::run {

struct Program;

/// The command line that every program has.
///
///   --config FILE    --set key=value (repeatable)   --out DIR      --data DIR   --load FILE
///   --device D       --seed N                       --threads N
///   --engine E       --resume    --shard i/N        --merge DIR (repeatable)
///   --tensorboard    --print-config   --quiet                        --version      --help
///
/// `--device`, `--threads`, `--engine` and `--data` are short for `--set device=...` and so on,
/// `--seed N` for `--set seeds=[N]`. The options of data, engines, weights, jobs and curves exist
/// only in programs that can use them.
struct CommandLine {
  std::optional<std::filesystem::path> config = {};
  std::vector<std::string> assignments = {};  ///< "key=value", short forms included, in order
  std::optional<std::filesystem::path> out = {};
  std::optional<std::filesystem::path> load = {};
  bool resume = false;
  std::optional<Shard> shard = {};
  std::vector<std::filesystem::path> merge = {};
  bool tensorboard = false;
  bool print_config = false;
  bool quiet = false;
  bool version = false;
  bool help = false;
  std::string text = {};  ///< as typed
};

/// Throws UserError, in one sentence, on unknown options, words that belong to no option (such as
/// the False of `--quiet False`), missing values and options given twice.
CommandLine parse_command_line(const Program& program, int argc, const char* const* argv);

/// What `--help` prints: purpose, examples, options, and every key with its default and choices.
std::string help_text(const Program& program);

}  // namespace pcxx::run
