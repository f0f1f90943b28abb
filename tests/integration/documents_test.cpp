// The documents: every block of code, every command and every link of every Markdown file.
//
// A document has a folder of its own, in which its blocks run one after the other. It looks like
// the top of the repository after a build: configs/, plots/ and so on, build/release/bin (which is
// on the PATH too), and data/ with what PCXX_DATA_DIR has.
//
//   ```sh      Runs as a script; so does an indented block. A comment before the block may make its
//              commands short, <!-- tested with: --set steps=2 --> is appended to every program of
//              ours, or excuse it, <!-- not run: it downloads -->. Then our programs are still
//              asked for --print-config (--list of pcxx-reproduce), and the files, options and
//              presets that the block names must be there. Test programs only list their tests,
//              programs draw nothing, and plots/ runs where there is matplotlib. What installs,
//              downloads or builds must be excused.
//   ```cpp     With main: built (cmake/DocumentExamples.cmake) and run. Without: its lines stand in
//              a row in a source file, of the tests at best.
//   ```cmake   Its lines stand in a row in a CMakeLists.txt or *.cmake.
//   ```toml    Begins with "# NAME.toml"; is written to that file, which a later command must read.
//   ```python  Runs where everything it imports is installed, pcxx from this build; must compile
//              elsewhere.
//   ```output  Lines that the block before it has printed, in this order; numbers to 5 %, or both
//              below 1e-12. "..." stands for lines left out, and in a line for one word.
//   ``` and ```text are not looked at. Other languages are faults.
//
// In running text, code that begins with a program and an option is asked for --print-config, and
// code that begins with a path of the repository must name one. Links to files and to headings must
// lead somewhere. results/report.md, which pcxx-reproduce writes, is read for links only.

#include <gtest/gtest.h>
#include <pcxx/core/files.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <set>
#include <sstream>

#include "support/environment.h"
#include "support/markdown.h"
#include "support/process.h"
#include "support/temporary_folder.h"

