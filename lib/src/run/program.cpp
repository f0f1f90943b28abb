#include <ATen/Parallel.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <pcxx/catalog/model.h>
#include <pcxx/core/error.h>
#include <pcxx/core/memory.h>
#include <pcxx/core/standard_streams.h>
#include <pcxx/parallel/launch.h>
#include <pcxx/run/figure.h>
#include <pcxx/run/program.h>
#include <pcxx/run/run_lock.h>
#include <pcxx/version.h>
#include <torch/cuda.h>
#include <torch/version.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>

#include "core/text.h"
#include "run/environment.h"
#include "run/interruption.h"
#include "run/saved_run.h"

namespace pcxx::run {

namespace fs = std::filesystem;

namespace {

constexpr int kInterruptedCode = 130;

// What rank 0 says too: the others wait for it to be first.
constexpr auto kGrace = std::chrono::seconds(2);

int print_out(std::string_view text) {
  if (parallel::launched().rank == 0) print_answer(text);
  return 0;
}

int fail(const Program& program, std::string_view message, int code) {
  print_to(stderr, fmt::format("{}: {}\n", program.name, one_line(message)));
  return code;
}

// Of a failure that other ranks need not know of. Before they have joined, all fail alike.
int fail_everywhere(const Program& program, const std::string& message, int code,
                    parallel::Communicator* ranks) {
  const auto rank = parallel::launched().rank;
  if (ranks == nullptr && rank > 0) return code;
  if (rank > 0) std::this_thread::sleep_for(kGrace);
  fail(program, rank > 0 ? fmt::format("rank {}: {}", rank, message) : message, code);
  if (ranks != nullptr && ranks->size() > 1) ranks->abort(code);
  return code;
}

std::unique_ptr<parallel::Communicator> join_ranks(const Program& program) {
  const auto launch = parallel::launched();
  if (launch.size > 1 && !program.ranks) {
    user_error("runs as one process, and was started as {}{}", launch.size,
               program.works ? "; --shard shares its jobs out" : "");
  }
  parallel::WaitOptions options;
  options.stopped = interrupted;
  options.complain = [&program, rank = launch.rank] {
    if (rank > 0) return;
    fail(program,
         "told to stop, and another rank does not answer: it has ended, or is busy; the last "
         "checkpoint stays, and --resume goes on from it",
         1);
  };
  return parallel::join(launch, options);
}

at::Device make_device(const std::string& name) {
  const auto known = [&] {
    if (name == "cpu" || name == "cuda") return true;
    const auto digits = name.starts_with("cuda:") ? name.substr(5) : "";
    return !digits.empty() && digits.size() < 4 &&
           digits.find_first_not_of("0123456789") == std::string::npos;
  };
  if (!known()) user_error("device = '{}' is none of cpu, cuda, cuda:0, cuda:1, ...", name);
  if (name == "cpu") return at::kCPU;
  const auto count = static_cast<int>(torch::cuda::device_count());
  if (count == 0) {
    user_error("device = '{}', but there is no CUDA device that LibTorch {} can use", name,
               TORCH_VERSION);
  }
  // The ranks of one machine share its devices.
  const int index =
      name == "cuda" ? parallel::launched().local_rank % count : std::stoi(name.substr(5));
  if (index >= count) {
    user_error("device = '{}', but this machine has {} CUDA device{}", name, count,
               count == 1 ? "" : "s");
  }
  return {at::kCUDA, static_cast<c10::DeviceIndex>(index)};
}

void set_threads(std::int64_t threads) {
  if (threads > 0) at::set_num_threads(static_cast<int>(threads));
}

// Those that are no keys.
std::vector<std::string> options_again(const CommandLine& command_line) {
  std::vector<std::string> words;
  if (command_line.load) words = {"--load", command_line.load->string()};
  if (command_line.tensorboard) words.emplace_back("--tensorboard");
  return words;
}

// A comment says how to repeat the run.
std::string config_text(const Program& program, const Run& run, const CommandLine& command_line) {
  std::vector<std::string> command{program.name, "--config",
                                   (run.folder().path() / "config.toml").string()};
  const auto options = options_again(command_line);
  command.insert(command.end(), options.begin(), options.end());
  return fmt::format("# {} {}; to repeat the run: {}\n{}", program.name, PCXX_VERSION,
                     shell_line(command), run.config().toml());
}

std::string json_text(const auto& json) {
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string environment_text(const Program& program, const Run& run, const std::string& command,
                             double seconds) {
  auto json = environment(program.name, run.device());
  json["threads"] = run.threads();
  if (run.ranks().size() > 1) {
    json["ranks"] = run.ranks().size();
    json["bytes_sent"] = run.ranks().bytes();  // by the first rank
  }
  json["command_line"] = command;
  json["seconds"] = seconds;
  json["complete"] = run.unfinished().empty();
  auto files = run.folder().names();
  files.emplace_back("environment.json");
  if (!program.plot_script.empty()) files.emplace_back("figure.png");
  json["files"] = files;
  return json_text(json);
}

void write_results(const Program& program, Run& run, const CommandLine& command_line,
                   double seconds) {
  if (!run.unfinished().empty()) run.summary()["unfinished"] = run.unfinished();
  run.records().flush();
  if (run.tensorboard() != nullptr) run.tensorboard()->write(run.folder());
  run.folder().write("config.toml", config_text(program, run, command_line));
  run.folder().write("summary.json", json_text(run.summary()));
  run.folder().write("environment.json",
                     environment_text(program, run, command_line.text, seconds));
  run.folder().commit();
}

std::string resume_command(const Program& program, const Run& run,
                           const CommandLine& command_line) {
  std::vector<std::string> words{program.name, "--resume", "--out", run.folder().path().string()};
  const auto options = options_again(command_line);
  words.insert(words.end(), options.begin(), options.end());
  return shell_line(words);
}

std::string begun_text(std::size_t jobs) {
  return jobs > 0 ? fmt::format(" and {} begun", jobs) : "";
}

// Of some jobs only. Results of a whole run are not replaced by such.
int end_unfinished(const Program& program, Run& run, const CommandLine& command_line,
                   double seconds) {
  constexpr std::size_t kNamed = 5;
  const auto missing = run.unfinished().size();
  const auto jobs = run.parts()->jobs();
  const bool written = run.records().rows() > 0 && !RunFolder::whole_run(run.folder().path());
  if (written) write_results(program, run, command_line, seconds);
  const auto results = written ? fmt::format("results so far: {}", run.folder().path().string())
                               : std::string("no results were written");
  if (!command_line.merge.empty()) {
    auto names = run.unfinished();
    if (missing > kNamed) names.resize(kNamed);
    return fail(
        program,
        fmt::format("{} of {} jobs are missing ({}{}); {}; the shards that should have done "
                    "them go on by the same command",
                    missing, jobs, fmt::join(names, "; "), missing > kNamed ? "; ..." : "",
                    results),
        1);
  }
  const auto begun = run.parts()->begun().size();
  if (missing == jobs && begun == 0) {
    return fail(program, "interrupted; no results were written", kInterruptedCode);
  }
  return fail(
      program,
      fmt::format("interrupted with {} of {} jobs done{}; {}; go on with: {}", jobs - missing, jobs,
                  begun_text(begun), results, resume_command(program, run, command_line)),
      kInterruptedCode);
}

int end_shard(const Program& program, const Run& run, const Shard& shard, bool done) {
  const auto& folder = run.folder().path();
  const auto missing = run.parts()->missing().size();
  const auto state = fmt::format(
      "{} of all {} jobs are done{} in {}", run.parts()->jobs() - missing, run.parts()->jobs(),
      begun_text(run.parts()->begun().size()), Parts::folder_in(folder).string());
  if (!done) {
    return fail(program, fmt::format("interrupted; {}; the same command goes on", state),
                kInterruptedCode);
  }
  run.print("shard {}/{}: {}", shard.index, shard.count, state);
  if (missing == 0) {
    run.print("for the results: {}", shell_line({program.name, "--merge", folder.string()}));
  }
  return 0;
}

RunFolder make_folder(const Program& program, const CommandLine& command_line, bool root) {
  if (!root) return RunFolder::scratch();
  return command_line.out ? RunFolder(*command_line.out) : RunFolder::fresh(program.name);
}

// What this process does in the folder: no two may do the same at once.
FolderWork work_of(const CommandLine& command_line) {
  if (!command_line.merge.empty()) return {.jobs = std::nullopt, .results = true};
  if (command_line.shard) return {.jobs = command_line.shard, .results = false};
  return {};
}

// --resume or --merge of a run that has its results. A kill may have left its lock, and parts of no
// more use.
int end_complete(const Program& program, const CommandLine& command_line) {
  const auto& folder = *command_line.out;
  if (parallel::launched().rank > 0) return 0;
  if (::access(folder.c_str(), W_OK | X_OK) == 0) {
    const RunLock lock(folder, program.name);
    Parts::discard(Parts::folder_in(folder));
  }
  if (command_line.quiet) return 0;
  print_to(stdout, fmt::format("'{}' holds a complete run: there is nothing left to do\n",
                               folder.string()));
  return 0;
}

int run_experiment(const Program& program, const config::Config& config,
                   const CommandLine& command_line, parallel::Communicator& ranks) {
  const auto start = std::chrono::steady_clock::now();
  const catalog::Machine machine(config);
  const auto device = make_device(machine.device);
  set_threads(machine.threads);
  RunFolder folder = make_folder(program, command_line, ranks.is_root());
  std::optional<RunLock> lock;
  if (ranks.is_root()) lock.emplace(folder.path(), program.name, work_of(command_line));
  Run run(program, config, device, folder, command_line, ranks);
  try {
    program.run(run);
  } catch (const ShardEnded& shard) {
    return end_shard(program, run, *command_line.shard, shard.done);
  } catch (const RankEnded&) {
    return 0;
  }
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  if (!run.unfinished().empty()) return end_unfinished(program, run, command_line, time.count());
  run.check_interrupted();
  write_results(program, run, command_line, time.count());
  if (run.parts()) remove_parts(run);

  run.print("results: {}", folder.path().string());
  if (run.tensorboard() != nullptr) {
    run.print("curves: {}", shell_line({"tensorboard", "--logdir", folder.path() / "tensorboard"}));
  }
  if (!program.plot_script.empty()) {
    run.print("{}", draw(folder.path(), program.plot_script).message);
  }
  return 0;
}

int run_command(const Program& program, int argc, const char* const* argv,
                std::unique_ptr<parallel::Communicator>& ranks) {
  ranks = join_ranks(program);
  const auto command_line = complete(program, parse_command_line(program, argc, argv));
  if (command_line.help) return print_out(help_text(program));
  if (command_line.version) return print_out(fmt::format("{} {}\n", program.name, PCXX_VERSION));
  if (is_complete(program, command_line)) return end_complete(program, command_line);
  const auto config = read_config(program, command_line);
  if (command_line.print_config) return print_out(config.toml());
  if (const auto timeout = catalog::Machine(config).rank_timeout) {
    ranks->wait_at_most(std::chrono::duration<double>(*timeout));
  }
  check_same_ranks(*ranks, program, config, command_line);
  return run_experiment(program, config, command_line, *ranks);
}

}  // namespace

int run_program(const Program& program, int argc, const char* const* argv) {
  keep_freed_memory();
  open_standard_streams();
  const SignalScope signals;
  std::unique_ptr<parallel::Communicator> ranks;
  const auto failed = [&](const std::string& message, int code) {
    return fail_everywhere(program, message, code, ranks.get());
  };
  try {
    return run_command(program, argc, argv, ranks);
  } catch (const Interrupted&) {
    return failed("interrupted; no results were written", kInterruptedCode);
  } catch (const UserError& error) {
    return failed(error.what(), 2);
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    // LibTorch's allocator says it with the line of its source.
    return failed(is_out_of_memory(text) ? "out of memory" : text, 1);
  } catch (const std::bad_alloc&) {
    return failed("out of memory", 1);
  } catch (const std::exception& error) {
    return failed(error.what(), 1);
  }
}

}  // namespace pcxx::run
