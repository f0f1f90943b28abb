#include "run/interruption.h"

#include <atomic>

namespace pcxx::run {

namespace {

std::atomic<bool> flag = false;
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler needs it");

}  // namespace

bool interrupted() {
  return flag;
}

SignalScope::SignalScope() {
  flag = false;
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    struct sigaction action{};
    const bool ignored = kSignals[i] == SIGPIPE || kSignals[i] == SIGXFSZ;
    action.sa_handler = ignored ? SIG_IGN : [](int) { flag = true; };
    ::sigaction(kSignals[i], &action, &before_[i]);
  }
}

SignalScope::~SignalScope() {
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    ::sigaction(kSignals[i], &before_[i], nullptr);
  }
}

}  // namespace pcxx::run
