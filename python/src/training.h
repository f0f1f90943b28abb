#pragma once

#include <nanobind/nanobind.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "data.h"
#include "learning.h"
#include "optimizer.h"

namespace pcxx::python {

/// Numbers of every step, by name.
using History = std::map<std::string, std::vector<double>>;

/// How a training goes through its samples.
struct Pace {
  std::int64_t steps;
  std::int64_t batch_size;
  std::uint64_t seed;
  bool shuffle;
};

/// A network, a rule and an optimizer that train together. Holds their Python objects.
class Trainer {
 public:
  /// Throws UserError where they do not go together.
  Trainer(nanobind::object network, nanobind::object rule, nanobind::object optimizer);

  /// One update, and the batch's numbers. Without the interpreter's lock.
  History step(const data::Batch& batch);

  /// All steps, without the interpreter's lock but between the steps: a signal's exception and the
  /// callback's end the training there, with the network as the last step has left it.
  History fit(const Samples& samples, const Pace& pace, const nanobind::object& callback);

  const Net& network() const { return *network_; }
  Rule& rule() const { return *rule_; }
  Optimizer& optimizer() const { return *optimizer_; }

  nanobind::object network_object;
  nanobind::object rule_object;
  nanobind::object optimizer_object;

 private:
  class Turn;

  learning::Step learn(const data::Batch& batch);
  bool ends(const learning::Step& step) const;
  // Whether the training goes on.
  bool advance(const data::Batch& batch, History& history);

  Net* network_;
  Rule* rule_;
  Optimizer* optimizer_;
  learning::LearningRule* made_;
  bool ends_unstable_;
  std::atomic<bool> busy_ = false;
};

void bind_training(nanobind::module_& m);

}  // namespace pcxx::python
