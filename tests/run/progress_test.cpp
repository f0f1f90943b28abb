#include <fcntl.h>
#include <gtest/gtest.h>
#include <pcxx/run/progress.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <thread>

namespace pcxx::run {
namespace {

// Oracle: arithmetic by hand.
TEST(ProgressText, SaysRateAndTimeLeft) {
  EXPECT_EQ(progress_text(340, 1000, 27.2), "340/1000  34 %  12.5/s  0:53 left");
  EXPECT_EQ(progress_text(500, 1000, 0.4), "500/1000  50 %  1250/s  0:00 left");
  EXPECT_EQ(progress_text(1, 3, 60), "1/3  33 %  0.0167/s  2:00 left");
  EXPECT_EQ(progress_text(1, 101, 62.5), "1/101  0 %  0.016/s  1:44:10 left");
  EXPECT_EQ(progress_text(7, 7, 2), "7/7  100 %  3.5/s  0:00 left");
}

// Invariant: no division by nothing, whatever is counted.
TEST(ProgressText, IsCalmWithoutAnythingDone) {
  EXPECT_EQ(progress_text(0, 10, 3), "0/10  0 %");
  EXPECT_EQ(progress_text(5, 10, 0), "5/10  50 %");
  EXPECT_EQ(progress_text(0, 0, 1), "0/0  100 %");
  EXPECT_EQ(progress_text(3, 2, 1), "3/2  150 %  3/s  0:00 left");
}

// stderr is a terminal of some columns until the end of the scope.
class Terminal {
 public:
  explicit Terminal(unsigned short columns)
      : master_(::posix_openpt(O_RDWR | O_NOCTTY)), before_(::dup(STDERR_FILENO)) {
    ::grantpt(master_);
    ::unlockpt(master_);
    const int slave = ::open(::ptsname(master_), O_RDWR | O_NOCTTY);
    winsize size{};
    size.ws_col = columns;
    ::ioctl(slave, TIOCSWINSZ, &size);
    ::dup2(slave, STDERR_FILENO);
    ::close(slave);
    ::fcntl(master_, F_SETFL, O_NONBLOCK);
  }
  ~Terminal() {
    ::dup2(before_, STDERR_FILENO);
    ::close(before_);
    ::close(master_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  // What was shown since the last call. Not const, as it takes that away.
  std::string text() {  // NOLINT(readability-make-member-function-const)
    std::array<char, 4096> buffer{};
    const auto count = ::read(master_, buffer.data(), buffer.size());
    return {buffer.data(), count > 0 ? static_cast<std::size_t>(count) : 0};
  }

 private:
  int master_;
  int before_;
};

void advance_slowly(Progress& progress) {
  std::this_thread::sleep_for(std::chrono::milliseconds(101));
  progress.advance();
}

// Oracle: a pseudo-terminal, which gets one line that is wiped at the end.
TEST(Progress, DrawsOneLineAndWipesIt) {
  Terminal terminal(60);
  {
    Progress progress("regression", 1000);
    progress.note(std::string(100, 'n'));
    progress.advance(0);
    EXPECT_EQ(terminal.text(), "");  // too soon
    advance_slowly(progress);
    const auto line = terminal.text();
    EXPECT_TRUE(line.starts_with("\r\033[Kregression  1/1000  0 %  ")) << line;
    EXPECT_EQ(line.find('\n'), std::string::npos);
    EXPECT_EQ(line.size(), 4U + 59U);  // the wiping, and less than the 60 columns
  }
  EXPECT_EQ(terminal.text(), "\r\033[K");
}

TEST(Progress, ShowsNothingWhenQuietOrNotOnATerminal) {
  {
    Terminal terminal(60);
    {
      Progress progress("regression", 1000, true);
      advance_slowly(progress);
    }
    EXPECT_EQ(terminal.text(), "");
  }
  ::testing::internal::CaptureStderr();
  {
    Progress progress("regression", 1000);
    advance_slowly(progress);
  }
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace pcxx::run
