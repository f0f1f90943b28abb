#include <ATen/Parallel.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <pcxx/core/error.h>
#include <pcxx/train/figure.h>
#include <pcxx/train/program.h>
#include <signal.h>
#include <torch/cuda.h>
#include <torch/version.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "train/environment.h"
#include "train/text.h"

namespace pcxx::train {

namespace fs = std::filesystem;

namespace {

constexpr int kInterruptedCode = 130;

// No std::exception, so that an experiment that catches those does not catch it.
struct Interrupted {};

std::atomic<bool> interrupted = false;
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler needs it");

// Turns the signals that ask a program to stop into a flag, while in scope. A reader that went
// away, as in `| head`, is no reason to stop.
class SignalScope {
 public:
  SignalScope() {
    interrupted = false;
    for (std::size_t i = 0; i < kSignals.size(); ++i) {
      struct sigaction action {};
      action.sa_handler = kSignals[i] == SIGPIPE ? SIG_IGN : [](int) { interrupted = true; };
      ::sigaction(kSignals[i], &action, &before_[i]);
    }
  }
  ~SignalScope() {
    for (std::size_t i = 0; i < kSignals.size(); ++i) {
      ::sigaction(kSignals[i], &before_[i], nullptr);
    }
  }
  SignalScope(const SignalScope&) = delete;
  SignalScope& operator=(const SignalScope&) = delete;

 private:
  static constexpr std::array kSignals{SIGINT, SIGTERM, SIGHUP, SIGPIPE};
  std::array<struct sigaction, kSignals.size()> before_{};
};

void print_out(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
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
  const int index = name == "cuda" ? 0 : std::stoi(name.substr(5));
  if (index >= count) {
    user_error("device = '{}', but this machine has {} CUDA device{}", name, count,
               count == 1 ? "" : "s");
  }
  return {at::kCUDA, static_cast<c10::DeviceIndex>(index)};
}

void set_threads(std::int64_t threads) {
  if (threads > 0) at::set_num_threads(static_cast<int>(threads));
}

// A comment says how to repeat the run; --load is no key.
std::string config_text(const Program& program, const Run& run) {
  std::vector<std::string> command{program.name, "--config",
                                   (run.folder().path() / "config.toml").string()};
  if (run.load_path()) command.insert(command.end(), {"--load", run.load_path()->string()});
  return fmt::format("# {} {}; to repeat the run: {}\n{}", program.name, PCXX_VERSION,
                     shell_line(command), run.config().toml());
}

std::string json_text(const auto& json) {
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string environment_text(const Program& program, const Run& run, const std::string& command,
                             double seconds) {
  auto json = environment(program.name, run.device());
  json["command_line"] = command;
  json["seconds"] = seconds;
  auto files = run.folder().names();
  files.emplace_back("environment.json");
  if (!program.plot_script.empty()) files.emplace_back("figure.png");
  json["files"] = files;
  return json_text(json);
}

void run_experiment(const Program& program, const Config& config, const CommandLine& command_line) {
  const auto start = std::chrono::steady_clock::now();
  const auto device = make_device(config.text("device"));
  set_threads(config.integer("threads"));
  RunFolder folder =
      command_line.out ? RunFolder(*command_line.out) : RunFolder::fresh(program.name);
  Run run(config, device, folder, command_line);
  program.run(run);
  run.check_interrupted();

  run.records().flush();
  folder.write("config.toml", config_text(program, run));
  folder.write("summary.json", json_text(run.summary()));
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  folder.write("environment.json", environment_text(program, run, command_line.text, time.count()));
  folder.commit();

  run.print("results: {}", folder.path().string());
  if (!program.plot_script.empty()) {
    run.print("{}", draw(folder.path(), program.plot_script).message);
  }
}

void run_command(const Program& program, int argc, const char* const* argv) {
  const auto command_line = parse_command_line(program, argc, argv);
  if (command_line.help) return print_out(help_text(program));
  if (command_line.version) return print_out(fmt::format("{} {}\n", program.name, PCXX_VERSION));
  const auto config = Config::read(program.schema, command_line.config, command_line.assignments);
  if (command_line.print_config) return print_out(config.toml());
  run_experiment(program, config, command_line);
}

int fail(const Program& program, std::string_view message, int code) {
  fmt::print(stderr, "{}: {}\n", program.name, message);
  return code;
}

}  // namespace

Run::Run(Config config, c10::Device device, RunFolder& folder, CommandLine command_line)
    : config_(std::move(config)),
      device_(device),
      folder_(folder),
      command_line_(std::move(command_line)),
      records_(folder.file("metrics.csv").stream()) {}

void Run::resolve(std::string_view key, const Value& value) {
  config_ = config_.with(key, {value});
}

std::optional<fs::path> Run::data_folder() const {
  if (config_.has("data") && !config_.text("data").empty()) return config_.text("data");
  const char* folder = std::getenv("PCXX_DATA_DIR");
  if (folder == nullptr || *folder == '\0') return std::nullopt;
  return folder;
}

Progress Run::progress(std::string label, std::int64_t total) const {
  return {std::move(label), total, quiet()};
}

void Run::check_interrupted() const {
  if (interrupted) throw Interrupted();
}

void Run::print_line(const std::string& line) const {
  if (!quiet()) print_out(line + "\n");
}

int run_program(const Program& program, int argc, const char* const* argv) {
  const SignalScope signals;
  try {
    run_command(program, argc, argv);
    return 0;
  } catch (const Interrupted&) {
    return fail(program, "interrupted; no results were written", kInterruptedCode);
  } catch (const UserError& error) {
    return fail(program, error.what(), 2);
  } catch (const c10::Error& error) {
    return fail(program, error.what_without_backtrace(), 1);
  } catch (const std::bad_alloc&) {
    return fail(program, "out of memory", 1);
  } catch (const std::exception& error) {
    return fail(program, error.what(), 1);
  }
}

}  // namespace pcxx::train
