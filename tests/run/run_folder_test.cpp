#include <c10/util/Exception.h>
#include <gtest/gtest.h>
#include <pcxx/run/run_folder.h>
#include <unistd.h>

#include <filesystem>
#include <set>

#include "support/environment.h"
#include "support/file_error.h"
#include "support/temporary_folder.h"
#include "support/user_error.h"

namespace pcxx::run {
namespace {

namespace fs = std::filesystem;

using test::expect_user_error;
using test::TemporaryFolder;

using Names = std::set<std::string>;

Names names_in(const fs::path& folder) {
  Names names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename());
  return names;
}

// Oracle of the tests here: the contract in run_folder.h.

TEST(RunFolder, FilesAppearTogetherAtTheCommit) {
  const TemporaryFolder temporary;
  RunFolder folder(temporary / "a/b");
  folder.write("config.toml", "width = 1\n");
  folder.file("metrics.csv").stream() << "a,b\n";
  folder.file("metrics.csv").stream() << "1,2\n";
  write_file(folder.file("weights.pt").temporary(), "by a writer of its own");
  for (const auto& name : names_in(folder.path())) EXPECT_TRUE(name.starts_with('.')) << name;
  EXPECT_EQ(folder.names(), (std::vector<std::string>{"config.toml", "metrics.csv", "weights.pt"}));
  folder.commit();
  EXPECT_EQ(names_in(folder.path()), (Names{"config.toml", "metrics.csv", "weights.pt"}));
  EXPECT_EQ(read_file(temporary / "a/b/config.toml"), "width = 1\n");
  EXPECT_EQ(read_file(temporary / "a/b/metrics.csv"), "a,b\n1,2\n");
  EXPECT_EQ(read_file(temporary / "a/b/weights.pt"), "by a writer of its own");
}

TEST(RunFolder, WithoutACommitNothingIsLeft) {
  const TemporaryFolder temporary;
  fs::create_directory(temporary / "there");
  for (const auto* path : {"there/a/b/c", "there/d/", "there/./e", "there"}) {
    {
      RunFolder folder(temporary / path);
      folder.write("metrics.csv", "half");
      EXPECT_TRUE(fs::is_directory(temporary / path));
    }
    EXPECT_EQ(names_in(temporary / "there"), Names{}) << path;
  }
}

TEST(RunFolder, WithoutACommitAnOlderRunStays) {
  const TemporaryFolder temporary;
  write_file(temporary / "metrics.csv", "old");
  write_file(temporary / "environment.json", R"({"files": ["metrics.csv", "weights.pt"]})");
  write_file(temporary / "weights.pt", "old");
  {
    RunFolder folder(temporary.path());
    folder.write("metrics.csv", "new");
  }
  EXPECT_EQ(names_in(temporary.path()), (Names{"environment.json", "metrics.csv", "weights.pt"}));
  EXPECT_EQ(read_file(temporary / "metrics.csv"), "old");
}

TEST(RunFolder, ACommitTakesAnOlderRunsPlaceWholeAndLeavesOtherFiles) {
  const TemporaryFolder temporary;
  write_file(temporary / "outside", "not the run's");
  RunFolder folder(temporary / "run");
  write_file(temporary / "run/environment.json",
             R"({"files": ["environment.json", "metrics.csv", "weights1.pt", "weights2.pt",
                           "figure.png", "never_written", "../outside", "..", "", 3, "notes/"]})");
  for (const auto* name :
       {"metrics.csv", "weights1.pt", "weights2.pt", "figure.png", "notes.txt"}) {
    write_file(temporary / "run" / name, "old");
  }
  folder.write("environment.json", "{}");
  folder.write("metrics.csv", "new");
  folder.write("weights1.pt", "new");
  folder.commit();
  EXPECT_EQ(names_in(temporary / "run"),
            (Names{"environment.json", "metrics.csv", "weights1.pt", "notes.txt"}));
  EXPECT_EQ(read_file(temporary / "run/metrics.csv"), "new");
  EXPECT_EQ(read_file(temporary / "run/weights1.pt"), "new");
  EXPECT_EQ(read_file(temporary / "run/notes.txt"), "old");
  EXPECT_TRUE(fs::exists(temporary / "outside"));
}

