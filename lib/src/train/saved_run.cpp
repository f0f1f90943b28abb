#include "train/saved_run.h"

#include <pcxx/core/error.h>
#include <pcxx/version.h>

#include "train/archive.h"
#include "train/environment.h"

namespace pcxx::train {

namespace fs = std::filesystem;

namespace {

// Keys that say where to compute, where to look and what to keep, not what to do.
const std::vector<std::string> kFree{"threads", "data", "checkpoint_every", "rank_timeout"};

// Of a checkpoint's file: run and job as JSON, and before each name of the state.
constexpr const char* kOrigin = "origin";
constexpr std::string_view kState = "state.";

std::string text_of(const nlohmann::json& run, const char* name) {
  const auto found = run.find(name);
  return found != run.end() && found->is_string() ? found->get<std::string>() : "";
}

Config saved_config(const Program& program, const nlohmann::json& run, const fs::path& file,
                    const std::vector<std::string>& assignments = {}) {
  return Config::parse(program.schema, text_of(run, "config"), file.string(), assignments);
}

void check_equal(const fs::path& folder, std::string_view what, const std::string& theirs,
                 const std::string& ours) {
  if (theirs == ours) return;
  user_error("'{}' is of a run with {} {}, not {}", folder.string(), what,
             theirs.empty() ? "none" : theirs, ours.empty() ? "none" : ours);
}

// `path` is what holds `run`, for messages; `file` what its config was read from.
void check_equal(const fs::path& path, const fs::path& file, const Program& program,
                 const nlohmann::json& run, const nlohmann::json& identity) {
  check_equal(path, "the program", text_of(run, "program"), text_of(identity, "program"));
  check_equal(path, "the version", text_of(run, "version"), text_of(identity, "version"));
  check_equal(path, "--load", text_of(run, "load"), text_of(identity, "load"));
  const auto theirs = saved_config(program, run, file);
  const auto ours = saved_config(program, identity, file);
  const auto key = first_difference(theirs, ours, kFree);
  if (key == "models") user_error("'{}' is of a run with other [[models]]", path.string());
  if (key) {
    user_error("'{}' is of a run with {} = {}, not {}", path.string(), *key, theirs.toml_of(*key),
               ours.toml_of(*key));
  }
  check_equal(path, "a number of jobs of", text_of(run, "jobs"), text_of(identity, "jobs"));
}

}  // namespace

CommandLine complete(const Program& program, CommandLine command_line) {
  const bool merges = !command_line.merge.empty();
  if (merges && (command_line.resume || command_line.shard)) {
    user_error("--merge does no jobs: --resume and --shard say nothing to it");
  }
  if (merges && !command_line.out) {
    if (command_line.merge.size() > 1) user_error("--merge of several folders needs --out");
    command_line.out = command_line.merge.front();
  }
  if (program.works && !merges && !command_line.shard) command_line.shard = slurm_shard();
  if (command_line.resume && !command_line.out) {
    user_error("--resume needs --out, the folder of the run that it goes on with");
  }
  if (command_line.shard && !command_line.out) {
    user_error(
        "a shard needs --out, a folder for all shards, or one each (--shard 0/1 is the whole "
        "run, also inside a Slurm array)");
  }
  return command_line;
}

std::vector<fs::path> part_folders(const CommandLine& command_line, const fs::path& out) {
  if (command_line.merge.empty()) return {out / "parts"};
  std::vector<fs::path> folders;
  for (const auto& folder : command_line.merge) folders.push_back(folder / "parts");
  return folders;
}

nlohmann::json identity_of(const Program& program, const Config& config,
                           const CommandLine& command_line, std::size_t jobs) {
  return {{"program", program.name},
          {"version", PCXX_VERSION},
          {"load", command_line.load ? command_line.load->string() : ""},
          {"config", config.toml()},
          {"jobs", fmt::format("{}", jobs)}};
}

void check_same_run(const fs::path& folder, const Program& program,
                    const nlohmann::json& identity) {
  const auto run = Parts::run_of(folder);
  if (run) check_equal(folder, folder / "run.json", program, *run, identity);
}

void write_checkpoint(const fs::path& path, const nlohmann::json& identity, const std::string& job,
                      const JobCheckpoint& checkpoint) {
  const nlohmann::json origin{{"run", identity}, {"job", job}, {"steps", checkpoint.steps}};
  std::vector<std::pair<std::string, at::Tensor>> tensors{{kOrigin, as_bytes(origin.dump())}};
  for (const auto& [name, tensor] : checkpoint.state) {
    tensors.emplace_back(std::string(kState) + name, tensor);
  }
  write_tensors(path, tensors);
}

JobCheckpoint checkpoint_of(const std::string& bytes, const fs::path& path) {
  JobCheckpoint checkpoint;
  for (auto& [name, tensor] : tensors_of_bytes(bytes, path)) {
    if (name == kOrigin) {
      const auto origin = nlohmann::json::parse(text_of_bytes(tensor), nullptr, false);
      if (origin.is_object()) checkpoint.steps = origin.at("steps").get<std::int64_t>();
    }
    if (name.starts_with(kState)) checkpoint.state[name.substr(kState.size())] = tensor;
  }
  return checkpoint;
}

namespace {

void check_rank(int rank, std::string_view what, const std::string& theirs,
                const std::string& ours) {
  if (theirs == ours) return;
  user_error("rank {} has {} {}, and rank 0 has {}: all ranks train one network", rank, what,
             theirs.empty() ? "none" : theirs, ours.empty() ? "none" : ours);
}

}  // namespace

void check_same_ranks(parallel::Communicator& ranks, const Program& program, const Config& config,
                      const CommandLine& command_line) {
  if (ranks.size() == 1) return;
  auto identity = identity_of(program, config, command_line, 0);
  identity["build"] = git_commit();
  std::vector<nlohmann::json> all;
  for (const auto& text : gather_texts(ranks, identity.dump())) {
    all.push_back(nlohmann::json::parse(text));
  }
  for (int rank = 1; rank < ranks.size(); ++rank) {
    const auto& here = all[static_cast<std::size_t>(rank)];
    for (const char* what : {"program", "version", "build"}) {
      check_rank(rank, fmt::format("the {}", what), text_of(here, what),
                 text_of(all.front(), what));
    }
    check_rank(rank, "--load", text_of(here, "load"), text_of(all.front(), "load"));
    const auto theirs = saved_config(program, here, "rank");
    const auto ours = saved_config(program, all.front(), "rank 0");
    const auto key = first_difference(theirs, ours, kFree);
    if (key == "models") user_error("rank {} has other [[models]] than rank 0", rank);
    if (key) {
      check_rank(rank, fmt::format("{} =", *key), theirs.toml_of(*key), ours.toml_of(*key));
    }
  }
}

void check_same_weights(parallel::Communicator& ranks, const Part& state) {
  if (ranks.size() == 1) return;
  std::vector<at::Tensor> weights;
  for (const auto& [name, tensor] : state) {
    if (name.starts_with("weight.")) weights.push_back(tensor);
  }
  const auto sums = gather_texts(ranks, fmt::format("{}", checksum(weights)));
  for (std::size_t rank = 1; rank < sums.size(); ++rank) {
    TORCH_CHECK(sums[rank] == sums.front(), "the weights of rank ", rank,
                " are no longer those of rank 0: do all ranks run on the same kind of processor?");
  }
}

JobCheckpoint read_checkpoint(const fs::path& path, const Program& program,
                              const nlohmann::json& identity, const std::string& job) {
  JobCheckpoint checkpoint;
  std::string origin_text;
  for (auto& [name, tensor] : read_tensors(path)) {
    if (name == kOrigin) origin_text = text_of_bytes(tensor);
    if (name.starts_with(kState)) checkpoint.state[name.substr(kState.size())] = tensor;
  }
  const auto origin = nlohmann::json::parse(origin_text, nullptr, false);
  if (!origin.is_object()) user_error("'{}' is no checkpoint of a job", path.string());
  check_equal(path, path, program, origin.at("run"), identity);
  check_equal(path, "the job", text_of(origin, "job"), job);
  checkpoint.steps = origin.at("steps").get<std::int64_t>();
  return checkpoint;
}

void remove_parts(const Run& run) {
  std::error_code ignored;
  const auto& own = run.folder().path() / "parts";
  for (const auto& folder : run.parts()->folders()) {
    if (fs::equivalent(folder, own, ignored)) Parts({own}, run.parts()->jobs()).remove();
  }
}

Config read_config(const Program& program, const CommandLine& command_line) {
  const bool continues = command_line.resume || !command_line.merge.empty();
  if (continues && !command_line.config) {
    const auto folders = part_folders(command_line, command_line.out.value_or(""));
    for (const auto& folder : folders) {
      const auto run = Parts::run_of(folder);
      if (!run) continue;
      check_equal(folder, "the program", text_of(*run, "program"), program.name);
      return saved_config(program, *run, folder / "run.json", command_line.assignments);
    }
    if (command_line.resume) {
      user_error("'{}' holds no run to go on with; --config says which to begin",
                 command_line.out->string());
    }
  }
  return Config::read(program.schema, command_line.config, command_line.assignments);
}

}  // namespace pcxx::train
