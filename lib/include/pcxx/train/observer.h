#pragma once

#include <ATen/core/Tensor.h>
#include <pcxx/catalog/extend.h>
#include <pcxx/config/schema.h>
#include <pcxx/data/batch.h>
#include <pcxx/learning/rule.h>
#include <pcxx/nn/network.h>
#include <pcxx/parallel/communicator.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

/// What is measured while networks learn, beside their errors: the values of the key `measure`. The
/// same observers serve single networks and ensembles.
namespace pcxx::train {

/// An update that a rule has made of a batch. Where the rule takes several steps of each batch
/// (learning/rule.h, `steps_per_batch`), it is all of them together.
///   index  its number in the run, from 0
///   step   the last one of the batch
///   batch  all samples of it; each of several ranks has made the update of its slice
struct MadeUpdate {
  std::int64_t index;
  const nn::NetworkImpl& network;
  const learning::LearningRule& rule;
  const learning::Step& step;
  const data::Batch& batch;
  parallel::Communicator& ranks;
};

/// Takes a number of this update, [] or [R], by its metric's name.
using Record = std::function<void(const std::string& metric, const at::Tensor& values)>;

/// Measures every update of a training. On several ranks all call it, in the same order.
///
/// Of several steps a batch it is told when all of them have been taken: up to `before_step` the
/// network has the parameters again that it had before the first, and `.grad` is the sum of all
/// their gradients; in `after_step` it has those that the last one left.
class Observer {
 public:
  virtual ~Observer() = default;

  /// The rule has made the update.
  virtual void learnt(const MadeUpdate&, const Record&) {}
  /// `.grad` of every parameter is the negative update, and nothing has moved yet.
  virtual void before_step(const MadeUpdate&, const Record&) {}
  /// The parameters have moved.
  virtual void after_step(const MadeUpdate&, const Record&) {}
};

/// Samples that no run trains on, of every member; made where an observer asks for them.
using HeldOut = std::function<data::Batch()>;
using MakeObserver = std::function<std::unique_ptr<Observer>(const HeldOut& held_out)>;

/// Makes an observer a value of `measure` in the programs that train. It has no options. Throws
/// c10::Error where the name is taken.
void add_observer(std::string name, std::string doc, MakeObserver make);

/// The observers that these values of `measure` name; other names are no observers.
std::vector<std::unique_ptr<Observer>> make_observers(const std::vector<std::string>& measure,
                                                      const HeldOut& held_out);

/// The key `measure`: every observer, and `more` that a program measures by itself.
config::Key measure_key(const std::string& initial, const std::vector<config::Choice>& more = {});

/// Whether the lanes of ensemble/ cannot measure this, and tensors have to.
bool needs_tensors(const std::string& measured);

/// Whether a metric is not measured at every step: NaN then stands for that.
bool is_occasional(const std::string& metric);

}  // namespace pcxx::train
