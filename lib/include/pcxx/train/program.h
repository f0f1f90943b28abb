#pragma once

#include <c10/core/Device.h>
#include <fmt/format.h>
#include <pcxx/train/command_line.h>
#include <pcxx/train/config.h>
#include <pcxx/train/progress.h>
#include <pcxx/train/records.h>
#include <pcxx/train/run_folder.h>

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pcxx::train {

/// What an experiment is given: its config, its device, and where its results go.
class Run {
 public:
  Run(Config config, c10::Device device, RunFolder& folder, CommandLine command_line);

  const Config& config() const { return config_; }
  /// Replaces one key by what was chosen for it (`dataset = "auto"` by "mnist"), so that the
  /// config.toml of the run says it too.
  void resolve(std::string_view key, const Value& value);

  c10::Device device() const { return device_; }
  RunFolder& folder() const { return folder_; }
  /// metrics.csv.
  Records& records() { return records_; }
  /// summary.json.
  nlohmann::json& summary() { return summary_; }

  /// --load, when given.
  const std::optional<std::filesystem::path>& load_path() const { return command_line_.load; }
  /// --data or the key `data`, else PCXX_DATA_DIR.
  std::optional<std::filesystem::path> data_folder() const;

  bool quiet() const { return command_line_.quiet; }
  /// Rate and time left on stderr; ends (and wipes its line) with its scope.
  Progress progress(std::string label, std::int64_t total) const;
  /// Ends the run, cleanly, when the user has pressed Ctrl-C. Call it about every step.
  void check_interrupted() const;

  /// A line on stdout, unless --quiet.
  template <typename... Args>
  void print(fmt::format_string<Args...> format, Args&&... args) const {
    print_line(fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  void print_line(const std::string& line) const;

  Config config_;
  c10::Device device_;
  RunFolder& folder_;
  CommandLine command_line_;
  Records records_;
  nlohmann::json summary_ = nlohmann::json::object();
};

/// A command-line program around one experiment.
///
///   int main(int argc, char** argv) {
///     return run_program({.name = "pcxx-alignment",
///                         .summary = "Target alignment after one update.",
///                         .examples = {"--set width=[128,256]"},
///                         .schema = Schema({"rule", "rescaling", "width", "seeds"}),
///                         .plot_script = "alignment",
///                         .run = measure_alignment}, argc, argv);
///   }
struct Program {
  std::string name;                        ///< "pcxx-alignment"
  std::string summary;                     ///< what it does, a few sentences
  std::vector<std::string> examples = {};  ///< arguments; a "# ..." line before one explains it
  Schema schema;
  bool loads = false;            ///< has --load
  std::string plot_script = {};  ///< plots/<this>.py draws the figure; empty: no figure
  std::function<void(Run&)> run = {};
};

/// Reads the command line and the config, runs, writes the folder and the figure. Returns the exit
/// code: 0; 2 for bad input (one sentence on stderr); 1 for any other failure; 130 after Ctrl-C.
/// Whatever the code, no file is left half-written; before the end of a successful run an older
/// run's files in the same folder stay as they were.
int run_program(const Program& program, int argc, const char* const* argv);

}  // namespace pcxx::train
