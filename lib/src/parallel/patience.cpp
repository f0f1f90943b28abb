#include <fmt/format.h>
#include <pcxx/parallel/patience.h>

#include <thread>

namespace pcxx::parallel {

namespace {

constexpr int kSpins = 300;  // messages between the cores of one machine take microseconds
constexpr auto kPause = std::chrono::microseconds(20);
constexpr int kCheckEvery = 64;  // pauses
// mpirun kills a second after it has told to stop.
constexpr auto kComplainAfter = std::chrono::milliseconds(600);
constexpr auto kStopAfter = std::chrono::seconds(10);

}  // namespace

void Patience::pause() {
  ++pauses_;
  if (pauses_ < kSpins) {
    if (pauses_ % kCheckEvery == 0) std::this_thread::yield();
    return;
  }
  std::this_thread::sleep_for(kPause);
  if (pauses_ % kCheckEvery == 0) check(Clock::now());
}

void Patience::check(Clock::time_point now) {
  if (now - start_ > options_.limit) {
    throw RanksLost(
        fmt::format("another rank has not answered for {:g} s: it has ended, hangs, or "
                    "cannot be reached; what was kept of the run stays",
                    options_.limit.count()));
  }
  if (!options_.stopped()) return;
  if (stopped_ == Clock::time_point{}) stopped_ = now;
  if (now - stopped_ > kComplainAfter && !complained_) {
    complained_ = true;
    options_.complain();
  }
  if (now - stopped_ > kStopAfter) {
    throw RanksLost("told to stop, and another rank does not answer");
  }
}

}  // namespace pcxx::parallel
