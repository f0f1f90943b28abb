#pragma once

#include <pcxx/parallel/communicator.h>
#include <pcxx/run/parts.h>
#include <pcxx/run/work.h>

#include <cstddef>
#include <map>
#include <optional>
#include <vector>

#include "run/saved_run.h"

namespace pcxx::run {

/// The jobs of a run that are not finished, and the checkpoints of those that were begun.
struct JobsToDo {
  std::vector<std::size_t> jobs;
  std::map<std::size_t, JobCheckpoint> begun;
};

/// Of those in the shard. Throws UserError where a checkpoint is damaged or of another run.
JobsToDo jobs_to_do(const Parts& parts, const std::optional<Shard>& shard, const Work& work,
                    const Program& program, const nlohmann::json& identity);

/// Gives every rank what rank 0 has found; `parts` are where it has found them.
void share(parallel::Communicator& ranks, JobsToDo& found, const std::optional<Parts>& parts);

}  // namespace pcxx::run
