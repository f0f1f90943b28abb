#include "reproduce/panels.h"

#include <fmt/format.h>
#include <pcxx/core/error.h>
#include <pcxx/core/files.h>
#include <pcxx/core/standard_streams.h>
#include <pcxx/data/image_dataset.h>
#include <pcxx/programs.h>
#include <pcxx/run/commit.h>
#include <pcxx/run/parts.h>
#include <pcxx/run/run_lock.h>
#include <pcxx/version.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "reproduce/results.h"

namespace pcxx::reproduce {

namespace fs = std::filesystem;

namespace {

constexpr int kInterruptedCode = 130;

run::Program program_of(const Panel& panel) {
  for (auto make :
       {programs::alignment, programs::autoencoder, programs::regression, programs::trajectory}) {
    auto program = make();
    if (program.name != panel.program) continue;
    program.plot_script.clear();  // the figure has all panels
    return program;
  }
  user_error("panel {}: there is no program {}", panel.id, panel.program);
}

std::string key_of(const std::string& assignment) {
  return assignment.substr(0, assignment.find('='));
}

std::vector<std::string> assignments(const Panel& panel, const Setting& setting) {
  const auto schema = program_of(panel).schema;
  auto all = panel.set;
  for (const auto& assignment : setting.set) {
    if (schema.find(key_of(assignment)) != nullptr) all.push_back(assignment);
  }
  return all;
}

config::Config config_of(const Panel& panel, const Setting& setting) {
  return config::Config::read(program_of(panel).schema, panel.config, assignments(panel, setting));
}

bool same_run(const config::Config& config, const std::string& toml, const fs::path& file) {
  const auto other = config::Config::parse(config.schema(), toml, file.string());
  return !first_difference(config, other, config.schema().free_keys());
}

// Parts of another run, of an older config, version or commit, would stop this one.
void remove_foreign_parts(const Panel& panel, const Setting& setting) {
  const auto parts = run::Parts::folder_in(folder_of(panel, setting.out));
  const auto run = run::Parts::run_of(parts);
  if (!run) return;
  const auto text = [&](const char* name) {
    const auto found = run->find(name);
    return found != run->end() && found->is_string() ? found->get<std::string>() : "";
  };
  const bool ours = text("version") == PCXX_VERSION && text("commit") == run::git_commit() &&
                    same_run(config_of(panel, setting), text("config"), parts);
  if (!ours) fs::remove_all(parts);
}

// The folder of a finished panel, in which a kill may have left a lock, and parts of no more use.
void tidy(const fs::path& folder) {
  run::RunLock::sweep(folder);
  std::error_code ignored;
  if (run::RunLock::holders(folder) == 0) fs::remove_all(run::Parts::folder_in(folder), ignored);
}

// Images that are not there would be missed after hours.
void check_images(const Panel& panel, const config::Config& config) {
  if (!config.has("dataset")) return;
  const auto& dataset = config.text("dataset");
  if (dataset != "mnist" && dataset != "fashion-mnist") return;
  if (data::find_data_folder(config.text("data"), dataset)) return;
  user_error(
      "panel {} needs {}, which is not there: data/get_data {} fetches it, --data names its "
      "folder, and --set dataset=digits takes drawn digits instead",
      panel.id, dataset, dataset);
}

std::string time_text(double seconds) {
  const auto s = std::lround(seconds);
  return fmt::format("{}:{:02}", s / 60, s % 60);
}

// What is left, judged by what the panels that are done have taken.
class TimeLeft {
 public:
  explicit TimeLeft(const std::vector<Panel>& panels) {
    for (const auto& panel : panels) left_ += panel.seconds;
  }
  void done(const Panel& panel, double took) {
    left_ -= panel.seconds;
    expected_ += panel.seconds;
    took_ += took;
  }
  std::string text() const {
    const double pace = expected_ > 0 ? took_ / expected_ : 1;
    return time_text(left_ * pace);
  }

