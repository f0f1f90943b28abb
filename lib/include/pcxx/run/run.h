#pragma once

#include <c10/core/Device.h>
#include <fmt/format.h>
#include <pcxx/config/config.h>
#include <pcxx/nn/network.h>
#include <pcxx/parallel/communicator.h>
#include <pcxx/run/command_line.h>
#include <pcxx/run/progress.h>
#include <pcxx/run/records.h>
#include <pcxx/run/run_folder.h>
#include <pcxx/run/tensorboard.h>
#include <pcxx/run/work.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pcxx::run {

struct Program;

/// What a run was given beside its config: a checksum of the contents, by what it is.
using Inputs = std::map<std::string, std::string>;

/// What an experiment is given: its config, its device, and where its results go.
class Run {
 public:
  Run(const Program& program, config::Config config, c10::Device device, RunFolder& folder,
      CommandLine command_line, parallel::Communicator& ranks);
  /// Leaves no parts where no job was done.
  ~Run();
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  /// The program's name.
  const std::string& program() const;
  const config::Config& config() const { return config_; }
  /// Replaces one key by what was chosen for it (`dataset = "auto"` by "mnist"), so that the
  /// config.toml of the run says it too.
  void resolve(std::string_view key, std::vector<config::Value> values);

  /// The processes that train this run's networks together; one by itself, mostly.
  parallel::Communicator& ranks() const { return ranks_; }

  c10::Device device() const { return device_; }
  RunFolder& folder() const { return folder_; }
  /// metrics.csv.
  Records& records() { return records_; }
  /// With --tensorboard what it is to show: the curves that are recorded, and images. Null without.
  Tensorboard* tensorboard() { return tensorboard_ ? &*tensorboard_ : nullptr; }
  /// summary.json.
  nlohmann::json& summary() { return summary_; }

  /// A model's name and identity columns, but for rate and seed, for the summary.
  nlohmann::json identity(const config::Config& model) const;
  /// The keys, beside rule, rescaling and learning rate, in which models of this run differ: what
  /// tells one row of a table from the next.
  std::vector<std::string> varied_keys() const;

  /// --load, when given.
  const std::optional<std::filesystem::path>& load_path() const { return command_line_.load; }
  /// The bytes that its file had when the run began.
  const std::string& loaded() const { return loaded_; }
  /// Puts the weights of --load, when given, into a network of the same shape. All networks get the
  /// bytes that the file had when the run began. Throws UserError as `load_network` does.
  void load(nn::Network& network) const;
  /// Tells of data that the run takes: one with others, under this name, does not go on with its
  /// jobs, nor are theirs merged. Call it before `work`.
  void take(const std::string& name, const at::Tensor& data);

  bool quiet() const { return command_line_.quiet; }
  /// Does all jobs, `threads` at a time (one at a time on a CUDA device), and keeps what each has
  /// measured. Once per run, and before anything is recorded.
  ///
  /// With --resume jobs that are done are not done again, and those that were begun go on from
  /// their checkpoints (every `checkpoint_every` steps, where the program has that key, and when
  /// the run was interrupted); with --merge none is done at all. After
  /// Ctrl-C, or a merge with gaps, some are missing: record what the others allow. With --shard it
  /// does not return, nor on any rank but the first: all ranks do each job together, one at a time.
  const Parts& work(const Work& work);
  /// What `work` returned, if it was called.
  const std::optional<Parts>& parts() const { return parts_; }
  /// How many jobs `work` does side by side.
  std::size_t threads() const;
  /// Names of the jobs that `work` left undone.
  const std::vector<std::string>& unfinished() const { return unfinished_; }

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
  bool do_jobs(const Work& work, const nlohmann::json& identity) const;
  Part do_job(const Work& work, std::size_t job, const JobContext& context,
              const bool& advanced) const;
  void check_ranks_interrupted() const;
  int inner_threads() const;

  const Program& program_;
  config::Config config_;
  c10::Device device_;
  RunFolder& folder_;
  CommandLine command_line_;
  std::string loaded_;  // the file of --load
  Inputs inputs_;
  parallel::Communicator& ranks_;
  Records records_;
  std::optional<Tensorboard> tensorboard_;
  nlohmann::json summary_ = nlohmann::json::object();
  std::optional<Parts> parts_;
  std::vector<std::string> unfinished_;
};

}  // namespace pcxx::run
