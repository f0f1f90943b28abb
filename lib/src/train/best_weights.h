#pragma once

#include <pcxx/core/state.h>
#include <pcxx/nn/network.h>

#include <cstdint>

namespace pcxx::train {

/// The weights of the test that was best so far.
class BestWeights {
 public:
  /// What a test before `step` found the network worth; more is better, and NaN is never best.
  void offer(double worth, std::int64_t step, const nn::Network& network);

  /// Tests in a row since the best one.
  std::int64_t tests_since() const { return tests_since_; }
  /// The step before which it was made; -1 before the first.
  std::int64_t step() const { return step_; }

  /// Gives the network these weights; nothing happens where no test was better than NaN.
  void restore(nn::Network& network) const;

  State state() const;
  /// Throws c10::Error where the state is none of these.
  void set_state(const State& state);

 private:
  State weights_;
  double worth_ = 0;
  std::int64_t step_ = -1;
  std::int64_t tests_since_ = 0;
};

}  // namespace pcxx::train
