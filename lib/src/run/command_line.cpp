#include <fmt/format.h>
#include <pcxx/core/error.h>
#include <pcxx/run/command_line.h>
#include <pcxx/run/program.h>

#include <algorithm>
#include <cxxopts.hpp>
#include <map>

#include "core/text.h"

namespace pcxx::run {
namespace {

struct Option {
  std::string name;
  std::string value;  // what --help calls it; empty for a switch
  std::string doc;
};

std::vector<Option> options(const Program& program) {
  const auto& schema = program.schema;
  std::vector<Option> all{{"config", "FILE", "read keys from a TOML file"},
                          {"set", "KEY=VALUE", "set one key, over the file; may be repeated"}};
  if (schema.find("seeds") != nullptr) all.push_back({"seed", "N", "short for --set seeds=[N]"});
  all.push_back({"device", "D", "short for --set device=D"});
  all.push_back({"threads", "N", "short for --set threads=N"});
  if (schema.find("data") != nullptr) all.push_back({"data", "DIR", "short for --set data=DIR"});
  if (schema.find("engine") != nullptr) {
    all.push_back({"engine", "E", "short for --set engine=E"});
  }
  if (program.loads) all.push_back({"load", "FILE", "start from saved weights"});
  all.push_back({"out", "DIR",
                 fmt::format("folder of the results; runs/{}-<date>-<time> otherwise; an older "
                             "run's results there are replaced at the end",
                             program.name)});
  if (program.works) {
    all.push_back(
        {"resume", "",
         "go on with the run in --out where it was interrupted; without --config with its "
         "own"});
    all.push_back({"shard", "i/N",
                   "do every N-th job, from number i (0 to N - 1) on; any number of machines may "
                   "share --out; a Slurm array's tasks are shards by themselves"});
    all.push_back({"merge", "DIR", "results of the shards in this folder; may be repeated"});
  }
  if (program.curves) {
    all.push_back({"tensorboard", "",
                   "leave the curves of metrics.csv as event files too, for tensorboard --logdir "
                   "DIR/tensorboard"});
  }
  all.push_back({"print-config", "", "print every key with its value as TOML, and end"});
  all.push_back({"quiet", "", "print errors only"});
  all.push_back({"version", "", "print the version, and end"});
  all.push_back({"help", "", "print this, and end"});
  return all;
}

// "Option ‘sed’ does not exist" as "option 'sed' does not exist".
std::string plain(std::string text) {
  for (const std::string_view mark : {"\u2018", "\u2019"}) {
    std::string replaced;
    for (std::size_t at = 0; at < text.size();) {
      const auto next = std::min(text.find(mark, at), text.size());
      replaced.append(text, at, next - at);
      if (next < text.size()) replaced += '\'';
      at = next + mark.size();
    }
    text = std::move(replaced);
  }
  if (!text.empty() && text[0] >= 'A' && text[0] <= 'Z') text[0] += 'a' - 'A';
  return text;
}

cxxopts::ParseResult parse(const Program& program, int argc, const char* const* argv) {
  cxxopts::Options parser(program.name);
  for (const auto& option : options(program)) {
    if (option.value.empty()) {
      parser.add_options()(option.name, "", cxxopts::value<bool>());
    } else {
      parser.add_options()(option.name, "", cxxopts::value<std::vector<std::string>>());
    }
  }
  try {
    return parser.parse(argc, argv);
  } catch (const cxxopts::exceptions::exception& error) {
    user_error("{}; --help shows the options", shortened(plain(error.what())));
  }
}

void check(const cxxopts::ParseResult& parsed) {
  if (!parsed.unmatched().empty()) {
    user_error("'{}' belongs to no option; --help shows the options",
               shortened(parsed.unmatched().front()));
  }
  std::map<std::string, int> counts;
  for (const auto& argument : parsed.arguments()) {
    const auto& name = argument.key();
    if (++counts[name] > 1 && name != "set" && name != "merge")
      user_error("--{} was given twice", name);
    if (argument.value().empty() || argument.value().starts_with("--")) {
      user_error("--{} needs a value, not '{}'", name, shortened(argument.value()));
    }
  }
}

bool on(const cxxopts::ParseResult& parsed, const std::string& name) {
  return parsed.count(name) > 0 && parsed[name].as<bool>();
}

void append_options(std::string& out, const Program& program) {
  constexpr std::size_t kIndent = 20;
  for (const auto& [name, value, doc] : options(program)) {
    out += fmt::format("  {:<{}}", fmt::format("--{} {}", name, value), kIndent - 2);
    append_wrapped(out, doc, kIndent);
  }
}

void append_examples(std::string& out, const Program& program) {
  for (const auto& example : program.examples) {
    const bool comment = example.starts_with('#');
    out += fmt::format("  {}{}\n", comment ? "" : program.name + " ", example);
  }
}

}  // namespace

CommandLine parse_command_line(const Program& program, int argc, const char* const* argv) {
  const auto parsed = parse(program, argc, argv);
  check(parsed);
  CommandLine result;
  for (const auto& argument : parsed.arguments()) {
    const auto& name = argument.key();
    const auto& value = argument.value();
    if (name == "config") result.config = value;
    if (name == "out") result.out = value;
    if (name == "load") result.load = value;
    if (name == "set") result.assignments.push_back(value);
    if (name == "seed") result.assignments.push_back(fmt::format("seeds=[{}]", value));
    if (name == "shard") result.shard = parse_shard(value);
    if (name == "merge") result.merge.emplace_back(value);
    if (name == "device" || name == "threads" || name == "data" || name == "engine") {
      result.assignments.push_back(fmt::format("{}={}", name, value));
    }
  }
  result.resume = program.works && on(parsed, "resume");
  result.tensorboard = program.curves && on(parsed, "tensorboard");
  result.print_config = on(parsed, "print-config");
  result.quiet = on(parsed, "quiet");
  result.version = on(parsed, "version");
  result.help = on(parsed, "help");
  result.text = shell_line({argv, argv + argc});
  return result;
}

std::string help_text(const Program& program) {
  std::string out;
  append_wrapped(out, program.summary, 0);
  out += fmt::format("\nUsage: {} [options]\n", program.name);
  if (!program.examples.empty()) {
    out += "\nExamples:\n";
    append_examples(out, program);
  }
  out += "\nOptions:\n";
  append_options(out, program);
  out += "\nKeys, of a TOML file and of --set:\n" + program.schema.help();
  out +=
      "\nResults: config.toml (give it to --config to repeat the run), environment.json,\n"
      "metrics.csv, summary.json";
  out += program.plot_script.empty() ? "\n" : ", figure.png\n";
  out += "Exit codes: 0 done, 1 failure, 2 bad input, 130 interrupted\n";
  return out;
}

}  // namespace pcxx::run
