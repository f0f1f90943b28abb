#include <fcntl.h>
#include <gtest/gtest.h>
#include <pcxx/core/files.h>
#include <pcxx/core/standard_streams.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <functional>

#include "support/file_error.h"
#include "support/temporary_folder.h"

namespace pcxx {
namespace {

// In a child of this process.
int exit_code(const std::function<int()>& call) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(call());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// Oracle: contract. Whichever descriptors are closed, a file gets none of their numbers, and holds
// nothing of what is printed.
TEST(StandardStreams, AFileNeverGetsTheirNumbers) {
  for (int closed = 0; closed < 8; ++closed) {
    const test::TemporaryFolder folder;
    const auto path = folder / "file";
    EXPECT_EQ(exit_code([&] {
                for (int i = 0; i < 3; ++i) {
                  if ((closed >> i & 1) != 0) ::close(i);
                }
                open_standard_streams();
                const int file = ::open(path.c_str(), O_WRONLY | O_CREAT, 0600);
                if (closed != 0) {
                  print_to(stderr, (closed & 4) != 0 ? "error" : "");
                  print_to(stdout, (closed & 2) != 0 ? "text" : "");
                }
                return file > 2 ? 0 : 1;
              }),
              0)
        << closed;
    EXPECT_EQ(read_file(path), "");
  }
}

// Oracle: /dev/full. An answer that nobody gets is an error with its reason, other text is not.
TEST(StandardStreams, AnAnswerThatCannotBeWrittenIsAnError) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  const auto to = [](const char* path, const std::function<void()>& print) {
    return exit_code([&] {
      ::dup2(::open(path, O_WRONLY), STDOUT_FILENO);
      try {
        print();
      } catch (const FileError& error) {
        return std::string(error.what()) == "cannot write to stdout: No space left on device" ? 3
                                                                                              : 4;
      }
      return 0;
    });
  };
  EXPECT_EQ(to("/dev/full", [] { print_answer("text"); }), 3);
  EXPECT_EQ(to("/dev/null", [] { print_answer("text"); }), 0);
  EXPECT_EQ(to("/dev/full", [] { print_to(stdout, "text"); }), 0);
}

}  // namespace
}  // namespace pcxx
