#pragma once

#include <chrono>
#include <functional>
#include <stdexcept>

namespace pcxx::parallel {

/// The other ranks have not answered: one of them has ended, hangs, or cannot be reached.
class RanksLost : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// How long to wait for other ranks.
struct WaitOptions {
  /// For an answer.
  std::chrono::duration<double> limit{600};
  /// Whether this process has been told to stop, by Ctrl-C or because another rank has ended.
  std::function<bool()> stopped = [] { return false; };
  /// Called once where that was so for a moment, and still no answer has come.
  std::function<void()> complain = [] {};
};

/// One wait, in small pauses.
///
///   for (Patience patience(options); !done(); patience.pause()) {}
class Patience {
 public:
  explicit Patience(const WaitOptions& options) : options_(options) {}

  /// Throws RanksLost after `limit`, or 10 s after the process was told to stop.
  void pause();

 private:
  using Clock = std::chrono::steady_clock;

  void check(Clock::time_point now);

  const WaitOptions& options_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point stopped_{};  // the epoch: not yet
  bool complained_ = false;
  int pauses_ = 0;
};

}  // namespace pcxx::parallel
