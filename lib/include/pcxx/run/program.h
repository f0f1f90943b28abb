#pragma once

#include <pcxx/run/run.h>

#include <functional>
#include <string>
#include <vector>

namespace pcxx::run {

/// A command-line program around one experiment.
///
///   int main(int argc, char** argv) {
///     return run_program({.name = "pcxx-alignment",
///                         .summary = "Target alignment after one update.",
///                         .examples = {"--set width=[128,256]"},
///                         .schema = catalog::schema({"rule", "rescaling", "width", "seeds"}),
///                         .plot_script = "alignment",
///                         .run = measure_alignment}, argc, argv);
///   }
struct Program {
  std::string name;                        ///< "pcxx-alignment"
  std::string summary;                     ///< what it does, a few sentences
  std::vector<std::string> examples = {};  ///< arguments; a "# ..." line before one explains it
  config::Schema schema;
  bool loads = false;            ///< has --load
  bool works = false;            ///< calls Run::work: has --resume, --shard and --merge
  bool ranks = false;            ///< trains each network on several ranks of MPI (parallel/)
  bool curves = false;           ///< records metrics over steps: has --tensorboard
  std::string plot_script = {};  ///< of plots/, without .py; empty: no figure
  std::string progress = {};     ///< stands before its progress, where it is one of many runs
  std::function<void(Run&)> run = {};
};

/// Reads the command line and the config, runs, writes the folder and the figure. Returns the exit
/// code: 0; 2 for bad input (one sentence on stderr); 1 for any other failure, such as gaps in a
/// merge; 130 after Ctrl-C. Whatever the code, no file is left half-written; before the end of a
/// successful run an older run's files in the same folder stay as they were.
///
/// Under mpirun or srun the ranks train each network together, and only the first prints and
/// writes. A rank that fails ends all others.
///
/// The jobs of Run::work are kept in `parts/` of the folder until all are done. If the program ends
/// before that, they stay there, and --resume goes on. Partial results are written in the
/// same files as complete ones, but never over a complete run.
int run_program(const Program& program, int argc, const char* const* argv);

}  // namespace pcxx::run