TEST(RunFolder, AForeignEnvironmentFileIsNoList) {
  for (const auto* text : {"", "no JSON", "[1]", R"({"files": 3})", R"({"files": {"a": "b"}})"}) {
    const TemporaryFolder temporary;
    write_file(temporary / "environment.json", text);
    write_file(temporary / "b", "stays or goes, as listed");
    RunFolder folder(temporary.path());
    folder.write("metrics.csv", "new");
    folder.commit();
    EXPECT_EQ(read_file(temporary / "metrics.csv"), "new");
  }
}

// The same contract for files in folders of the run's: those come and go with the files.
TEST(RunFolder, FilesMayLieInFoldersBelow) {
  const TemporaryFolder temporary;
  for (const auto* path : {"run", "run/", "./run"}) {
    const fs::path out = fs::path(temporary.path()) / path;
    {
      RunFolder folder(out);
      folder.write("a/b/one", "1");
      folder.write("a/two", "2");
      folder.write("a/b/one", "2");
      EXPECT_EQ(folder.names(), (std::vector<std::string>{"a/b/one", "a/two"}));
    }
    EXPECT_EQ(temporary.size(), 0U) << path;

    RunFolder first(out);
    first.write("a/b/one", "1");
    first.write("a/two", "2");
    first.write("environment.json", R"({"files": ["a/b/one", "a/two", "environment.json"]})");
    first.commit();
    EXPECT_EQ(read_file(temporary / "run/a/b/one"), "1");
    EXPECT_EQ(names_in(temporary / "run/a"), (Names{"b", "two"}));

    write_file(temporary / "run/a/b/.one.9-9.partial", "of a run that was killed");
    RunFolder second(out);
    second.write("a/b/one", "3");
    second.write("environment.json", R"({"files": ["a/b/one", "environment.json"]})");
    second.commit();
    EXPECT_EQ(names_in(temporary / "run/a"), Names{"b"});
    EXPECT_EQ(names_in(temporary / "run/a/b"), Names{"one"});

    RunFolder third(out);
    third.write("environment.json", "{}");
    third.commit();
    EXPECT_EQ(names_in(temporary / "run"), Names{"environment.json"});
    fs::remove_all(temporary / "run");
  }
  RunFolder folder(temporary / "run");
  for (const auto* name : {"a/../b", "/a", "a/", "./a", ""}) {
    EXPECT_THROW(folder.file(name), c10::Error) << name;
  }
  write_file(temporary / "run/file", "");
  expect_user_error([&] { folder.file("file/below"); }, "run/file");
}

// A full disk is noticed when the last bytes leave the buffer; /dev/full is one.
TEST(RunFolder, OneFileThatCannotBeWrittenKeepsAllOthersBack) {
  const TemporaryFolder temporary;
  write_file(temporary / "config.toml", "old");
  {
    RunFolder folder(temporary.path());
    folder.write("config.toml", "new");
    fs::create_symlink("/dev/full", folder.file("metrics.csv").temporary());
    folder.write("metrics.csv", "new");
    test::expect_file_error([&] { folder.commit(); }, "metrics.csv", "No space left on device");
    EXPECT_EQ(read_file(temporary / "config.toml"), "old");
  }
  EXPECT_EQ(names_in(temporary.path()), Names{"config.toml"});
}

