#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace pcxx::train {

struct Program;

/// The command line that every program has.
///
///   --config FILE    --set key=value (repeatable)   --out DIR      --data DIR   --load FILE
///   --device D       --seed N                       --threads N
///   --print-config   --quiet                        --version      --help
///
/// `--device`, `--threads` and `--data` are short for `--set device=...` and so on, `--seed N` for
/// `--set seeds=[N]`. `--data` and `--load` exist only in programs that can use them.
struct CommandLine {
  std::optional<std::filesystem::path> config = {};
  std::vector<std::string> assignments = {};  ///< "key=value", short forms included, in order
  std::optional<std::filesystem::path> out = {};
  std::optional<std::filesystem::path> load = {};
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

}  // namespace pcxx::train