namespace pcxx {
namespace {

namespace fs = std::filesystem;

using test::Block;
using test::Markdown;
using Faults = std::vector<std::string>;
using Words = std::vector<std::string>;

const fs::path kSource = PCXX_SOURCE_DIR;
const fs::path kPrograms = PCXX_BINARY_DIR "/bin";
const std::string kHasMatplotlib = "python3 -c 'import numpy, matplotlib'";
const std::string kBin = "build/release/bin/";

bool is_ours(const std::string& word) {
  return word.starts_with("pcxx-");
}

std::string without_folder(const std::string& word) {
  return word.starts_with(kBin) ? word.substr(kBin.size()) : word;
}

Words words_of(const std::string& line) {
  std::istringstream stream(line);
  Words words;
  for (std::string word; stream >> word;) {
    std::erase_if(word, [](char c) { return c == '\'' || c == '"'; });
    words.push_back(word);
  }
  return words;
}

// Commands as one line each, without comments.
std::vector<std::string> commands_of(const std::string& script) {
  std::vector<std::string> commands;
  std::string command;
  for (const auto& line : test::lines_of(script)) {
    auto part = test::trimmed(line.substr(0, line.starts_with("#") ? 0 : line.find(" #")));
    const bool goes_on = part.ends_with('\\');
    if (goes_on) part.pop_back();
    command += part + " ";
    if (goes_on) continue;
    if (command = test::trimmed(command); !command.empty()) commands.push_back(command);
    command.clear();
  }
  return commands;
}

// The first program of ours in a command; "" if there is none.
std::string program_in(const std::string& command) {
  for (const auto& word : words_of(command)) {
    if (is_ours(without_folder(word))) return without_folder(word);
  }
  return "";
}

bool is_test_program(const std::string& command) {
  const auto words = words_of(command);
  return std::any_of(words.begin(), words.end(),
                     [](const std::string& word) { return word.ends_with("_test"); });
}

// Commands that install, download or build are never run by a test.
bool sets_up(const std::string& command) {
  const std::set<std::string> programs{"apt-get", "cmake", "ctest",  "docker", "git",  "make",
                                       "ninja",   "pip",   "sbatch", "sudo",   "wget", "curl"};
  const auto first = words_of(command).front();
  return programs.contains(first) || first.starts_with("scripts/") || first == "data/get_data";
}

std::string all_of(const fs::path& folder, const std::set<std::string>& extensions) {
  std::string text = "\n";
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const auto name = entry.path().filename().string();
    if (!extensions.contains(entry.path().extension()) && !extensions.contains(name)) continue;
    for (const auto& line : test::lines_of(read_file(entry.path()))) {
      if (const auto bare = test::trimmed(line); !bare.empty()) text += bare + "\n";
    }
  }
  return text;
}

// Whether the lines stand in a row in some file, whatever their indentation.
bool stands_in_sources(const std::string& block, const std::set<std::string>& extensions) {
  static std::map<std::set<std::string>, std::string> sources;
  auto& text = sources[extensions];
  if (text.empty()) {
    for (const char* folder : {"tests", "lib", "apps", "benchmarks", "cmake", "examples"}) {
      text += all_of(kSource / folder, extensions);
    }
  }
  std::string lines = "\n";
  for (const auto& line : test::lines_of(block)) {
    if (const auto bare = test::trimmed(line); !bare.empty()) lines += bare + "\n";
  }
  return text.find(lines) != std::string::npos;
}

// Whether the repository, or a build of it, has what a path names. True for a path elsewhere, for
// one that a run makes, for a benchmark or a program of libFuzzer, and for one with a gap to fill:
// plots/<program>.py.
bool names_something(const std::string& word) {
  const auto slash = word.find('/');
  if (slash == std::string::npos || slash == 0 ||
      word.find_first_of("<>*${}=:,") != std::string::npos)
    return true;
  if (word.starts_with(kBin)) {
    const auto name = word.substr(kBin.size());
    return name.empty() || fs::exists(kPrograms / name) ||
           fs::exists(kSource / "benchmarks" / (name + ".cpp")) || name == "fuzz_formats";
  }
  const auto first = word.substr(0, slash);
  const std::set<std::string> made{"build", "runs", "results", ".venv"};
  if (made.contains(first) || !fs::exists(kSource / first)) return true;
  return first == "data" ? word != "data/get_data" || fs::exists(kSource / word)
                         : fs::exists(kSource / word);
}

// A script of plots/ only starts the module of its name.
std::string script_text(const fs::path& script) {
  const auto module = kSource / script.parent_path() / "pcxx_plots" / script.filename();
  return read_file(fs::exists(module) ? module : kSource / script);
}

// Of a command that is not run, or of code in running text.
Faults faults_of_words(const std::string& command) {
  Faults faults;
  std::string script;
  const auto words = words_of(command);
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto& word = words[i];
    const auto fault = [&](const std::string& what) { faults.push_back(command + ": " + what); };
    if (!names_something(word)) fault("there is no " + word);
    if (word.find('/') != std::string::npos && !word.starts_with(kBin) &&
        !word.ends_with(".toml") && fs::is_regular_file(kSource / word)) {
      script = script_text(word);
    }
    if (word.starts_with("-DPCXX_") &&
        read_file(kSource / "cmake/Options.cmake").find(word.substr(2, word.find('=') - 2)) ==
            std::string::npos) {
      fault("there is no option " + word);
    }
    if (word == "--preset" && i + 1 < words.size() &&
        read_file(kSource / "CMakePresets.json").find("\"" + words[i + 1] + "\"") ==
            std::string::npos) {
      fault("there is no preset " + words[i + 1]);
    }
    if (word.starts_with("--") && !script.empty() && script.find(word) == std::string::npos) {
      fault("the script has no option " + word);
    }
  }
  return faults;
}

// "8.2e-05," as a number, what follows it, and one unit of its last digit; NaN where there is no
// number.
struct Number {
  double value;
  std::string after;
  double unit;
};

Number as_number(const std::string& word) {
  char* end = nullptr;
  const double value = std::strtod(word.c_str(), &end);
  if (end == word.c_str()) return {std::nan(""), word, 0};
  const std::string digits(word.c_str(), static_cast<const char*>(end));
  const auto exponent = std::min(digits.find_first_of("eE"), digits.size());
  const auto point = std::min(digits.find('.'), exponent);
  double power = point == exponent ? 0 : -static_cast<double>(exponent - point - 1);
  if (exponent < digits.size()) power += std::strtod(digits.c_str() + exponent + 1, nullptr);
  return {value, end, std::pow(10, power)};
}

