#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <pcxx/core/share.h>
#include <pcxx/run/figure.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <string_view>
#include <vector>

#include "core/system_calls.h"
#include "core/text.h"

namespace pcxx::run {

namespace fs = std::filesystem;

namespace {

struct Outcome {
  int code = -1;
  std::string errors = {};  // what it wrote to stderr
};

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// A closed pair of ends of a pipe, or an open one.
struct Pipe {
  Pipe() {
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) ends = {-1, -1};
  }
  ~Pipe() {
    close_end(0);
    close_end(1);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  void close_end(std::size_t i) {
    if (ends[i] >= 0) ::close(ends[i]);
    ends[i] = -1;
  }

  std::array<int, 2> ends{};
};

// The folders of a variable such as PATH. An empty or relative one would be below the current
// folder, which may be a stranger's.
std::vector<std::string> absolute_folders(const char* name) {
  std::vector<std::string> folders;
  std::istringstream entries(variable(name));
  for (std::string entry; std::getline(entries, entry, ':');) {
    if (fs::path(entry).is_absolute()) folders.push_back(entry);
  }
  return folders;
}

// This process's environment, with a back end that needs no screen and no modules of the current
// folder.
std::vector<std::string> child_environment() {
  std::vector<std::string> result{"MPLBACKEND=Agg"};
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (!text.starts_with("MPLBACKEND=") && !text.starts_with("PYTHONPATH=")) {
      result.emplace_back(text);
    }
  }
  const auto modules = absolute_folders("PYTHONPATH");
  if (!modules.empty()) result.push_back(fmt::format("PYTHONPATH={}", fmt::join(modules, ":")));
  return result;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (auto& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

// Without a shell, so that paths may hold anything, and in `folder`: Python takes modules, and
// matplotlib its settings, from the current one. 0 or an errno.
int spawn(std::vector<std::string> command, const fs::path& folder, int errors, pid_t& child) {
  auto texts = child_environment();
  const auto words = pointers(command);
  const auto environment = pointers(texts);

  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addchdir_np(&files, folder.c_str());
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&files, errors, STDERR_FILENO);
  const int error =
      ::posix_spawn(&child, words.front(), &files, nullptr, words.data(), environment.data());
  posix_spawn_file_actions_destroy(&files);
  return error;
}

// A signal to this process, such as Ctrl-C, ends the child too.
std::string read_until_end(int from, pid_t child) {
  std::string text;
  std::array<char, 4096> chunk{};
  for (;;) {
    const auto count = ::read(from, chunk.data(), chunk.size());
    if (count > 0) {
      text.append(chunk.data(), static_cast<std::size_t>(count));
    } else if (count < 0 && errno == EINTR) {
      ::kill(child, SIGTERM);
    } else {
      return text;
    }
  }
}

Outcome run(const std::vector<std::string>& command, const fs::path& folder) {
  Pipe pipe;
  pid_t child = 0;
  if (const int error = spawn(command, folder, pipe.ends[1], child); error != 0) {
    return {.errors = std::strerror(error)};
  }
  pipe.close_end(1);
  Outcome outcome{.errors = read_until_end(pipe.ends[0], child)};
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) ::kill(child, SIGTERM);
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

std::string last_line(std::string text) {
  text.erase(text.find_last_not_of(" \t\r\n") + 1);
  return text.substr(text.rfind('\n') + 1);
}

// Of PATH; empty when it is not there.
std::string find_program(const std::string& name) {
  for (const auto& folder : absolute_folders("PATH")) {
    const auto path = fs::path(folder) / name;
    std::error_code ignored;
    if (::access(path.c_str(), X_OK) == 0 && fs::is_regular_file(path, ignored)) return path;
  }
  return {};
}

std::vector<std::string> pythons(const fs::path& plots) {
  if (const auto chosen = variable("PCXX_PYTHON"); !chosen.empty()) {
    const bool is_path = chosen.find('/') != std::string::npos;
    return {is_path ? fs::absolute(chosen).string() : find_program(chosen)};
  }
  return {plots / "../.venv/bin/python", find_program("python3")};
}

bool has_matplotlib(const std::string& python, const fs::path& plots) {
  return run({python, "-c",
              "import importlib.util as u, sys\n"
              "sys.exit(not all(map(u.find_spec, ('numpy', 'matplotlib'))))"},
             plots)
             .code == 0;
}

std::string find_python(const fs::path& plots) {
  for (const auto& python : pythons(plots)) {
    if (!python.empty() && has_matplotlib(python, plots)) return python;
  }
  return {};
}

fs::path script_path(const std::string& script) {
  const auto chosen = variable("PCXX_PLOTS");
  const auto plots = chosen.empty() ? share_folder() / "plots" : fs::path(chosen);
  return plots / (script + ".py");
}

// Empty when the script has done its work, otherwise why not.
std::string fault_of(const fs::path& script, const std::vector<std::string>& arguments) {
  std::error_code error;
  if (!fs::exists(script, error)) {
    return fmt::format("'{}' is not there (PCXX_PLOTS names the folder of the scripts)",
                       script.string());
  }
  const auto here = fs::absolute(script);
  const auto python = find_python(here.parent_path());
  if (python.empty()) {
    return "no Python with numpy and matplotlib was found (PCXX_PYTHON names one)";
  }
  std::vector<std::string> command{python, here};
  command.insert(command.end(), arguments.begin(), arguments.end());
  const auto outcome = run(command, here.parent_path());
  if (outcome.code == 0) return "";
  const auto fault = last_line(outcome.errors);
  return fault.empty() ? python + " failed" : fault;
}

// Empty when the figure is there, otherwise why not.
std::string attempt(const fs::path& script, const fs::path& folder, const fs::path& figure) {
  std::error_code error;
  const auto here = fs::absolute(folder);
  // As killed runs may have left one.
  for (const auto& name : names_in(here)) {
    if (name.starts_with(".figure.") && name.ends_with(".png")) remove_entry(here / name);
  }
  const auto unfinished = here / fmt::format(".figure.{}.png", ::getpid());
  auto fault = fault_of(script, {here, "--out", unfinished});
  if (fault.empty()) {
    fs::rename(unfinished, figure, error);
    if (error) fault = "the script wrote none";
  }
  remove_entry(unfinished);
  return fault;
}

}  // namespace

Drawing draw(const fs::path& folder, const std::string& script) {
  const auto path = script_path(script);
  const auto figure = folder / "figure.png";
  const auto fault = attempt(path, folder, figure);
  if (fault.empty()) return {true, "figure: " + figure.string()};
  return {false, fmt::format("no figure: {}; to draw it later: {}", fault,
                             shell_line({"python3", path, folder, "--out", figure}))};
}

Drawing run_plot_script(const std::string& script, const std::vector<std::string>& arguments) {
  const auto path = script_path(script);
  const auto fault = fault_of(path, arguments);
  if (fault.empty()) return {true, ""};
  std::vector<std::string> command{"python3", path};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return {false, fmt::format("{}; to try again: {}", fault, shell_line(command))};
}

}  // namespace pcxx::run
