#include "reproduce/reproduce.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <pcxx/core/error.h>
#include <pcxx/core/files.h>
#include <pcxx/core/share.h>
#include <pcxx/core/standard_streams.h>
#include <pcxx/data/image_dataset.h>
#include <pcxx/parallel/launch.h>
#include <pcxx/run/figure.h>
#include <pcxx/run/run_folder.h>
#include <pcxx/run/run_lock.h>
#include <pcxx/version.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cxxopts.hpp>
#include <optional>

#include "reproduce/figures.h"
#include "reproduce/panels.h"
#include "reproduce/report.h"

namespace pcxx::reproduce {

namespace fs = std::filesystem;

namespace {

constexpr const char* kName = "pcxx-reproduce";

constexpr const char* kHelp =
    R"(Runs the experiments of the paper, draws its figures and judges its claims.

Usage: pcxx-reproduce --all | --figure LIST [options]

Examples:
  # the whole paper in a few minutes, with fewer rates and seeds
  pcxx-reproduce --all --profile quick --data data
  # one panel, and a whole figure, as in the paper
  pcxx-reproduce --figure 4B,2
  # what there is, and what a panel would run
  pcxx-reproduce --list
  # without MNIST, on digits that the program draws itself
  pcxx-reproduce --figure 4 --profile quick --set dataset=digits

Options:
  --all             every figure of the paper, and those beyond it
  --figure LIST     figures and panels by name, such as 1B,2,3A; beyond: those of our own
  --profile P       quick (fewer rates and seeds), paper (the paper's; the default), more (100 seeds
                    where they are cheap)
  --out DIR         folder of the results; runs/paper-<profile> otherwise. Panels that are finished
                    there are not run again unless their config has changed
  --set KEY=VALUE   set a key of every panel that has it, over the figures' files; may be repeated
  --data DIR        folder that has mnist/ and fashion-mnist/; PCXX_DATA_DIR, else ./data
  --shard i/N       do every N-th job of each panel, from number i (0 to N - 1) on; any number of
                    machines may share --out, tasks of a Slurm array are shards by themselves; the
                    same command without a shard then draws and judges
  --threads N       runs side by side; the processors at hand otherwise
  --device D        cpu (the default), cuda, cuda:0, cuda:1, ...
  --list            print figures and panels with their commands, and end
  --quiet           print errors only
  --version         print the version, and end
  --help            print this, and end

Results: report.html and report.md with the verdicts on every claim, verdicts.json, summary.csv,
figures/*.png and *.pdf (*-ours with the models that are not the paper's), and panels/<name>/, each a
run of one program that its config.toml repeats. The figures are described in configs/paper/
(PCXX_CONFIGS names another folder of configs). Each model is judged at the learning rate of its
lowest final error, as in the paper; --set best_by=area takes the fastest one.
Exit codes: 0 done, 1 failure, 2 bad input, 130 interrupted; the same command goes on
)";

struct CommandLine {
  std::string figures;
  Profile profile = Profile::kPaper;
  Setting setting;
  bool list = false;
  std::string text;  // as typed
};

cxxopts::ParseResult parse(int argc, const char* const* argv) {
  cxxopts::Options parser(kName);
  for (const char* name : {"all", "list", "quiet", "version", "help"}) {
    parser.add_options()(name, "", cxxopts::value<bool>());
  }
  for (const char* name :
       {"figure", "profile", "out", "set", "data", "shard", "threads", "device"}) {
    parser.add_options()(name, "", cxxopts::value<std::vector<std::string>>());
  }
  try {
    const auto parsed = parser.parse(argc, argv);
    if (!parsed.unmatched().empty()) {
      user_error("'{}' belongs to no option; --help shows the options", parsed.unmatched().front());
    }
    return parsed;
  } catch (const cxxopts::exceptions::exception& error) {
    user_error("{}; --help shows the options", error.what());
  }
}

std::optional<std::string> value_of(const cxxopts::ParseResult& parsed, const std::string& name) {
  if (parsed.count(name) == 0) return std::nullopt;
  const auto& values = parsed[name].as<std::vector<std::string>>();
  if (values.size() > 1) user_error("--{} was given twice", name);
  if (values.front().empty() || values.front().starts_with("--")) {
    user_error("--{} needs a value, not '{}'", name, values.front());
  }
  return values.front();
}

CommandLine read(const cxxopts::ParseResult& parsed) {
  CommandLine line;
  line.list = parsed.count("list") > 0;
  const auto figures = value_of(parsed, "figure");
  const bool all = parsed.count("all") > 0;
  if (all == figures.has_value() && !line.list) {
    user_error("say either --all or --figure LIST; --list shows what there is");
  }
  line.figures = figures.value_or("");
  if (const auto profile = value_of(parsed, "profile")) line.profile = profile_from(*profile);
  line.setting.quiet = parsed.count("quiet") > 0;
  line.setting.out =
      value_of(parsed, "out").value_or(fmt::format("runs/paper-{}", name(line.profile)));
  if (fs::exists(line.setting.out) && !fs::is_directory(line.setting.out)) {
    user_error("--out: '{}' is no folder", line.setting.out.string());
  }
  if (const auto shard = value_of(parsed, "shard")) {
    line.setting.shard = run::parse_shard(*shard);
  } else {
    line.setting.shard = run::slurm_shard();
  }
  if (parsed.count("set") > 0) line.setting.set = parsed["set"].as<std::vector<std::string>>();
  for (const char* key : {"data", "threads", "device"}) {
    if (const auto value = value_of(parsed, key)) {
      line.setting.set.push_back(fmt::format("{}={}", key, *value));
    }
  }
  return line;
}

fs::path configs_folder() {
  const char* folder = std::getenv("PCXX_CONFIGS");
  const bool chosen = folder != nullptr && *folder != '\0';
  return (chosen ? fs::path(folder) : share_folder() / "configs") / "paper";
}

// What the plots and the report know of the run.
nlohmann::json describe(const std::vector<Figure>& figures, Profile profile) {
  nlohmann::json json{
      {"profile", name(profile)}, {"version", PCXX_VERSION}, {"figures", nlohmann::json::array()}};
  for (const auto& figure : figures) {
    nlohmann::json entry{{"id", figure.id},       {"title", figure.title},
                         {"plot", figure.plot},   {"columns", figure.columns},
                         {"notes", figure.notes}, {"panels", nlohmann::json::array()}};
    for (const auto& panel : figure.panels) {
      entry["panels"].push_back({{"id", panel.id},
                                 {"title", panel.title},
                                 {"program", panel.program},
                                 {"folder", fmt::format("panels/{}", panel.id)}});
    }
    json["figures"].push_back(std::move(entry));
  }
  return json;
}

std::string list(const std::vector<Figure>& figures, const Setting& setting) {
  std::string text;
  for (const auto& figure : figures) {
    text += fmt::format("figure {}: {}\n", figure.id, figure.title);
    for (const auto& panel : figure.panels) {
      text += fmt::format("  {:<14}{}\n", panel.id, fmt::join(command_of(panel, setting), " "));
    }
  }
  return text;
}

int fail(std::string_view message, int code) {
  print_to(stderr, fmt::format("{}: {}\n", kName, message));
  return code;
}

void say(const Setting& setting, const std::string& line) {
  if (!setting.quiet) print_to(stdout, line + "\n");
}

// Those of which the folder holds something, of this call or of an earlier one.
std::vector<Figure> figures_in(const fs::path& out, std::vector<Figure> figures) {
  std::erase_if(figures, [&](const Figure& figure) {
    return std::none_of(figure.panels.begin(), figure.panels.end(), [&](const Panel& panel) {
      return fs::exists(folder_of(panel, out) / "summary.json");
    });
  });
  return figures;
}

// What a kill left of the files of a report; nobody else is at work in the folder.
void remove_half_written(const fs::path& folder) {
  std::vector<fs::path> left;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const auto name = entry.path().filename().string();
    if (name.starts_with('.') && name.ends_with(".partial")) left.push_back(entry.path());
  }
  for (const auto& path : left) fs::remove(path, ignored);
}

int draw(const std::vector<Figure>& figures, const Setting& setting) {
  std::vector<std::string> arguments{fs::absolute(setting.out).string(), "--figure"};
  for (const auto& figure : figures) arguments.push_back(figure.id);
  // The paper's models alone, then ours with them.
  for (const bool ours : {false, true}) {
    if (ours) arguments.insert(arguments.begin() + 1, "--ours");
    const auto drawing = run::run_plot_script("paper", arguments);
    if (!drawing.drawn) return fail("no figures: " + drawing.message, 1);
  }
  say(setting, "figures: " + (setting.out / "figures").string());
  return 0;
}

// Figures, from what the panels left, and the report.
int present(const std::vector<Figure>& selected, const CommandLine& line) {
  const auto& out = line.setting.out;
  const auto known = figures_in(out, read_figures(configs_folder(), line.profile));
  write_file(out / "paper.json", describe(known, line.profile).dump(2) + "\n");
  const int code = draw(selected, line.setting);
  write_report(known, line.profile, line.setting, line.text);
  say(line.setting, "report: " + (out / "report.html").string());
  return code;
}

int end_shard(const CommandLine& line) {
  say(line.setting,
      fmt::format(
          "shard {}/{} is done; once all are, the same command without --shard draws and judges",
          line.setting.shard->index, line.setting.shard->count));
  return 0;
}

int reproduce(const CommandLine& line) {
  const auto figures = select_figures(read_figures(configs_folder(), line.profile), line.figures);
  const auto panels = distinct_panels(figures);
  check(panels, line.setting);
  if (line.list) {
    print_answer(list(figures, line.setting));
    return 0;
  }
  check_images(panels, line.setting);
  const run::RunFolder folder(line.setting.out);
  const auto work =
      line.setting.shard ? run::FolderWork{line.setting.shard, false} : run::FolderWork{};
  const run::RunLock lock(line.setting.out, kName, work);
  if (!line.setting.shard) remove_half_written(line.setting.out);
  switch (run_panels(panels, line.setting)) {
    case Ending::kInterrupted:
      return 130;
    case Ending::kFailed:
      return 1;
    case Ending::kDone:
      break;
  }
  if (line.setting.shard) return end_shard(line);
  return present(figures, line);
}

}  // namespace

int run(int argc, const char* const* argv) {
  open_standard_streams();
  for (const int ignored : {SIGPIPE, SIGXFSZ}) std::signal(ignored, SIG_IGN);  // errors tell
  try {
    const auto launch = parallel::launched();
    if (launch.size > 1) {
      if (launch.rank > 0) return 2;
      user_error("runs as one process, and was started as {}", launch.size);
    }
    const auto parsed = parse(argc, argv);
    if (parsed.count("help") > 0) {
      print_answer(kHelp);
      return 0;
    }
    if (parsed.count("version") > 0) {
      print_answer(fmt::format("{} {}\n", kName, PCXX_VERSION));
      return 0;
    }
    auto line = read(parsed);
    line.text = fmt::format("{}", fmt::join(argv, argv + argc, " "));
    return reproduce(line);
  } catch (const UserError& error) {
    return fail(error.what(), 2);
  } catch (const std::exception& error) {
    return fail(error.what(), 1);
  }
}

}  // namespace pcxx::reproduce