// Processors round differently, and training makes more of it: numbers may differ by 5 %, or in
// their last digit where there are two. "..." as the first is any word.
bool same_word(const std::string& a, const std::string& b) {
  if (a == b || a == "...") return true;
  const auto x = as_number(a);
  const auto y = as_number(b);
  if (x.after != y.after || std::isnan(x.value) || std::isnan(y.value)) return false;
  const double larger = std::max(std::abs(x.value), std::abs(y.value));
  double allowed = 0.05 * larger;
  for (const double unit : {x.unit, y.unit}) {
    if (larger > 9.9 * unit) allowed = std::max(allowed, 1.01 * unit);
  }
  return larger < 1e-12 || std::abs(x.value - y.value) <= allowed;
}

// Commas separate words as spaces do.
bool same_line(std::string a, std::string b) {
  for (auto* line : {&a, &b}) std::replace(line->begin(), line->end(), ',', ' ');
  const auto left = words_of(a);
  const auto right = words_of(b);
  return std::equal(left.begin(), left.end(), right.begin(), right.end(), same_word);
}

// The first line of `expected` that `printed` has not, after those before it; "" if it has all.
std::string missing_line(const std::string& expected, const std::string& printed) {
  const auto lines = test::lines_of(printed);
  auto at = lines.begin();
  for (const auto& line : test::lines_of(expected)) {
    if (test::trimmed(line).empty() || test::trimmed(line) == "...") continue;
    at = std::find_if(at, lines.end(), [&](const auto& other) { return same_line(line, other); });
    if (at == lines.end()) return line;
    ++at;
  }
  return "";
}

// "docs/theory.md" and 1 as docs_theory_example2, the name of its second program.
std::string example_name(const fs::path& file, int index) {
  auto name = (file.parent_path() / file.stem()).string();
  for (auto& c : name) {
    const auto letter = static_cast<unsigned char>(c);
    c = std::isalnum(letter) != 0 ? static_cast<char>(std::tolower(letter)) : '_';
  }
  return name + "_example" + (index == 0 ? "" : std::to_string(index + 1));
}

std::string python() {
  for (const std::string name : {PCXX_SOURCE_DIR "/.venv/bin/python", "python3"}) {
    if (name.front() == '/' && !fs::exists(name)) continue;
    if (test::Process({name, "-c", ""}).wait() == 0) return name;
  }
  return "";
}

