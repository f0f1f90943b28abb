#pragma once

#include <filesystem>
#include <string>
#include <vector>

/// pcxx-runs: which runs lie in a folder, and what came of them.
namespace pcxx::runs {

/// A run folder, for people; a text is empty where the folder does not say.
struct Row {
  std::string folder;   ///< below the one that was searched
  std::string date;     ///< "2026-12-01 01:50"; "unfinished" where only parts are there
  std::string program;  ///< "classifier"
  std::string dataset;
  std::string models;  ///< how many
  std::string best;    ///< the model with the lowest final error
  std::string error;   ///< its final error
};

/// All run folders below, the youngest first. A folder inside a run is looked into too: a
/// reproduction has its panels there.
std::vector<Row> find_runs(const std::filesystem::path& below);

/// The program. Returns the exit code.
int run(int argc, const char* const* argv);

}  // namespace pcxx::runs
