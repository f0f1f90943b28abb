// pcxx-reproduce, as a user starts it.

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "support/environment.h"
#include "support/process.h"

namespace pcxx {
namespace {

namespace fs = std::filesystem;

struct Outcome {
  int code;
  std::string out;
  std::string errors;
};

Outcome run(std::vector<std::string> command) {
  const test::Process process(std::move(command));
  const int code = process.wait();
  return {code, process.out(), process.errors()};
}

Outcome reproduce(const std::vector<std::string>& words) {
  std::vector<std::string> command{PCXX_BINARY_DIR "/bin/pcxx-reproduce"};
  command.insert(command.end(), words.begin(), words.end());
  return run(command);
}

std::string browser() {
  for (const std::string name : {"chromium", "chromium-browser", "google-chrome"}) {
    if (run({"sh", "-c", "command -v " + name}).code == 0) return name;
  }
  return "";
}

bool draws() {
  for (const std::string name : {PCXX_SOURCE_DIR "/.venv/bin/python", "python3"}) {
    if (name.front() == '/' && !fs::exists(name)) continue;
    if (run({name, "-c", "import numpy, matplotlib"}).code == 0) return true;
  }
  return false;
}

// Every figure with tiny networks, a few steps and drawn digits.
std::vector<std::string> tiny(const fs::path& out, const std::string& figure = "") {
  std::vector<std::string> words{"--profile", "quick", "--out", out.string()};
  if (figure.empty()) words.emplace_back("--all");
  if (!figure.empty()) words.insert(words.end(), {"--figure", figure});
  for (const char* assignment : {"seeds=2", "steps=6", "test_every=3", "test_samples=60",
                                 "samples=300", "dataset=digits", "inference_steps=10"}) {
    words.insert(words.end(), {"--set", assignment});
  }
  return words;
}

// The pictures that a browser shows, those that it cannot, and what it complains of.
std::string as_browsers_see(const std::string& program, const fs::path& report,
                            const fs::path& page) {
  write_file(page, read_file(report) +
                       "<script>onload=()=>{const all=[...document.images];"
                       "document.title=`shown ${all.filter(i=>i.naturalWidth>99).length} of "
                       "${all.length}`}</script>");
  const auto outcome =
      run({program, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
           "--virtual-time-budget=5000", "--dump-dom", "file://" + fs::absolute(page).string()});
  EXPECT_EQ(outcome.code, 0) << outcome.errors;
  EXPECT_EQ(outcome.errors.find("CONSOLE"), std::string::npos) << outcome.errors;
  const auto start = outcome.out.find("<title>") + 7;
  return outcome.out.substr(start, outcome.out.find("</title>") - start);
}

// Contracts: every figure is drawn, both reports show all of them, a second call runs nothing, a
// changed setting only what it concerns; and a browser shows the report without an error.
TEST(Reproduce, TheWholePaper) {
  if (!draws()) GTEST_SKIP() << "no Python with numpy and matplotlib";
  const test::TemporaryFolder folder;
  const auto out = folder / "paper";
  const auto first = reproduce(tiny(out));
  ASSERT_EQ(first.code, 0) << first.errors << first.out;

  const auto description = nlohmann::json::parse(read_file(out / "paper.json"));
  const auto html = read_file(out / "report.html");
  const auto markdown = read_file(out / "report.md");
  for (const auto& figure : description["figures"]) {
    const auto name = "figure" + figure["id"].get<std::string>();
    EXPECT_GT(fs::file_size(out / "figures" / (name + ".png")), 10'000U) << name;
    EXPECT_GT(fs::file_size(out / "figures" / (name + ".pdf")), 3'000U) << name;
    EXPECT_NE(markdown.find("(figures/" + name + ".png)"), std::string::npos) << name;
  }
  const std::string ours = "figures/figure2-ours.png";
  EXPECT_GT(fs::file_size(out / ours), 10'000U);
  EXPECT_NE(markdown.find("(" + ours + ")"), std::string::npos);
  EXPECT_EQ(html.find(" is not there: "), std::string::npos);
  EXPECT_EQ(html.find("http://"), std::string::npos);
  const auto verdicts = nlohmann::json::parse(read_file(out / "verdicts.json"));
  for (char claim = 'a'; claim <= 't'; ++claim) {
    const bool judged = std::any_of(verdicts.begin(), verdicts.end(), [&](const auto& verdict) {
      return verdict["claim"] == std::string(1, claim);
    });
    EXPECT_TRUE(judged) << claim;
  }
  EXPECT_GT(fs::file_size(out / "summary.csv"), 10'000U);

  const auto second = reproduce(tiny(out, "9"));
  ASSERT_EQ(second.code, 0) << second.errors;
  EXPECT_EQ(second.out.find(" s  "), std::string::npos) << second.out;
  EXPECT_EQ(nlohmann::json::parse(read_file(out / "paper.json")), description);
  auto changed = tiny(out, "9");
  changed.insert(changed.end(), {"--set", "inference_steps=9"});
  const auto third = reproduce(changed);
  ASSERT_EQ(third.code, 0) << third.errors;
  EXPECT_TRUE(third.out.starts_with("3D ")) << third.out;

  const auto program = browser();
  if (program.empty()) GTEST_SKIP() << "no Chromium to open the report with";
  const auto pictures =
      std::count_if(fs::directory_iterator(out / "figures"), fs::directory_iterator(),
                    [](const auto& entry) { return entry.path().extension() == ".png"; });
  const auto count = std::to_string(pictures);
  EXPECT_EQ(as_browsers_see(program, out / "report.html", folder / "page.html"),
            "shown " + count + " of " + count);
}

// Oracle: the run of one process, byte for byte. 1B is no list of jobs, 3D and 4B are.
TEST(Reproduce, ShardsComeTogether) {
  const test::TemporaryFolder folder;
  const test::Variable python("PCXX_PYTHON", "/nonexistent");
  const auto run_figures = [&](const std::string& name, const std::vector<std::string>& more) {
    auto words = tiny(folder / name, "1B,3D,4B");
    words.insert(words.end(), more.begin(), more.end());
    return reproduce(words);
  };
  run_figures("alone", {});
  for (const std::string shard : {"1/2", "0/2"}) {
    const auto outcome = run_figures("shared", {"--shard", shard});
    EXPECT_EQ(outcome.code, 0) << outcome.errors;
    EXPECT_NE(outcome.out.find("shard " + shard + " is done"), std::string::npos) << outcome.out;
    EXPECT_FALSE(fs::exists(folder / "shared" / "report.html"));
  }
  run_figures("shared", {});
  EXPECT_TRUE(fs::exists(folder / "shared" / "report.html"));
  std::size_t panels = 0;
  for (const auto& panel : fs::directory_iterator(folder / "alone" / "panels")) {
    const auto there = folder / "shared" / "panels" / panel.path().filename() / "metrics.csv";
    EXPECT_TRUE(read_file(panel.path() / "metrics.csv") == read_file(there)) << panel.path();
    EXPECT_FALSE(fs::exists(there.parent_path() / "parts"));
    ++panels;
  }
  EXPECT_GE(panels, 2U);
}

// Contract: one sentence, exit code 2, and nothing left behind.
TEST(Reproduce, BadInputIsNamed) {
  const test::TemporaryFolder folder;
  const auto out = (folder / "out").string();
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases{
      {{}, "either --all or --figure"},
      {{"--all", "--figure", "2"}, "either --all or --figure"},
      {{"--figure", "2Z"}, "'2Z'"},
      {{"--figure", "2", "--profile", "fast"}, "fast"},
      {{"--figure", "2A", "--set", "wdith=3"}, "wdith"},
      {{"--figure", "2A", "--set", "width=-3"}, "width"},
      {{"--figure", "4D", "--data", "/nowhere"}, "needs mnist"},
      {{"--figure", "2A", "False"}, "'False'"},
      {{"--fgure", "2A"}, "fgure"},
      {{"--figure", "2A", "--shard", "2/2"}, "2/2"},
  };
  for (auto [words, part] : cases) {
    SCOPED_TRACE(part);
    words.insert(words.end(), {"--out", out});
    const auto outcome = reproduce(words);
    EXPECT_EQ(outcome.code, 2) << outcome.errors;
    EXPECT_NE(outcome.errors.find(part), std::string::npos) << outcome.errors;
    EXPECT_EQ(outcome.errors.find('\n'), outcome.errors.size() - 1) << outcome.errors;
    EXPECT_FALSE(fs::exists(out));
  }
}

}  // namespace
}  // namespace pcxx
