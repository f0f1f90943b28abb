#include <fcntl.h>
#include <gtest/gtest.h>
#include <pcxx/core/files.h>
#include <pcxx/run/run_lock.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "support/temporary_folder.h"
#include "support/user_error.h"

namespace pcxx::run {
namespace {

namespace fs = std::filesystem;

using test::expect_user_error;
using test::TemporaryFolder;

FolderWork shard(std::int64_t index, std::int64_t count) {
  return {.jobs = Shard{index, count}, .results = false};
}
const FolderWork kMerge{.jobs = std::nullopt, .results = true};

bool both(const FolderWork& first, const FolderWork& second) {
  const TemporaryFolder folder;
  const RunLock lock(folder.path(), "pcxx-first", first);
  try {
    const RunLock other(folder.path(), "pcxx-second", second);
    EXPECT_EQ(RunLock::holders(folder.path()), 2U);
    return true;
  } catch (const UserError&) {
    return false;
  }
}

// The text of a lock that a child of this process took, and then died by a kill.
fs::path lock_of_a_killed_process(const TemporaryFolder& folder, bool reaped) {
  const pid_t child = ::fork();
  if (child == 0) {
    const RunLock lock(folder.path(), "pcxx-first");
    ::kill(::getpid(), SIGKILL);
  }
  siginfo_t info{};
  ::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | (reaped ? 0 : WNOWAIT));
  return fs::directory_iterator(folder.path())->path();
}

// Oracle of the tests here: the contract in run_lock.h.

TEST(RunLock, OneIsAtWorkAndTheOtherIsToldWho) {
  const TemporaryFolder folder;
  {
    const RunLock lock(folder.path(), "pcxx-first");
    EXPECT_EQ(RunLock::holders(folder.path()), 1U);
    std::array<char, 256> host{};
    ::gethostname(host.data(), host.size());
    expect_user_error([&] { const RunLock other(folder.path(), "pcxx-second"); },
                      fmt::format("'{}' is in use: pcxx-first, process {} on {}, is at work there",
                                  folder.path().string(), ::getpid(), host.data()));
    EXPECT_EQ(folder.size(), 1U);
  }
  EXPECT_EQ(folder.size(), 0U);
  const RunLock again(folder.path(), "pcxx-second");
}

// Oracle: whether two shards have a job in common, counted out; results have one writer.
TEST(RunLock, ShardsWithOtherJobsAndAMergeAreAtWorkTogether) {
  for (std::int64_t n = 1; n <= 4; ++n) {
    for (std::int64_t m = 1; m <= 4; ++m) {
      for (std::int64_t i = 0; i < n; ++i) {
        for (std::int64_t j = 0; j < m; ++j) {
          bool common = false;
          for (std::size_t job = 0; job < 12; ++job) {
            common |= Shard{i, n}.has(job) && Shard{j, m}.has(job);
          }
          EXPECT_EQ(both(shard(i, n), shard(j, m)), !common) << i << n << j << m;
        }
      }
    }
  }
  EXPECT_TRUE(both(shard(1, 2), kMerge));
  EXPECT_TRUE(both(kMerge, shard(0, 1)));
  EXPECT_FALSE(both(kMerge, kMerge));
  EXPECT_FALSE(both(kMerge, {}));
  EXPECT_FALSE(both({}, kMerge));
  EXPECT_FALSE(both(shard(2, 3), {}));
  EXPECT_FALSE(both({}, shard(2, 3)));
}

TEST(RunLock, OfAProcessThatHasEndedIsTakenOver) {
  for (const bool reaped : {true, false}) {
    const TemporaryFolder folder;
    EXPECT_TRUE(fs::is_symlink(lock_of_a_killed_process(folder, reaped)));
    const RunLock lock(folder.path(), "pcxx-second");
    EXPECT_EQ(folder.size(), 1U);
  }
}

// This process, had it begun at another time.
TEST(RunLock, OfAProcessWhoseNumberAnotherHasIsTakenOver) {
  const TemporaryFolder folder;
  const auto link = lock_of_a_killed_process(folder, true);
  auto holder = nlohmann::json::parse(fs::read_symlink(link).string());
  fs::remove(link);
  if (!fs::exists("/proc/self/stat")) GTEST_SKIP() << "no /proc";
  holder["process"] = ::getpid();
  holder["start"] = "1";
  fs::create_symlink(holder.dump(), link);
  const RunLock lock(folder.path(), "pcxx-second");
}

TEST(RunLock, OfAnotherHostOrAnUnknownKindStays) {
  const TemporaryFolder folder;
  const auto link = lock_of_a_killed_process(folder, true);
  auto holder = nlohmann::json::parse(fs::read_symlink(link).string());
  holder["host"] = "elsewhere";
  for (const auto& [text, part] :
       {std::pair(holder.dump(), fmt::format("on elsewhere, is at work there; if it has ended, "
                                             "remove '{}', or wait for 3 minutes",
                                             link.string())),
        std::pair(std::string("[]"), std::string("remove that")),
        std::pair(std::string(R"({"host": 3})"), std::string("remove that"))}) {
    fs::remove(link);
    fs::create_symlink(text, link);
    expect_user_error([&] { const RunLock lock(folder.path(), "pcxx-second"); }, part);
    EXPECT_TRUE(fs::is_symlink(link));
  }
}

TEST(RunLock, OfAnotherHostThatGivesNoSignIsTakenOver) {
  const TemporaryFolder folder;
  const auto link = lock_of_a_killed_process(folder, true);
  auto holder = nlohmann::json::parse(fs::read_symlink(link).string());
  holder["host"] = "elsewhere";
  fs::remove(link);
  fs::create_symlink(holder.dump(), link);
  const auto age = [&](std::time_t seconds) {
    const timespec then{std::time(nullptr) - seconds, 0};
    const std::array<timespec, 2> times{then, then};
    ::utimensat(AT_FDCWD, link.c_str(), times.data(), AT_SYMLINK_NOFOLLOW);
  };
  age(170);
  expect_user_error([&] { const RunLock lock(folder.path(), "pcxx-second"); }, "elsewhere");
  age(190);
  const RunLock lock(folder.path(), "pcxx-second");
}

TEST(RunLock, AFolderThatIsNotThereIsNamed) {
  const TemporaryFolder folder;
  expect_user_error([&] { const RunLock lock(folder / "nowhere", "pcxx-first"); }, "nowhere");
}

}  // namespace
}  // namespace pcxx::run