constexpr const char* kRunPython = R"(
import ast, importlib.util, sys
text = open(sys.argv[1]).read()
names = set()
for node in ast.walk(ast.parse(text)):
    if isinstance(node, ast.Import):
        names.update(alias.name.split('.')[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        names.add(node.module.split('.')[0])
def there(name):  # the package of this build, which may have been left out
    try:
        return importlib.util.find_spec('pcxx._core' if name == 'pcxx' else name)
    except ImportError:
        return None
if all(map(there, names)):
    exec(compile(text, sys.argv[1], 'exec'), {'__name__': '__main__'})
)";

// Runs the blocks of one document in their order.
class Runner {
 public:
  explicit Runner(fs::path file) : file_(std::move(file)) {
    for (const auto& entry : fs::directory_iterator(kSource)) {
      const auto name = entry.path().filename().string();
      const bool hidden = name.starts_with('.') && name != ".venv";
      if (hidden || name.starts_with("build") || name == "data" || name == "runs") {
        continue;
      }
      fs::create_symlink(entry.path(), folder_ / name);
    }
    fs::create_directories(folder_ / "build/release");
    fs::create_directory_symlink(kPrograms, folder_ / "build/release/bin");
    fs::create_directory(folder_ / "data");
    link_entries(kSource / "data");
    if (const char* data = std::getenv("PCXX_DATA_DIR")) link_entries(data);
  }

  Faults run(const Markdown& document) {
    for (std::size_t i = 0; i < document.blocks.size(); ++i) {
      block_ = &document.blocks[i];
      rest_ = {document.blocks.begin() + static_cast<std::ptrdiff_t>(i), document.blocks.end()};
      run_block();
    }
    return faults_;
  }

  // Every program with its options, and paths.
  Faults check_prose(const std::string& prose) {
    const Block none;
    block_ = &none;
    for (const auto& code : test::inline_code(prose)) {
      if (is_ours(code) && code.find(" --") != std::string::npos) {
        validate(code);
      } else if (is_ours(code)) {
        if (!fs::exists(kPrograms / words_of(code).front())) fault("there is no " + code);
      } else {
        for (const auto& found : faults_of_words(code)) fault(found);
      }
    }
    return faults_;
  }

 private:
  void link_entries(const fs::path& from) {
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(fs::absolute(from), none)) {
      if (fs::exists(folder_ / "data" / entry.path().filename())) continue;
      fs::create_symlink(entry.path(), folder_ / "data" / entry.path().filename());
    }
  }

  void fault(const std::string& text) {
    faults_.push_back(file_.string() + ":" + std::to_string(block_->line) + ": " + text);
  }

  void run_block() {
    const auto& language = block_->language;
    if (language == "sh" && !block_->not_run.empty()) {
      check_script();
    } else if (language == "sh") {
      run_script();
    } else if (language == "cpp") {
      check_cpp();
    } else if (language == "cmake") {
      if (!stands_in_sources(block_->text, {".cmake", "CMakeLists.txt"})) {
        fault("stands in no CMake file");
      }
    } else if (language == "toml") {
      write_toml();
    } else if (language == "python") {
      run_python();
    } else if (language == "output") {
      const auto missing = missing_line(block_->text, printed_);
      if (!missing.empty()) fault("was not printed: " + missing + "\nbut:\n" + printed_);
    } else if (!language.empty() && language != "text") {
      fault("there is no rule for the language '" + language + "'");
    }
  }

  // Runs a command line of bash, and keeps what it has printed.
  void run_bash(const std::string& script) {
    const test::CurrentFolder current(folder_.path());
    const char* path = std::getenv("PATH");
    const test::Variable programs("PATH", kPrograms.string() + ":" + PCXX_SOURCE_DIR +
                                              "/.venv/bin:" + (path == nullptr ? "" : path));
    const test::Variable draws_nothing("PCXX_PYTHON", "true");
    const test::Process process({"bash", "-euo", "pipefail", "-c", script});
    const int code = process.wait();
    printed_ = process.out() + process.errors();
    if (code != 0) fault(script + "\nended with " + std::to_string(code) + ":\n" + printed_);
  }

  void run_script() {
    std::string script;
    for (auto command : commands_of(block_->text)) {
      if (sets_up(command)) return fault(command + " sets up or builds: <!-- not run: ... -->");
      if (!program_in(command).empty()) command += " " + block_->tested_with;
      if (is_test_program(command)) command += " --gtest_list_tests | grep -c '^  '";
      if (command.starts_with("plots/")) command = "! " + kHasMatplotlib + " || " + command;
      script += command + "\n";
    }
    run_bash(script);
    if (!block_->tested_with.empty()) printed_ = "nothing: the commands were made short";
  }

  // Asks a program of ours whether it understands a command. One that is given --data reads images,
  // and pcxx-reproduce looks for them at once: it must not need them here.
  void validate(const std::string& command) {
    const auto program = program_in(command);
    const auto begin = command.find(program);
    auto asked = command.substr(begin, command.find_first_of("|;&>", begin) - begin);
    asked += program == "pcxx-reproduce" ? " --list" : " --print-config";
    if (asked.find("--data") != std::string::npos) asked += " --set dataset=digits";
    run_bash(asked);
  }

  void check_script() {
    for (const auto& command : commands_of(block_->text)) {
      if (!program_in(command).empty()) validate(command);
      for (const auto& found : faults_of_words(command)) fault(found);
    }
    printed_ = "nothing: the block was not run";
  }

  void check_cpp() {
    if (block_->text.find("int main") == std::string::npos) {
      if (!stands_in_sources(block_->text, {".h", ".cpp"})) fault("stands in no source file");
      return;
    }
    run_bash(example_name(file_, examples_++));
  }

  void write_toml() {
    const auto words = words_of(block_->text.substr(0, block_->text.find('\n')));
    if (words.size() < 2 || words[0] != "#") return fault("has no name: # NAME.toml");
    auto name = words[1];
    std::erase(name, ',');
    write_file(folder_ / name, block_->text);
    const bool read = std::any_of(rest_.begin(), rest_.end(), [&](const Block& later) {
      return later.language == "sh" && later.text.find("--config " + name) != std::string::npos;
    });
    if (!read) fault("no command reads " + name);
  }

  void run_python() {
    static const auto interpreter = python();
    if (interpreter.empty()) return;
    write_file(folder_ / "block.py", block_->text);
    write_file(folder_ / "run.py", kRunPython);
    run_bash("PYTHONPATH='" PCXX_BINARY_DIR "/python':plots:python '" + interpreter +
             "' run.py block.py");
  }

  fs::path file_;
  test::TemporaryFolder folder_;
  const Block* block_ = nullptr;
  std::vector<Block> rest_;
  std::string printed_;
  int examples_ = 0;
  Faults faults_;
};

