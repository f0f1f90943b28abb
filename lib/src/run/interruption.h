#pragma once

#include <signal.h>

#include <array>

/// Ctrl-C and the other signals that ask a program to stop.
namespace pcxx::run {

/// No std::exception, so that an experiment that catches those does not catch it.
struct Interrupted {};

/// Whether such a signal has come since the last SignalScope began.
bool interrupted();

/// Turns the signals into a flag, while in scope: those of a user (INT), of the system (TERM, HUP)
/// and of batch systems (USR1, USR2, XCPU). A reader that went away, as in `| head` (PIPE), is no
/// reason to stop, and a file that may not grow (XFSZ) gives an error where it is written.
class SignalScope {
 public:
  SignalScope();
  ~SignalScope();
  SignalScope(const SignalScope&) = delete;
  SignalScope& operator=(const SignalScope&) = delete;

 private:
  static constexpr std::array kSignals{SIGINT,  SIGTERM, SIGHUP,  SIGUSR1,
                                       SIGUSR2, SIGXCPU, SIGPIPE, SIGXFSZ};
  std::array<struct sigaction, kSignals.size()> before_{};
};

}  // namespace pcxx::run
