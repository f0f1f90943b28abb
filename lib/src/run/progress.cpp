#include <fmt/format.h>
#include <pcxx/core/standard_streams.h>
#include <pcxx/run/progress.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace pcxx::run {
namespace {

constexpr auto kInterval = std::chrono::milliseconds(100);

// Of the terminal; a longer line would wrap and could not be wiped.
std::size_t columns() {
  winsize size{};
  const bool known = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : 80;
}

std::string rate_text(double rate) {
  return rate >= 100 ? fmt::format("{:.0f}/s", rate) : fmt::format("{:.3g}/s", rate);
}

std::string time_text(double seconds) {
  const auto s = std::llround(seconds);
  return s < 3600 ? fmt::format("{}:{:02}", s / 60, s % 60)
                  : fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

}  // namespace

Progress::Progress(std::string label, std::int64_t total, bool quiet)
    : label_(std::move(label)), total_(total), visible_(!quiet && ::isatty(STDERR_FILENO) != 0) {}

void Progress::advance(std::int64_t count) {
  done_ += count;
  if (!visible_) return;
  const std::unique_lock lock(drawing_, std::try_to_lock);
  if (!lock) return;
  const auto now = Clock::now();
  if (now - last_ >= kInterval) draw(now);
}

void Progress::draw(Clock::time_point now) {
  last_ = now;
  drawn_ = true;
  const auto seconds = std::chrono::duration<double>(now - start_).count();
  auto line = label_ + "  " + progress_text(done_, total_, seconds);
  if (!note_.empty()) line += "  " + note_;
  line.resize(std::min(line.size(), columns() - 1));
  print_to(stderr, "\r\033[K" + line);
}

void Progress::print(const std::string& line) {
  const std::scoped_lock lock(drawing_);
  finish();
  print_to(stderr, line + "\n");
}

void Progress::finish() {
  if (!drawn_) return;
  drawn_ = false;
  print_to(stderr, "\r\033[K");
}

std::string progress_text(std::int64_t done, std::int64_t total, double seconds) {
  const auto part = total > 0 ? 100 * done / total : 100;
  auto text = fmt::format("{}/{}  {} %", done, total, part);
  if (done <= 0 || seconds <= 0) return text;
  const double rate = static_cast<double>(done) / seconds;
  const auto left = static_cast<double>(std::max<std::int64_t>(0, total - done)) / rate;
  return fmt::format("{}  {}  {} left", text, rate_text(rate), time_text(left));
}

}  // namespace pcxx::run
