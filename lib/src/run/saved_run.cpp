#include "run/saved_run.h"

#include <pcxx/core/error.h>
#include <pcxx/core/files.h>
#include <pcxx/run/commit.h>
#include <pcxx/version.h>

#include "core/text.h"
#include "io/archive.h"
#include "io/json_text.h"

namespace pcxx::run {

namespace fs = std::filesystem;

namespace {

// Keys of which two configs of one run may have different values: what lies in files is compared by
// checksums.
std::vector<std::string> left_out(const config::Config& config) {
  auto names = config.schema().free_keys();
  for (auto& name : config.schema().file_keys()) names.push_back(std::move(name));
  return names;
}

// Of a checkpoint's file: run and job as JSON, and before each name of the state.
constexpr const char* kOrigin = "origin";
constexpr std::string_view kState = "state.";

// What is no text as JSON: it equals none that this program writes.
std::string text_of(const nlohmann::json& value) {
  return value.is_string() ? value.get<std::string>() : io::json_line(value);
}

std::string text_of(const nlohmann::json& run, const char* name) {
  const auto found = run.find(name);
  return found == run.end() ? "" : text_of(*found);
}

Inputs inputs_of(const nlohmann::json& run) {
  Inputs inputs;
  const auto found = run.find("inputs");
  if (found == run.end()) return inputs;
  if (!found->is_object()) return {{"inputs", text_of(*found)}};
  for (const auto& [name, checksum] : found->items()) inputs[name] = text_of(checksum);
  return inputs;
}

std::string value_or_none(const std::string& value) {
  return value.empty() ? "none" : shortened(value);
}

// The first input of either run that is another one in the other, with both checksums.
struct OtherInput {
  std::string name;
  std::string theirs;
  std::string ours;
};
std::optional<OtherInput> other_input(const Inputs& theirs, const Inputs& ours) {
  const auto of = [](const Inputs& inputs, const std::string& name) {
    const auto found = inputs.find(name);
    return found == inputs.end() ? "none" : found->second;
  };
  auto all = ours;
  all.insert(theirs.begin(), theirs.end());
  for (const auto& [name, checksum] : all) {
    if (of(theirs, name) != of(ours, name))
      return OtherInput{name, of(theirs, name), of(ours, name)};
  }
  return std::nullopt;
}

config::Config saved_config(const Program& program, const nlohmann::json& run, const fs::path& file,
                            const std::vector<std::string>& assignments = {}) {
  return config::Config::parse(program.schema, text_of(run, "config"), file.string(), assignments);
}

void check_equal(const fs::path& folder, std::string_view what, const std::string& theirs,
                 const std::string& ours) {
  if (theirs == ours) return;
  user_error("'{}' is of a run with {} {}, not {}", folder.string(), what, value_or_none(theirs),
             value_or_none(ours));
}

// `path` is what holds `run`, for messages; `file` what its config was read from.
void check_equal(const fs::path& path, const fs::path& file, const Program& program,
                 const nlohmann::json& run, const nlohmann::json& identity) {
  check_equal(path, "the program", text_of(run, "program"), text_of(identity, "program"));
  check_equal(path, "the version", text_of(run, "version"), text_of(identity, "version"));
  check_equal(path, "the commit", text_of(run, "commit"), text_of(identity, "commit"));
  const auto theirs = saved_config(program, run, file);
  const auto ours = saved_config(program, identity, file);
  const auto key = first_difference(theirs, ours, left_out(ours));
  if (key == "models") user_error("'{}' is of a run with other [[models]]", path.string());
  if (key) {
    user_error("'{}' is of a run with {} = {}, not {}", path.string(), *key,
               shortened(theirs.toml_of(*key)), shortened(ours.toml_of(*key)));
  }
  if (const auto other = other_input(inputs_of(run), inputs_of(identity))) {
    user_error("'{}' is of a run with other {}: their checksum is {}, not {}", path.string(),
               shortened(other->name), shortened(other->theirs), shortened(other->ours));
  }
  check_equal(path, "a number of jobs of", text_of(run, "jobs"), text_of(identity, "jobs"));
}

}  // namespace

CommandLine complete(const Program& program, CommandLine command_line) {
  const bool merges = !command_line.merge.empty();
  if (merges && (command_line.resume || command_line.shard)) {
    user_error("--merge runs no jobs, so --resume and --shard have no effect with it");
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
  if (command_line.merge.empty()) return {Parts::folder_in(out)};
  std::vector<fs::path> folders;
  for (const auto& folder : command_line.merge) folders.push_back(Parts::folder_in(folder));
  return folders;
}

bool is_complete(const Program& program, const CommandLine& command_line) {
  const bool continues = command_line.resume || !command_line.merge.empty();
  if (!continues || command_line.config || command_line.shard) return false;
  const auto& out = *command_line.out;
  for (const auto& folder : part_folders(command_line, out)) {
    if (Parts::run_of(folder)) return false;
  }
  const auto results = RunFolder::whole_run(out);
  if (!results) return false;
  check_equal(out, "the program", text_of(*results, "program"), program.name);
  const auto file = out / "config.toml";
  const auto text = read_file(file);
  const auto theirs = config::Config::parse(program.schema, text, file.string());
  const auto ours =
      config::Config::parse(program.schema, text, file.string(), command_line.assignments);
  if (const auto key = first_difference(theirs, ours, left_out(ours))) {
    user_error("'{}' is of a run with {} = {}, not {}", out.string(), *key, theirs.toml_of(*key),
               ours.toml_of(*key));
  }
  return true;
}

nlohmann::json identity_of(const Program& program, const config::Config& config,
                           const Inputs& inputs, std::size_t jobs) {
  return {{"program", program.name}, {"version", PCXX_VERSION}, {"commit", git_commit()},
          {"inputs", inputs},        {"config", config.toml()}, {"jobs", fmt::format("{}", jobs)}};
}

void check_same_run(const fs::path& folder, const Program& program,
                    const nlohmann::json& identity) {
  Parts::refuse_older(folder);
  const auto run = Parts::run_of(folder);
  if (run) check_equal(folder, folder / "run.json", program, *run, identity);
}

void write_checkpoint(const fs::path& path, const nlohmann::json& identity, const std::string& job,
                      const JobCheckpoint& checkpoint) {
  const nlohmann::json origin{{"run", identity}, {"job", job}, {"steps", checkpoint.steps}};
  io::NamedTensors tensors{{kOrigin, as_bytes(io::json_line(origin))}};
  for (const auto& [name, tensor] : checkpoint.state) {
    tensors.emplace_back(std::string(kState) + name, tensor);
  }
  io::write_tensors(path, tensors);
}

namespace {

struct StoredCheckpoint {
  nlohmann::json run;
  std::string job;
  JobCheckpoint checkpoint;
};

StoredCheckpoint stored_checkpoint(const std::string& bytes, const fs::path& path) {
  StoredCheckpoint stored;
  auto origin = nlohmann::json();
  for (const auto& [name, tensor] : io::tensors_of_bytes(bytes, path)) {
    if (name == kOrigin && tensor.scalar_type() == at::kByte) {
      origin = io::parse_json(text_of_bytes(tensor));
    }
    if (name.starts_with(kState)) stored.checkpoint.state[name.substr(kState.size())] = tensor;
  }
  const auto has = [&](const char* name) { return origin.is_object() && origin.contains(name); };
  if (!has("run") || !origin["run"].is_object() || !has("job") || !has("steps") ||
      !io::is_count(origin["steps"])) {
    user_error("'{}' is no checkpoint of a job", path.string());
  }
  stored.run = origin["run"];
  stored.job = text_of(origin, "job");
  stored.checkpoint.steps = origin["steps"].get<std::int64_t>();
  return stored;
}

}  // namespace

JobCheckpoint checkpoint_of(const std::string& bytes, const fs::path& path) {
  return stored_checkpoint(bytes, path).checkpoint;
}

namespace {

void check_rank(int rank, std::string_view what, const std::string& theirs,
                const std::string& ours) {
  if (theirs == ours) return;
  user_error("rank {} has {} {}, and rank 0 has {}: all ranks train one network", rank, what,
             value_or_none(theirs), value_or_none(ours));
}

// What each rank says, by rank.
std::vector<nlohmann::json> gather(parallel::Communicator& ranks, const nlohmann::json& here) {
  std::vector<nlohmann::json> all;
  for (const auto& text : gather_texts(ranks, io::json_line(here))) {
    all.push_back(nlohmann::json::parse(text));
  }
  return all;
}

}  // namespace

void check_same_ranks(parallel::Communicator& ranks, const Program& program,
                      const config::Config& config, const CommandLine& command_line) {
  if (ranks.size() == 1) return;
  const bool given = command_line.load.has_value();
  auto identity = identity_of(program, config, {}, 0);
  identity["load"] = given ? command_line.load->string() : "";
  const auto all = gather(ranks, identity);
  for (int rank = 1; rank < ranks.size(); ++rank) {
    const auto& here = all[static_cast<std::size_t>(rank)];
    for (const char* what : {"program", "version", "commit"}) {
      check_rank(rank, fmt::format("the {}", what), text_of(here, what),
                 text_of(all.front(), what));
    }
    check_rank(rank, "--load", text_of(here, "load"), text_of(all.front(), "load"));
    const auto theirs = saved_config(program, here, "rank");
    const auto ours = saved_config(program, all.front(), "rank 0");
    const auto key = first_difference(theirs, ours, left_out(ours));
    if (key == "models") user_error("rank {} has other [[models]] than rank 0", rank);
    if (key) {
      check_rank(rank, fmt::format("{} =", *key), theirs.toml_of(*key), ours.toml_of(*key));
    }
  }
}

void check_same_inputs(parallel::Communicator& ranks, const Inputs& inputs) {
  if (ranks.size() == 1) return;
  const auto all = gather(ranks, {{"inputs", inputs}});
  for (int rank = 1; rank < ranks.size(); ++rank) {
    const auto other =
        other_input(inputs_of(all[static_cast<std::size_t>(rank)]), inputs_of(all.front()));
    if (other) check_rank(rank, other->name + " of the checksum", other->theirs, other->ours);
  }
}

void check_same_weights(parallel::Communicator& ranks, const Part& state) {
  if (ranks.size() == 1) return;
  std::vector<at::Tensor> weights;
  for (const auto& [name, tensor] : state) {
    if (name.starts_with("weight.")) weights.push_back(tensor);
  }
  const auto sums = gather_texts(ranks, fmt::format("{}", io::checksum(weights)));
  for (std::size_t rank = 1; rank < sums.size(); ++rank) {
    TORCH_CHECK(sums[rank] == sums.front(), "the weights of rank ", rank,
                " are no longer those of rank 0: do all ranks run on the same kind of processor?");
  }
}

JobCheckpoint read_checkpoint(const fs::path& path, const Program& program,
                              const nlohmann::json& identity, const Work::Job& job) {
  const auto stored = stored_checkpoint(read_file(path), path);
  check_equal(path, path, program, stored.run, identity);
  check_equal(path, "the job", stored.job, job.name);
  if (stored.checkpoint.steps > job.steps) {
    user_error("'{}' is of a run with a job of {} steps, not {}", path.string(),
               stored.checkpoint.steps, job.steps);
  }
  return stored.checkpoint;
}

void remove_parts(const Run& run) {
  std::error_code ignored;
  const auto own = Parts::folder_in(run.folder().path());
  for (const auto& folder : run.parts()->folders()) {
    if (fs::equivalent(folder, own, ignored)) Parts({own}, run.parts()->jobs()).remove();
  }
}

config::Config read_config(const Program& program, const CommandLine& command_line) {
  const bool continues = command_line.resume || !command_line.merge.empty();
  if (continues && !command_line.config) {
    const auto folders = part_folders(command_line, command_line.out.value_or(""));
    for (const auto& folder : folders) {
      Parts::refuse_older(folder);
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
  return config::Config::read(program.schema, command_line.config, command_line.assignments);
}

}  // namespace pcxx::run
