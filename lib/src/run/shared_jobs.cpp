#include "run/shared_jobs.h"

#include <pcxx/core/files.h>

#include <algorithm>

namespace pcxx::run {

JobsToDo jobs_to_do(const Parts& parts, const std::optional<Shard>& shard, const Work& work,
                    const Program& program, const nlohmann::json& identity) {
  JobsToDo found;
  for (const auto job : parts.missing()) {
    if (!shard || shard->has(job)) found.jobs.push_back(job);
  }
  for (const auto job : parts.begun()) {
    const auto& jobs = found.jobs;
    if (std::find(jobs.begin(), jobs.end(), job) == jobs.end()) continue;
    found.begun[job] =
        read_checkpoint(parts.checkpoint_path(job), program, identity, work.jobs[job]);
  }
  return found;
}

void share(parallel::Communicator& ranks, JobsToDo& found, const std::optional<Parts>& parts) {
  if (ranks.size() == 1) return;
  std::vector<std::size_t> begun;
  for (const auto& entry : found.begun) begun.push_back(entry.first);
  const nlohmann::json here{{"jobs", found.jobs}, {"begun", begun}};
  const auto known = nlohmann::json::parse(broadcast_text(ranks, here.dump()));
  found.jobs = known.at("jobs").get<std::vector<std::size_t>>();
  for (const auto job : known.at("begun").get<std::vector<std::size_t>>()) {
    const auto path = parts ? parts->checkpoint_path(job) : "the checkpoint of rank 0";
    const auto bytes = broadcast_text(ranks, parts ? read_file(path) : "");
    if (!ranks.is_root()) found.begun[job] = checkpoint_of(bytes, path);
  }
}

}  // namespace pcxx::run
