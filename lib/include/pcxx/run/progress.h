#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>

namespace pcxx::run {

/// Rate and time left, on one line of stderr that is wiped at the end:
///
///   regression  340/1000  34 %  1200/s  0:32 left
///
/// Shows nothing when stderr is not a terminal or when `quiet`; at most ten updates a second, so
/// that it may be advanced in the innermost loop.
class Progress {
 public:
  Progress(std::string label, std::int64_t total, bool quiet = false);
  ~Progress() { finish(); }

  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// From any thread.
  void advance(std::int64_t count = 1);
  /// A few words shown at the end of the line, such as a current error.
  void note(std::string text) { note_ = std::move(text); }
  /// A line of its own on stderr, also when nothing else is shown; from any thread.
  void print(const std::string& line);
  /// Wipes the line.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;

  void draw(Clock::time_point now);

  std::string label_;
  std::string note_;
  std::int64_t total_;
  std::atomic<std::int64_t> done_ = 0;
  bool visible_;
  std::mutex drawing_;
  bool drawn_ = false;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_ = start_;
};

/// "340/1000  34 %  12.5/s  0:32 left" after `seconds`.
std::string progress_text(std::int64_t done, std::int64_t total, double seconds);

}  // namespace pcxx::run
