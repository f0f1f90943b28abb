#pragma once

#include <pcxx/core/state.h>
#include <pcxx/train/observer.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace pcxx::train {

/// What the networks of one job learn: where their batches come from, and what their errors are. It
/// observes every update before all other observers.
class Task : public Observer {
 public:
  /// The batch of the next update.
  virtual data::Batch next() = 0;

  /// Samples that no run trains on, of every member.
  virtual data::Batch held_out() const = 0;

  /// Whether the errors are measured before update `step`; after the last one they always are.
  virtual bool tests_at(std::int64_t step) const = 0;

  /// The errors now, by metric, [] or [R]. On several ranks all call it.
  virtual std::map<std::string, at::Tensor> test(const nn::NetworkImpl& network) = 0;

  /// How much the last of these tests is worth, for models that keep their best weights: more is
  /// better. Such a task has validation data.
  virtual double worth(const std::map<std::string, std::vector<double>>& tests) const {
    (void)tests;
    return 0;
  }

  /// Where the data stand between two updates, and the way back. `set_state` throws c10::Error when
  /// the state is of other data.
  virtual State state() const = 0;
  virtual void set_state(const State& state) = 0;
};

}  // namespace pcxx::train
