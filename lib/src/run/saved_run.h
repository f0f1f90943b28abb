#pragma once

#include <pcxx/parallel/communicator.h>
#include <pcxx/run/program.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

/// A run that was not ended, as its parts remember it.
namespace pcxx::run {

/// No std::exception: a rank that is not the first has done its part of all jobs.
struct RankEnded {};

/// No std::exception: a shard's jobs are done, or it was interrupted, and there is nothing to
/// report of the run yet.
struct ShardEnded {
  bool done;
};

/// The command line with what it leaves to its surroundings: the shard of a Slurm array, and the
/// folder of the one run that it merges. Throws UserError where options contradict each other.
CommandLine complete(const Program& program, CommandLine command_line);

/// Where finished jobs lie: in `out`, or in the folders to merge.
std::vector<std::filesystem::path> part_folders(const CommandLine& command_line,
                                                const std::filesystem::path& out);

/// Whether the run that --resume (without --config) or --merge names has its results and no parts:
/// nothing is left to do. Throws UserError where the results are of another program or config.
bool is_complete(const Program& program, const CommandLine& command_line);

/// What run.json says of a run: what it is, of which commit, and what it was given.
nlohmann::json identity_of(const Program& program, const config::Config& config,
                           const Inputs& inputs, std::size_t jobs);

/// Throws UserError, with the first key or input that differs, unless the parts in `folder` are of
/// that run. A folder without parts is no matter.
void check_same_run(const std::filesystem::path& folder, const Program& program,
                    const nlohmann::json& identity);

/// What a job had done when it was interrupted.
struct JobCheckpoint {
  std::int64_t steps = 0;
  Part state = {};
};

/// As one file, which also says of which run and job it is.
void write_checkpoint(const std::filesystem::path& path, const nlohmann::json& identity,
                      const std::string& job, const JobCheckpoint& checkpoint);

/// Throws UserError when the file is damaged, or of another run or job.
JobCheckpoint read_checkpoint(const std::filesystem::path& path, const Program& program,
                              const nlohmann::json& identity, const Work::Job& job);

/// What such a file holds, of whatever run and job.
JobCheckpoint checkpoint_of(const std::string& bytes, const std::filesystem::path& path);

/// Throws UserError, in one sentence with both values, unless all ranks have the same program,
/// version, config and --load.
void check_same_ranks(parallel::Communicator& ranks, const Program& program,
                      const config::Config& config, const CommandLine& command_line);

/// Throws UserError, which names the first that differs, unless all ranks were given the same.
void check_same_inputs(parallel::Communicator& ranks, const Inputs& inputs);

/// Throws c10::Error unless the weights of a state are the same, to the last bit, on all ranks.
void check_same_weights(parallel::Communicator& ranks, const Part& state);

/// Once the results in `out` are written: removes its parts, none of another folder.
void remove_parts(const Run& run);

/// The config of --config, or without it that of the run which --resume or --merge continues; then
/// the assignments.
config::Config read_config(const Program& program, const CommandLine& command_line);

}  // namespace pcxx::run
