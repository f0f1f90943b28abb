#include <gtest/gtest.h>
#include <pcxx/catalog/vocabulary.h>
#include <pcxx/run/command_line.h>
#include <pcxx/run/program.h>

#include <array>
#include <cstdio>
#include <sstream>

#include "support/small_program.h"
#include "support/user_error.h"

namespace pcxx::run {
namespace {

using test::expect_user_error;
using test::parse_command_line;
using test::small_program;

// Oracle of the tests here: the contract in command_line.h, on words chosen by hand.

TEST(CommandLine, ReadsEveryOption) {
  const auto line =
      parse_command_line(small_program(), {"--config", "a b.toml", "--out=runs/x", "--load", "w.pt",
                                           "--print-config", "--quiet", "--version", "--help"});
  EXPECT_EQ(line.config, "a b.toml");
  EXPECT_EQ(line.out, "runs/x");
  EXPECT_EQ(line.load, "w.pt");
  EXPECT_TRUE(line.print_config && line.quiet && line.version && line.help);

  const auto empty = parse_command_line(small_program(), {});
  EXPECT_FALSE(empty.config || empty.out || empty.load);
  EXPECT_FALSE(empty.print_config || empty.quiet || empty.version || empty.help);
  EXPECT_TRUE(empty.assignments.empty());
}

TEST(CommandLine, KeepsAssignmentsInOrderShortFormsIncluded) {
  const auto line = parse_command_line(
      small_program(), {"--set", "learning_rate=[0.1, 1]", "--seed", "3", "--set=width=5", "--data",
                        "my data", "--threads", "2", "--device=cuda:1", "--set", "seeds=[4,5]"});
  const std::vector<std::string> expected{
      "learning_rate=[0.1, 1]", "seeds=[3]",  "width=5", "data=my data", "threads=2",
      "device=cuda:1",          "seeds=[4,5]"};
  EXPECT_EQ(line.assignments, expected);
}

TEST(CommandLine, RefusesWhatIsNotClear) {
  const struct {
    std::vector<std::string> words;
    std::string part;
  } cases[] = {{{"--sed", "3"}, "'sed'"},
               {{"-x"}, "'x'"},
               {{"--quiet", "False"}, "'False'"},
               {{"quick.toml"}, "'quick.toml'"},
               {{"--", "quick.toml"}, "'quick.toml'"},
               {{""}, "''"},
               {{"--config"}, "config"},
               {{"--config="}, "--config"},
               {{"--out", ""}, "--out"},
               {{"--out", "--quiet"}, "--out needs a value, not '--quiet'"},
               {{"--out", "a", "--out=b"}, "--out was given twice"},
               {{"--seed", "1", "--seed", "2"}, "--seed was given twice"},
               {{"--quiet", "--quiet"}, "--quiet was given twice"},
               {{"--quiet=perhaps"}, "perhaps"}};
  for (const auto& [words, part] : cases) {
    expect_user_error([&] { parse_command_line(small_program(), words); }, part);
  }
}

TEST(CommandLine, HasOnlyTheOptionsThatTheProgramCanUse) {
  const Program program{.name = "pcxx-tiny", .summary = "", .schema = catalog::schema({"width"})};
  for (const std::string option : {"--data", "--load", "--seed"}) {
    expect_user_error([&] { parse_command_line(program, {option, "1"}); }, option.substr(2));
    EXPECT_EQ(help_text(program).find(option), std::string::npos);
    EXPECT_NE(help_text(small_program()).find(option), std::string::npos);
  }
}

// The words that bash makes of a line.
std::vector<std::string> split_by_bash(const std::string& line) {
  const auto script = "set -- " + line + "\nprintf '%s\\0' \"$@\"\n";
  ::setenv("PCXX_TEST_SCRIPT", script.c_str(), 1);
  FILE* pipe = ::popen("exec bash -c \"$PCXX_TEST_SCRIPT\"", "r");
  std::vector<std::string> words{""};
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) {
    if (c == 0) {
      words.emplace_back();
    } else {
      words.back() += static_cast<char>(c);
    }
  }
  ::pclose(pipe);
  words.pop_back();
  return words;
}

// Oracle: bash, which must split the text into the words that were typed.
TEST(CommandLine, TextCanBeTypedAgain) {
  const std::vector<std::string> words{"--set",    "learning_rate={from=1,to=2,points=3}",
                                       "--set",    "rule=[bp,pc]",
                                       "--set",    "width=[1,\n2]",
                                       "--out",    "it's $HOME \"here\"; *\\ \u00e9",
                                       "--config", "line\nand 'quote' and \\ and\ttab"};
  const auto line = parse_command_line(small_program(), words);
  EXPECT_EQ(line.text.find('\n'), std::string::npos);
  auto expected = words;
  expected.insert(expected.begin(), "pcxx-small");
  EXPECT_EQ(split_by_bash(line.text), expected);

  EXPECT_EQ(parse_command_line(small_program(), {"--set", "width=20", "--out=runs/a-1"}).text,
            "pcxx-small --set width=20 --out=runs/a-1");
}

TEST(Help, TeachesPurposeExamplesOptionsAndKeys) {
  const auto program = small_program();
  const auto text = help_text(program);
  EXPECT_TRUE(text.starts_with(program.summary));
  EXPECT_NE(text.find("  # two models\n  pcxx-small --set rule=[bp,pc]\n"), std::string::npos);
  for (const std::string option :
       {"config FILE", "set KEY=VALUE", "seed N", "device D", "threads N", "data DIR", "load FILE",
        "out DIR", "print-config", "quiet", "version", "help"}) {
    EXPECT_NE(text.find("\n  --" + option), std::string::npos) << option;
  }
  EXPECT_NE(text.find(program.schema.help()), std::string::npos);

  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100U) << line;
}

}  // namespace
}  // namespace pcxx::run
