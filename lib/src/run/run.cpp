#include <pcxx/catalog/model.h>
#include <pcxx/core/error.h>
#include <pcxx/core/files.h>
#include <pcxx/core/standard_streams.h>
#include <pcxx/io/checkpoint.h>
#include <pcxx/run/program.h>
#include <pcxx/run/run.h>
#include <pcxx/run/run_lock.h>

#include <algorithm>
#include <map>
#include <thread>

#include "core/text.h"
#include "io/archive.h"
#include "run/interruption.h"
#include "run/saved_run.h"
#include "run/shared_jobs.h"
#include "run/worker_pool.h"

namespace pcxx::run {

namespace fs = std::filesystem;

Run::Run(const Program& program, config::Config config, c10::Device device, RunFolder& folder,
         CommandLine command_line, parallel::Communicator& ranks)
    : program_(program),
      config_(std::move(config)),
      device_(device),
      folder_(folder),
      command_line_(std::move(command_line)),
      ranks_(ranks),
      records_(folder.file("metrics.csv").stream(), columns(config_)) {
  if (command_line_.load) {
    loaded_ = read_file(*command_line_.load);
    inputs_["weights of --load"] = io::checksum_text(io::checksum(loaded_));
  }
  if (!command_line_.tensorboard) return;
  tensorboard_.emplace(varied_keys());
  records_.listen([this](const Cell& cell, std::int64_t step, std::string_view metric,
                         double value) { tensorboard_->scalar(cell, step, metric, value); });
}

const std::string& Run::program() const {
  return program_.name;
}

void Run::resolve(std::string_view key, std::vector<config::Value> values) {
  config_ = config_.with(key, std::move(values));
}

nlohmann::json Run::identity(const config::Config& model) const {
  nlohmann::json json{{"model", catalog::model_name(model)}};
  for (const auto& column : columns(config_)) {
    if (column == "learning_rate" || !applies(model, column)) continue;
    std::visit([&](const auto& value) { json[column] = value; }, column_value(model, column));
  }
  return json;
}

std::vector<std::string> Run::varied_keys() const {
  std::vector<std::string> keys;
  for (const auto& key : columns(config_)) {
    if (key == "rule" || key == "rescaling" || key == "learning_rate" || !config_.has(key))
      continue;
    if (config_.swept(key) || config_.set_by_models(key)) keys.push_back(key);
  }
  return keys;
}

void Run::load(nn::Network& network) const {
  if (command_line_.load) io::load_network(network, loaded_, *command_line_.load);
}

void Run::take(const std::string& name, const at::Tensor& data) {
  inputs_[name] = io::checksum_text(io::checksum(std::vector<at::Tensor>{data}));
}

Run::~Run() {
  if (!parts_ || !command_line_.merge.empty()) return;
  try {
    const bool none = parts_->missing().size() == parts_->jobs() && parts_->begun().empty();
    if (none && RunLock::holders(folder_.path()) <= 1) parts_->remove();
  } catch (const std::exception&) {
    // They stay, and the next run takes them.
  }
}

const Parts& Run::work(const Work& work) {
  TORCH_CHECK(program_.works && !parts_, "Run::work is for programs that say so, once a run");
  check_same_inputs(ranks_, inputs_);
  if (!ranks_.is_root()) {
    if (command_line_.merge.empty()) do_jobs(work, {});
    throw RankEnded{};
  }
  const auto jobs = work.jobs.size();
  const auto folders = part_folders(command_line_, folder_.path());
  const auto identity = identity_of(program_, config_, inputs_, jobs);
  for (const auto& folder : folders) check_same_run(folder, program_, identity);
  parts_.emplace(folders, jobs);
  if (command_line_.merge.empty()) {
    const auto finished = jobs - parts_->missing().size();
    const auto begun = parts_->begun().size();
    if (finished + begun > 0 && !command_line_.resume && !command_line_.shard) {
      user_error(
          "'{}' holds {} finished jobs{} of a run that was not ended: go on with --resume, or "
          "remove it",
          folders.front().string(), finished, begun > 0 ? fmt::format(" and {} begun", begun) : "");
    }
    parts_->begin(identity);
    const bool ended = do_jobs(work, identity);
    if (command_line_.shard) throw ShardEnded{ended};
  }
  const auto missing = parts_->missing();
  if (!command_line_.merge.empty() && missing.size() == jobs) {
    user_error("'{}' holds no finished jobs to merge", folders.front().string());
  }
  for (const auto job : missing) unfinished_.push_back(work.jobs[job].name);
  return *parts_;
}

// False when it was interrupted.
bool Run::do_jobs(const Work& work, const nlohmann::json& identity) const {
  JobsToDo to_do;
  if (ranks_.is_root()) {
    to_do = jobs_to_do(*parts_, command_line_.shard, work, program_, identity);
  }
  share(ranks_, to_do, parts_);
  auto& begun = to_do.begun;
  std::int64_t steps = 0;
  for (const auto job : to_do.jobs) steps += work.jobs[job].steps;
  for (const auto& [job, checkpoint] : begun) steps -= checkpoint.steps;
  auto progress = this->progress(work.label, steps);
  const auto every = catalog::Machine(config_).checkpoint_every;
  const auto context = [&](std::size_t job, bool& advanced) {
    const auto advance = [&](std::int64_t done) {
      advanced = true;
      progress.advance(done);
      check_ranks_interrupted();
    };
    const auto save = [&, job](std::int64_t done, const Part& state) {
      check_same_weights(ranks_, state);
      if (!ranks_.is_root()) return;
      write_checkpoint(parts_->checkpoint_path(job), identity, work.jobs[job].name, {done, state});
    };
    const auto warn = [&, job](const std::string& text) {
      if (!ranks_.is_root()) return;
      progress.print(fmt::format("{}: {}: {}", program_.name, work.jobs[job].name, text));
    };
    const auto found = begun.find(job);
    if (found == begun.end()) return JobContext(advance, save, warn, every, 0, std::nullopt);
    return JobContext(advance, save, warn, every, found->second.steps,
                      std::move(found->second.state));
  };
  try {
    in_workers(to_do.jobs, threads(), inner_threads(), [&](std::size_t job) {
      check_ranks_interrupted();
      bool advanced = !begun.contains(job);
      const auto part = do_job(work, job, context(job, advanced), advanced);
      check_same_weights(ranks_, part);
      if (ranks_.is_root()) parts_->write(job, part);
    });
  } catch (const Interrupted&) {
    return false;
  }
  return true;
}

// What fails before the first step after a checkpoint is the checkpoint's fault.
Part Run::do_job(const Work& work, std::size_t job, const JobContext& context,
                 const bool& advanced) const {
  const auto blame = [&](const std::string& text) {
    if (advanced || is_out_of_memory(text)) return;
    const auto path = parts_ ? parts_->checkpoint_path(job) : fs::path("the checkpoint of rank 0");
    user_error("'{}' does not fit its job: {}", path.string(), text.substr(0, text.find('\n')));
  };
  try {
    return work.run(job, context);
  } catch (const UserError&) {
    throw;
  } catch (const c10::Error& error) {
    blame(error.what_without_backtrace());
    throw;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    blame(error.what());
    throw;
  }
}

std::size_t Run::threads() const {
  if (!device_.is_cpu() || ranks_.size() > 1) return 1;
  const auto wanted = catalog::Machine(config_).threads;
  return wanted > 0 ? static_cast<std::size_t>(wanted)
                    : std::max<std::size_t>(1, std::thread::hardware_concurrency());
}

int Run::inner_threads() const {
  return static_cast<int>(catalog::Machine(config_).run_threads);
}

Progress Run::progress(std::string label, std::int64_t total) const {
  const bool alone = program_.progress.empty();
  return {program_.progress + std::move(label), total, !ranks_.is_root() || (alone && quiet())};
}

void Run::check_interrupted() const {
  if (interrupted()) throw Interrupted();
}

// As one: of ranks that were told to stop, all end after the same step.
void Run::check_ranks_interrupted() const {
  if (any_rank(ranks_, interrupted())) throw Interrupted();
}

void Run::print_line(const std::string& line) const {
  if (quiet() || !ranks_.is_root()) return;
  print_to(stdout, line + "\n");
}

}  // namespace pcxx::run
