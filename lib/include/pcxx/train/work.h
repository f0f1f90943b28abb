#pragma once

#include <pcxx/train/parts.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace pcxx::train {

/// The work of a long run, as jobs that do not depend on each other. What they are may depend on
/// the config alone, not on the machine, so that a run can be interrupted, resumed, and shared out
/// between machines, and its results are the same to the last bit.
struct Work {
  struct Job {
    std::string name;        ///< for people: "pc + decorrelation, seed 3"
    std::int64_t steps = 1;  ///< how often it advances
  };
  /// A job tells how many steps it has done since it last did; this throws when the user has
  /// pressed Ctrl-C.
  using Advance = std::function<void(std::int64_t steps)>;

  std::string label;  ///< of the progress line
  std::vector<Job> jobs;
  /// Does one job, in any thread, beside others.
  std::function<Part(std::size_t job, const Advance& advance)> run;
};

/// Every count-th job, from number `index` on.
struct Shard {
  std::int64_t index = 0;
  std::int64_t count = 1;

  bool has(std::size_t job) const { return static_cast<std::int64_t>(job) % count == index; }
};

/// "2/8". Throws UserError unless 0 <= index < count.
Shard parse_shard(const std::string& text);

/// The shard of a task of a Slurm job array, from SLURM_ARRAY_TASK_ID, _MIN, _STEP and _COUNT;
/// nothing outside of one.
std::optional<Shard> slurm_shard();

}  // namespace pcxx::train