// Between the first file and the last the folder is of no whole run: seen when the last one cannot
// get its name.
TEST(RunFolder, AFolderOfTwoRunsIsNoWholeRun) {
  const TemporaryFolder temporary;
  EXPECT_FALSE(RunFolder::whole_run(temporary.path()));
  RunFolder old(temporary.path());
  old.write("metrics.csv", "old");
  old.write("weights.pt", "old");
  old.write("environment.json", R"({"files": ["environment.json", "metrics.csv", "weights.pt"],
                                    "complete": true})");
  old.commit();
  ASSERT_TRUE(RunFolder::whole_run(temporary.path()));
  {
    RunFolder folder(temporary.path());
    folder.write("metrics.csv", "new");
    folder.write("last", "new");
    fs::create_directory(temporary / "last");
    expect_user_error([&] { folder.commit(); }, "last");
  }
  EXPECT_FALSE(RunFolder::whole_run(temporary.path()));
  fs::remove(temporary / "last");

  RunFolder folder(temporary.path());
  folder.write("metrics.csv", "new");
  folder.write("environment.json", R"({"files": ["environment.json", "metrics.csv"]})");
  folder.commit();
  EXPECT_TRUE(RunFolder::whole_run(temporary.path()));
  EXPECT_EQ(names_in(temporary.path()), (Names{"environment.json", "metrics.csv"}));
}

TEST(RunFolder, WhatEnvironmentFilesMeanForTheWhole) {
  for (const auto* text :
       {"", "[]", "null", R"({"complete": true})", R"({"files": [], "complete": false})",
        R"({"files": [], "complete": 1})"}) {
    const TemporaryFolder temporary;
    write_file(temporary / "environment.json", text);
    EXPECT_FALSE(RunFolder::whole_run(temporary.path())) << text;
  }
}

TEST(RunFolder, RefusesAPlaceThatCannotBeWritten) {
  const TemporaryFolder temporary;
  write_file(temporary / "file", "");
  for (const fs::path& path : {temporary / "file", temporary / "file/below",
                               temporary / std::string(300, 'n'), fs::path("/proc/nowhere/a")}) {
    expect_user_error([&] { RunFolder folder(path); }, path.string());
  }
  expect_user_error([&] { RunFolder folder(temporary / "a/b" / std::string(300, 'n')); }, "nnn");
  EXPECT_EQ(names_in(temporary.path()), Names{"file"});

  fs::create_directories(temporary / "run/metrics.csv");
  RunFolder folder(temporary / "run");
  expect_user_error([&] { folder.file("metrics.csv"); }, "metrics.csv");
  EXPECT_THROW(folder.file("../metrics.csv"), c10::Error);
}

// Oracle: the permission bits, which root passes over.
TEST(RunFolder, RefusesAReadOnlyFolder) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write anywhere";
  const TemporaryFolder temporary;
  fs::permissions(temporary.path(), fs::perms::owner_read | fs::perms::owner_exec);
  expect_user_error([&] { RunFolder folder(temporary.path()); }, temporary.path().string());
  fs::permissions(temporary.path(), fs::perms::owner_all);
}

TEST(RunFolder, FreshOnesAreNeverShared) {
  const TemporaryFolder temporary;
  const test::CurrentFolder current(temporary.path());
  {
    const RunFolder one = RunFolder::fresh("pcxx-small");
    const RunFolder two = RunFolder::fresh("pcxx-small");
    const RunFolder three = RunFolder::fresh("pcxx-small");
    EXPECT_EQ((Names{one.path(), two.path(), three.path()}).size(), 3U);
    for (const auto& path : {one.path(), two.path(), three.path()}) {
      EXPECT_EQ(path.parent_path(), "runs");
      EXPECT_TRUE(path.filename().string().starts_with("pcxx-small-20")) << path;
      EXPECT_TRUE(fs::is_directory(path));
    }
  }
  EXPECT_EQ(temporary.size(), 0U);

  RunFolder kept = RunFolder::fresh("pcxx-small");
  kept.write("metrics.csv", "");
  kept.commit();
  {
    const RunFolder other = RunFolder::fresh("pcxx-small");
  }
  EXPECT_EQ(names_in("runs"), Names{kept.path().filename()});
}

}  // namespace
}  // namespace pcxx::run
