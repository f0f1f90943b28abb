#pragma once

#include <signal.h>

#include <array>

/// Ctrl-C and the other signals that ask a program to stop.
namespace pcxx::train {

/// No std::exception, so that an experiment that catches those does not catch it.
struct Interrupted {};

/// Whether such a signal has come since the last SignalScope began.
bool interrupted();

/// Turns the signals into a flag, while in scope. A reader that went away, as in `| head`, is no
/// reason to stop.
class SignalScope {
 public:
  SignalScope();
  ~SignalScope();
  SignalScope(const SignalScope&) = delete;
  SignalScope& operator=(const SignalScope&) = delete;

 private:
  static constexpr std::array kSignals{SIGINT, SIGTERM, SIGHUP, SIGPIPE};
  std::array<struct sigaction, kSignals.size()> before_{};
};

}  // namespace pcxx::train