// Links of a document that lead nowhere.
Faults dead_links(const fs::path& file, const Markdown& document) {
  Faults faults;
  for (const auto& link : test::links(document.prose)) {
    if (link.find("://") != std::string::npos) continue;
    const auto hash = link.find('#');
    const auto name = link.substr(0, hash);
    const auto target = name.empty() ? file : file.parent_path() / name;
    if (!fs::exists(target)) {
      faults.push_back(file.string() + ": there is no " + link);
    } else if (hash != std::string::npos) {
      const auto headings = name.empty() ? document.headings : test::read_markdown(target).headings;
      if (std::find(headings.begin(), headings.end(), link.substr(hash + 1)) == headings.end()) {
        faults.push_back(file.string() + ": there is no heading " + link);
      }
    }
  }
  return faults;
}

// Relative to the repository's top.
std::vector<fs::path> documents() {
  std::vector<fs::path> files;
  auto entry = fs::recursive_directory_iterator(kSource);
  for (; entry != fs::end(entry); ++entry) {
    const auto name = entry->path().filename().string();
    if (entry->is_directory() && (name.starts_with('.') || name.starts_with("build") ||
                                  name == "runs" || name == "panels" || entry->is_symlink())) {
      entry.disable_recursion_pending();
    }
    if (entry->is_regular_file() && entry->path().extension() == ".md") {
      files.push_back(fs::relative(entry->path(), kSource));
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

class Document : public ::testing::TestWithParam<fs::path> {
 protected:
  Markdown read() const { return test::read_markdown(kSource / GetParam()); }
  bool is_generated() const { return GetParam() == "results/report.md"; }
};

// Contract: what a document shows works as it stands there, or made short.
TEST_P(Document, ItsBlocksRun) {
  if (is_generated()) return;
  for (const auto& fault : Runner(GetParam()).run(read())) ADD_FAILURE() << fault;
}

// Contract: programs take the options, and files are there.
TEST_P(Document, ItsTextNamesWhatIsThere) {
  if (is_generated()) return;
  for (const auto& fault : Runner(GetParam()).check_prose(read().prose)) ADD_FAILURE() << fault;
}

// Contract: no dead link.
TEST_P(Document, ItsLinksLeadSomewhere) {
  for (const auto& fault : dead_links(kSource / GetParam(), read())) ADD_FAILURE() << fault;
}

std::string test_name(const ::testing::TestParamInfo<fs::path>& document) {
  auto name = document.param.string();
  for (auto& c : name) c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(Every, Document, ::testing::ValuesIn(documents()), test_name);

// Oracle: GitHub's Markdown, by hand.
TEST(Documents, BlocksAreFound) {
  const auto document = test::MarkdownReader(
                            "# A *title*, twice\n\nText with `code\nand more`.\n\n    first --a\n"
                            "\n    second\n\n- item\n\n    - item in an item\n\n"
                            "  <!-- not run: it waits -->\n\n      third\n\n"
                            "<!-- tested with:\n  --set a=1 -->\n```sh\nfourth\n```\n"
                            "## A title, twice\n[x](a.md#b) `[y](z)` ![p](q.png)\n")
                            .read();
  ASSERT_EQ(document.blocks.size(), 3U);
  EXPECT_EQ(document.blocks[0].text, "first --a\n\nsecond\n");
  EXPECT_EQ(document.blocks[0].line, 6U);
  EXPECT_EQ(document.blocks[1].text, "third\n");
  EXPECT_EQ(document.blocks[1].not_run, "it waits");
  EXPECT_EQ(document.blocks[2].text, "fourth\n");
  EXPECT_EQ(document.blocks[2].tested_with, "--set a=1");
  EXPECT_EQ(document.headings, (Words{"a-title-twice", "a-title-twice-1"}));
  EXPECT_EQ(test::links(document.prose), (Words{"a.md#b", "q.png"}));
  EXPECT_EQ(test::inline_code(document.prose), (Words{"code and more", "[y](z)"}));
}

// Contract: each rule finds what breaks it.
TEST(Documents, FaultsAreFound) {
  const std::pair<std::string, std::string> faulty[] = {
      {"```sh\nfalse\n```\n", "ended with 1"},
      {"```sh\npcxx-trajectory --wdith 3\n```\n", "ended with 2"},
      {"```sh\nscripts/setup.sh --help\n```\n", "not run: ..."},
      {"<!-- not run: why not -->\n```sh\npcxx-trajectory --set wdith=3\n```\n", "ended with 2"},
      {"<!-- not run: why not -->\n```sh\nscripts/test.sh --nonsense\n```\n", "no option"},
      {"<!-- not run: why not -->\n```sh\ndocker build -f docker/None .\n```\n", "docker/None"},
      {"<!-- not run: why not -->\n```sh\ncmake --preset none -DPCXX_NONE=ON\n```\n",
       "-DPCXX_NONE"},
      {"<!-- not run: why not -->\n```sh\ncmake --preset none\n```\n", "preset none"},
      {"```cpp\nint nowhere = 0;\n```\n", "no source file"},
      {"```cmake\nnowhere()\n```\n", "no CMake file"},
      {"```toml\nrule = 'pc'\n```\n", "no name"},
      {"```toml\n# a.toml\nrule = 'pc'\n```\n", "no command reads"},
      {"```ruby\nputs 1\n```\n", "no rule"},
      {"```sh\necho loss 0.50\n```\n```output\nloss 0.53\n```\n", "loss 0.53"}};
  for (const auto& [text, part] : faulty) {
    const auto faults = Runner("made_up.md").run(test::MarkdownReader(text).read());
    ASSERT_FALSE(faults.empty()) << text;
    EXPECT_NE(faults.front().find(part) == std::string::npos ? faults.back().find(part) : 0,
              std::string::npos)
        << faults.front();
  }
  for (const std::string text :
       {"`pcxx-none`", "`pcxx-trajectory --wdith 3`", "`configs/none.toml`"}) {
    EXPECT_EQ(Runner("made_up.md").check_prose(text).size(), 1U) << text;
  }
  const auto links = test::MarkdownReader("[a](none.md) [b](README.md#none) [c](#none)").read();
  EXPECT_EQ(dead_links(kSource / "made_up.md", links).size(), 3U);
}

// Contract: what is right has no faults.
TEST(Documents, OutputIsComparedByItsNumbers) {
  const auto faults =
      Runner("made_up.md")
          .run(test::MarkdownReader("```sh\necho head; echo 'a  1.01e-3,'; echo b 2e-31\n```\n"
                                    "```output\na 1e-3,\n...\nb 8e-30\n```\n")
                   .read());
  EXPECT_EQ(faults, Faults{});
  EXPECT_EQ(missing_line("b\na", "a\nb"), "a");
  EXPECT_TRUE(same_line("28/30 2e-05 35.4", "29/30 1.9e-05 35.3"));
  EXPECT_FALSE(same_line("3 passes", "4 passes"));
  EXPECT_FALSE(same_line("28/30", "31/30"));
  EXPECT_TRUE(same_line("a ... 3", "a 50 3"));
  EXPECT_FALSE(same_line("a ... 3", "a 50 4"));
  EXPECT_FALSE(same_line("a ...", "a"));
  EXPECT_FALSE(same_line("28/30", "28/31"));
}

}  // namespace
}  // namespace pcxx
