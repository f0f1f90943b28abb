#include <gtest/gtest.h>
#include <pcxx/core/files.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>

#include "support/file_error.h"
#include "support/temporary_folder.h"
#include "support/user_error.h"

namespace pcxx {
namespace {

namespace fs = std::filesystem;
using test::expect_user_error;
using test::quoted;
using test::TemporaryFolder;

// Bytes of every value, beyond any stream's buffer.
std::string many_bytes() {
  std::string text;
  for (int i = 0; i < 300'000; ++i) text.push_back(static_cast<char>(i % 256));
  return text;
}

// Oracle: the header's contract; what is read is what was written.
TEST(Files, ReadWhatWasWritten) {
  const TemporaryFolder folder;
  const auto path = folder / "file";
  for (const auto& text : {std::string(), std::string("one line\n"), many_bytes()}) {
    write_file(path, text);
    EXPECT_EQ(read_file(path), text);
    EXPECT_EQ(folder.size(), 1U);
  }
}

// Oracle: contract. Nothing appears under the file's name before the commit; then it is whole.
TEST(AtomicFile, AppearsAtTheCommit) {
  const TemporaryFolder folder;
  AtomicFile file(folder / "file");
  EXPECT_EQ(file.path(), folder / "file");
  EXPECT_EQ(file.temporary().parent_path(), folder.path());
  file.stream() << many_bytes() << std::flush;
  EXPECT_FALSE(fs::exists(file.path()));
  EXPECT_TRUE(fs::exists(file.temporary()));
  file.commit();
  EXPECT_EQ(read_file(file.path()), many_bytes());
  EXPECT_FALSE(fs::exists(file.temporary()));
}

// Oracle: contract. No commit, no file; an older one keeps its text.
TEST(AtomicFile, LeavesNothingWithoutACommit) {
  const TemporaryFolder folder;
  {
    AtomicFile file(folder / "new");
    file.stream() << "text" << std::flush;
  }
  EXPECT_EQ(folder.size(), 0U);

  write_file(folder / "old", "old");
  {
    AtomicFile file(folder / "old");
    file.stream() << "new" << std::flush;
    EXPECT_EQ(read_file(folder / "old"), "old");
  }
  EXPECT_EQ(read_file(folder / "old"), "old");
  EXPECT_EQ(folder.size(), 1U);

  AtomicFile unused(folder / "unused");
  EXPECT_EQ(folder.size(), 1U);
}

// Oracle: contract. An exception between the first word and the commit is no commit.
TEST(AtomicFile, LeavesNothingAfterAnException) {
  const TemporaryFolder folder;
  const auto interrupted = [&] {
    AtomicFile file(folder / "file");
    file.stream() << "half" << std::flush;
    throw std::runtime_error("interrupted");
  };
  EXPECT_THROW(interrupted(), std::runtime_error);
  EXPECT_EQ(folder.size(), 0U);
}

// Oracle: contract. A writer that opens files itself writes to temporary().
TEST(AtomicFile, CommitsWhatAnotherWriterLeft) {
  const TemporaryFolder folder;
  AtomicFile file(folder / "file");
  std::ofstream(file.temporary()) << "by another";
  file.commit();
  EXPECT_EQ(read_file(folder / "file"), "by another");
  EXPECT_EQ(folder.size(), 1U);
}

// Oracle: contract. A path without a folder is a file of the current folder.
TEST(AtomicFile, TakesARelativePath) {
  const TemporaryFolder folder;
  const auto before = fs::current_path();
  fs::current_path(folder.path());
  write_file("file", "text");
  fs::current_path(before);
  EXPECT_EQ(read_file(folder / "file"), "text");
}

// Oracle: contract, in each way that a file cannot be written: UserError with its path, nothing
// left.
TEST(AtomicFile, NamesAPathThatCannotBeWritten) {
  const TemporaryFolder folder;
  write_file(folder / "file", "not a folder");
  fs::create_directory(folder / "folder");
  write_file(folder / "folder" / "inside", "kept");
  for (const auto& path : {folder / "missing" / "a", folder / "file" / "a", folder / "folder"}) {
    expect_user_error([&] { write_file(path, "text"); }, quoted(path));
  }
  AtomicFile unwritten(folder / "unwritten");
  expect_user_error([&] { unwritten.commit(); }, quoted(folder / "unwritten"));
  EXPECT_EQ(read_file(folder / "folder" / "inside"), "kept");
  EXPECT_EQ(folder.size(), 2U);
}

// Oracle: contract. The rights of a folder bind everybody but root.
TEST(AtomicFile, NamesAPathInAFolderWithoutTheRightToWrite) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write everywhere";
  const TemporaryFolder folder;
  const auto locked = folder / "locked";
  fs::create_directory(locked);
  write_file(locked / "file", "old");
  fs::permissions(locked, fs::perms::owner_read | fs::perms::owner_exec);
  expect_user_error([&] { write_file(locked / "file", "new"); }, quoted(locked / "file"));
  EXPECT_EQ(read_file(locked / "file"), "old");
  fs::permissions(locked, fs::perms::owner_all);
}

// Oracle: /dev/full, which refuses every byte as a full disk does. Short texts fail at the commit,
// long ones already while they are written; the old file stays.
TEST(AtomicFile, AFullDiskIsAnErrorAndKeepsTheOldFile) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  for (const auto& text : {std::string("short"), many_bytes()}) {
    const TemporaryFolder folder;
    const auto path = folder / "file";
    write_file(path, "old");
    const auto write_to_full_disk = [&] {
      AtomicFile file(path);
      fs::create_symlink("/dev/full", file.temporary());
      file.stream() << text;
      file.commit();
    };
    test::expect_file_error(write_to_full_disk, quoted(path), "No space left on device");
    EXPECT_EQ(read_file(path), "old");
    EXPECT_EQ(folder.size(), 1U);
    EXPECT_TRUE(fs::exists("/dev/full"));
  }
}

// Oracle: the limit of the shell's `ulimit -f`, which is the reason.
TEST(AtomicFile, AFileThatMayNotGrowIsAnErrorAndKeepsTheOldFile) {
  const TemporaryFolder folder;
  write_file(folder / "file", "old");
  const auto before = std::signal(SIGXFSZ, SIG_IGN);
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &limit), 0);
  const rlimit small{100'000, limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  test::expect_file_error([&] { write_file(folder / "file", many_bytes()); },
                          quoted(folder / "file"), "File too large");
  ::setrlimit(RLIMIT_FSIZE, &limit);
  std::signal(SIGXFSZ, before);
  EXPECT_EQ(read_file(folder / "file"), "old");
  EXPECT_EQ(folder.size(), 1U);
}

