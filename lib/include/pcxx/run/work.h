#pragma once

#include <pcxx/run/parts.h>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace pcxx::run {

/// Handed to a running job: reports progress and saves checkpoints.
///
///   Part train(JobContext& job) {
///     if (job.checkpoint()) restore(*job.checkpoint());
///     for (; step < steps; job.advance(1, state)) update();  // state() gives what restore() takes
///     return results();
///   }
///
/// A job that never offers its state is done whole or not at all.
class JobContext {
 public:
  using Advance = std::function<void(std::int64_t steps)>;
  using Save = std::function<void(std::int64_t done, const Part& state)>;
  using Warn = std::function<void(const std::string& text)>;

  /// Keeps nothing.
  template <std::convertible_to<Advance> Callable>
    requires(!std::same_as<Callable, JobContext>)
  JobContext(Callable advance) : advance_(std::move(advance)) {}
  /// Starts after `done` steps from `checkpoint`, and saves after every `every` steps (0: never)
  /// and when `advance` throws because the user has asked to stop.
  JobContext(Advance advance, Save save, Warn warn, std::int64_t every, std::int64_t done,
             std::optional<Part> checkpoint);

  /// The state that the job was left in, if it has been begun before.
  const std::optional<Part>& checkpoint() const { return checkpoint_; }

  /// Tells of steps done since the last call; throws when the user has pressed Ctrl-C.
  void advance(std::int64_t steps);
  /// The same, and saves what `state` returns when it is time to.
  void advance(std::int64_t steps, const std::function<Part()>& state);

  /// Tells the user at once of something that spoils the job.
  void warn(const std::string& text) const;

 private:
  void save(const std::function<Part()>& state);

  Advance advance_;
  Save save_;
  Warn warn_;
  std::int64_t every_ = 0;
  std::int64_t done_ = 0;
  std::int64_t saved_ = 0;  // steps that were done when the state was last saved
  std::optional<Part> checkpoint_;
};

/// The work of a long run, as jobs that do not depend on each other. What they are may depend on
/// the config alone, not on the machine, so that a run can be interrupted, resumed, and shared out
/// between machines, and its results are the same to the last bit.
struct Work {
  struct Job {
    std::string name;        ///< for people: "pc + decorrelation, seed 3"
    std::int64_t steps = 1;  ///< how often it advances
  };

  std::string label;  ///< of the progress line
  std::vector<Job> jobs;
  /// Does one job, in any thread, beside others.
  std::function<Part(std::size_t job, JobContext context)> run;
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

}  // namespace pcxx::run
