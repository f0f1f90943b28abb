// Programs whose standard streams are closed or full, as a shell starts them.

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <pcxx/core/files.h>

#include <filesystem>
#include <string>

#include "support/environment.h"
#include "support/process.h"
#include "support/temporary_folder.h"

namespace pcxx {
namespace {

namespace fs = std::filesystem;

const std::string kBin = PCXX_BINARY_DIR "/bin/";

int shell(const std::string& command) {
  return test::Process({"sh", "-c", "exec " + command}).wait();
}

class Streams : public ::testing::Test {
 protected:
  test::TemporaryFolder folder_;
  test::CurrentFolder current_{folder_.path()};
  test::Variable python_{"PCXX_PYTHON", "/nonexistent"};
};

// Oracle: the same run with its streams open.
TEST_F(Streams, WhatIsPrintedIsInNoFile) {
  const auto run = kBin +
                   "pcxx-regression --threads 1 --set steps=3 --set seeds=1 --set width=4 "
                   "--set learning_rate=0.1 --out ";
  ASSERT_EQ(shell(run + "whole"), 0);
  const auto expected = read_file("whole/metrics.csv");
  for (const std::string closed : {">&-", "2>&-", "<&-", "<&- >&- 2>&-"}) {
    EXPECT_EQ(shell(run + "run " + closed), 0) << closed;
    EXPECT_EQ(read_file("run/metrics.csv"), expected) << closed;
    fs::remove_all("run");
  }
}

// Contract: the exit code says it where nothing else can.
TEST_F(Streams, BadInputIsBadInputWithoutThem) {
  for (const std::string program : {"pcxx-regression", "pcxx-reproduce"}) {
    EXPECT_EQ(shell(kBin + program + " --bogus >&- 2>&-"), 2) << program;
    if (fs::exists("/dev/full")) {
      EXPECT_EQ(shell(kBin + program + " --bogus > /dev/full 2> /dev/full"), 2) << program;
    }
  }
}

// Contract: an answer that nobody gets is a failure.
TEST_F(Streams, AnswersThatCannotBeWrittenAreFailures) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  for (const std::string question :
       {"pcxx-regression --help", "pcxx-regression --version", "pcxx-regression --print-config",
        "pcxx-reproduce --help", "pcxx-reproduce --version", "pcxx-reproduce --list"}) {
    EXPECT_EQ(shell(kBin + question + " > /dev/full"), 1) << question;
    EXPECT_EQ(shell(kBin + question + " > /dev/null"), 0) << question;
  }
  EXPECT_EQ(shell(kBin + "pcxx-trajectory --set steps=2 --out a > /dev/full"), 0)
      << "the results are in their files";
}

}  // namespace
}  // namespace pcxx