// Oracle: contract. Two writers of one file, in one process, do not meet before the commit.
TEST(AtomicFile, TheLastCommitCounts) {
  const TemporaryFolder folder;
  AtomicFile first(folder / "file");
  AtomicFile second(folder / "file");
  first.stream() << "first";
  second.stream() << "second";
  first.commit();
  EXPECT_EQ(read_file(folder / "file"), "first");
  second.commit();
  EXPECT_EQ(read_file(folder / "file"), "second");
}

// Oracle: contract.
TEST(Files, FoldersAreMadeOrNamed) {
  const TemporaryFolder folder;
  make_folders(folder / "a/b");
  make_folders(folder / "a/b");
  EXPECT_TRUE(fs::is_directory(folder / "a/b"));
  write_file(folder / "file", "");
  expect_user_error([&] { make_folders(folder / "file/below"); }, quoted(folder / "file/below"));
}

// Oracle: contract. A missing file, a folder, and a file whose reading fails (the first page of a
// process's memory) are errors, not empty texts.
TEST(Files, NameAPathThatCannotBeRead) {
  const TemporaryFolder folder;
  for (const auto& path : {folder / "missing", folder.path(), folder / "missing" / "file"}) {
    expect_user_error([&] { read_file(path); }, quoted(path));
  }
  if (fs::exists("/proc/self/mem")) {
    test::expect_file_error([] { read_file("/proc/self/mem"); }, "'/proc/self/mem'",
                            "Input/output error");
  }
}

// Oracle: fmt. The text is formatted, and the type is the one that programs catch.
TEST(UserError, CarriesAFormattedText) {
  EXPECT_EQ(test::user_error_text([] { user_error("'{}' is not one of {}", "x", 3); }),
            "'x' is not one of 3");
  EXPECT_THROW(user_error("plain"), std::runtime_error);
}

}  // namespace
}  // namespace pcxx
