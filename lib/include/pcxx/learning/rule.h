#pragma once

#include <pcxx/core/state.h>
#include <pcxx/data/batch.h>
#include <pcxx/learning/factors.h>
#include <pcxx/learning/peers.h>
#include <pcxx/nn/network.h>

#include <map>
#include <string>
#include <string_view>

namespace pcxx::learning {

/// How several processes may share the batches of a rule (parallel/shared_step.h).
enum class Sharing {
  kSlices,    ///< it treats each sample by itself: each process takes `factors` of its slice
  kTogether,  ///< it weighs samples against each other, and can in `shared_factors`
  kNever,     ///< it weighs samples against each other
};

/// A learning rule turns a batch into each layer's update. Rules differ only here; nothing
/// downstream knows which one runs.
class LearningRule {
 public:
  virtual ~LearningRule() = default;

  /// What the batch teaches the network. May advance the rule's own memory, so it is called once
  /// for each update that is made.
  virtual Step factors(const nn::NetworkImpl& network, const data::Batch& batch) = 0;

  /// Updates that the rule makes of each batch. Who trains calls `factors` so many times with the
  /// same batch, and takes the step of each before the next:
  ///
  ///   for (int i = 0; i < rule.steps_per_batch(); ++i) optimizer.step(rule.factors(*net, batch));
  ///
  /// Together they are one step of a training: its errors, measurements and checkpoints see the
  /// batch as a whole. What the rule keeps from one call to the next ends with the last.
  virtual std::int64_t steps_per_batch() const { return 1; }

  virtual std::string_view name() const = 0;

  virtual Sharing sharing() const { return Sharing::kSlices; }

  /// For Sharing::kTogether: the step of the whole batch, to which `slice` is this process's part,
  /// one sample or more; `slice.samples` counts all. The rule's memory and the step must be the
  /// same to the last bit on all processes, but for `Step::prediction`, of the slice alone. Others
  /// throw c10::Error.
  virtual Step shared_factors(const nn::NetworkImpl& network, const data::Batch& slice,
                              Peers& peers);

  /// Numbers worth a look after training, by name. Most rules have none.
  virtual std::map<std::string, double> diagnostics() const { return {}; }

  /// Numbers of the last batch by metric, [] or [R], for a training that records them. Most rules
  /// have none.
  virtual std::map<std::string, at::Tensor> measurements() const { return {}; }

  /// Memory of past batches, if any; most rules have none. `set_state` refuses (c10::Error) the
  /// state of another rule or of other shapes.
  virtual State state() const { return {}; }
  virtual void set_state(const State&) {}
};

}  // namespace pcxx::learning
