#pragma once

#include <pcxx/run/program.h>
#include <pcxx/run/work.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "reproduce/figures.h"

/// Panels as runs of the programs, as a user could start them.
namespace pcxx::reproduce {

/// What all panels of a run have in common.
struct Setting {
  std::filesystem::path out;     ///< panel "2A" goes to out/panels/2A
  std::vector<std::string> set;  ///< "key=value", over every panel whose program has the key
  bool quiet = false;
  std::optional<run::Shard> shard = {};  ///< of every panel's jobs
};

enum class Ending { kDone, kFailed, kInterrupted };

/// Each panel once, in the order of the figures.
std::vector<Panel> distinct_panels(const std::vector<Figure>& figures);

std::filesystem::path folder_of(const Panel& panel, const std::filesystem::path& out);

/// The arguments of the panel's program: the run again, by hand.
std::vector<std::string> command_of(const Panel& panel, const Setting& setting);

/// Whether the panel's folder holds the results of just this run, to the end, by this version.
bool finished(const Panel& panel, const Setting& setting);

/// Throws UserError where a config or an assignment is wrong, before anything is run.
void check(const std::vector<Panel>& panels, const Setting& setting);

/// Throws UserError where the images of a panel are not there.
void check_images(const std::vector<Panel>& panels, const Setting& setting);

/// Runs what is not finished; what was interrupted before goes on where it was left. Of a shard,
/// its jobs of every panel, and of the panels that are no jobs every so many: what it leaves, a run
/// without a shard puts together.
Ending run_panels(const std::vector<Panel>& panels, const Setting& setting);

}  // namespace pcxx::reproduce