 private:
  double left_ = 0;
  double expected_ = 0;
  double took_ = 0;
};

int run_panel(const Panel& panel, const Setting& setting, const std::string& progress) {
  auto program = program_of(panel);
  if (!setting.quiet) program.progress = progress;
  auto words = command_of(panel, setting);
  if (setting.shard && program.works) {
    words.insert(words.end(),
                 {"--shard", fmt::format("{}/{}", setting.shard->index, setting.shard->count)});
  } else {
    remove_foreign_parts(panel, setting);
    if (fs::exists(run::Parts::folder_in(folder_of(panel, setting.out))))
      words.emplace_back("--resume");
  }
  words.emplace_back("--quiet");
  std::vector<const char*> argv;
  for (const auto& word : words) argv.push_back(word.c_str());
  return run::run_program(program, static_cast<int>(argv.size()), argv.data());
}

}  // namespace

std::vector<Panel> distinct_panels(const std::vector<Figure>& figures) {
  std::vector<Panel> panels;
  for (const auto& figure : figures) {
    for (const auto& panel : figure.panels) {
      const bool known = std::any_of(panels.begin(), panels.end(),
                                     [&](const Panel& other) { return other.id == panel.id; });
      if (!known) panels.push_back(panel);
    }
  }
  return panels;
}

fs::path folder_of(const Panel& panel, const fs::path& out) {
  return out / "panels" / panel.id;
}

std::vector<std::string> command_of(const Panel& panel, const Setting& setting) {
  std::vector<std::string> words{panel.program, "--config", panel.config.string()};
  for (const auto& assignment : assignments(panel, setting)) {
    words.insert(words.end(), {"--set", assignment});
  }
  words.insert(words.end(), {"--out", folder_of(panel, setting.out).string()});
  return words;
}

bool finished(const Panel& panel, const Setting& setting) {
  const auto folder = folder_of(panel, setting.out);
  const auto environment = read_json(folder / "environment.json");
  if (!environment.value("complete", false)) return false;
  if (environment.value("version", "") != PCXX_VERSION) return false;
  const auto file = folder / "config.toml";
  std::error_code error;
  if (!fs::is_regular_file(file, error)) return false;
  try {
    return same_run(config_of(panel, setting), read_file(file), file);
  } catch (const UserError&) {
    return false;  // of another version of the program, or damaged
  }
}

void check(const std::vector<Panel>& panels, const Setting& setting) {
  for (const auto& panel : panels) static_cast<void>(config_of(panel, setting));
  for (const auto& assignment : setting.set) {
    const auto key = key_of(assignment);
    const bool known = std::any_of(panels.begin(), panels.end(), [&](const Panel& panel) {
      return program_of(panel).schema.find(key) != nullptr;
    });
    if (!known) user_error("--set {}: no program of these figures has a key {}", assignment, key);
  }
}

void check_images(const std::vector<Panel>& panels, const Setting& setting) {
  for (const auto& panel : panels) check_images(panel, config_of(panel, setting));
}

Ending run_panels(const std::vector<Panel>& panels, const Setting& setting) {
  std::vector<Panel> open;
  for (std::size_t i = 0; i < panels.size(); ++i) {
    const auto& panel = panels[i];
    const bool ours = !setting.shard || setting.shard->has(i) || program_of(panel).works;
    if (!ours) continue;
    if (finished(panel, setting)) {
      tidy(folder_of(panel, setting.out));
    } else {
      open.push_back(panel);
    }
  }
  if (!setting.quiet && !setting.shard && open.size() < panels.size()) {
    print_to(stdout, fmt::format("{} of {} panels are finished already\n",
                                 panels.size() - open.size(), panels.size()));
  }
  TimeLeft left(open);
  for (std::size_t i = 0; i < open.size(); ++i) {
    const auto& panel = open[i];
    const auto place =
        fmt::format("panel {}/{}, {} left in all | {} ", i + 1, open.size(), left.text(), panel.id);
    const auto start = std::chrono::steady_clock::now();
    const int code = run_panel(panel, setting, place);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    if (code == kInterruptedCode) return Ending::kInterrupted;
    if (code != 0) return Ending::kFailed;
    left.done(panel, took.count());
    if (!setting.quiet) {
      print_to(stdout, fmt::format("{:<14} {:>7} s  {}\n", panel.id,
                                   fmt::format("{:.1f}", took.count()), panel.title));
    }
  }
  return Ending::kDone;
}

}  // namespace pcxx::reproduce
