#pragma once

#include <pcxx/catalog/model.h>
#include <pcxx/inference/report.h>
#include <pcxx/learning/rule.h>
#include <pcxx/nn/network.h>
#include <pcxx/optim/rescaled.h>
#include <pcxx/run/work.h>
#include <pcxx/train/observer.h>
#include <pcxx/train/training.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "train/best_weights.h"
#include "train/task.h"

namespace pcxx::train {

/// Trains one network, or an ensemble of R, on a task: the loop of every job on tensors.
///
/// A run whose fixed inference step has become unstable ends there, unless its model keeps such
/// inferences: the update is not recorded any further, and all later errors are NaN.
///
/// A model that keeps its best weights ends with those of the test that its task found worth most,
/// and learns no more once its patience is over: its later tests repeat what these weights gave.
class Trainer {
 public:
  /// Model and task outlive the trainer. `optimizer` is of the network's parameters; all ranks make
  /// the same training.
  Trainer(const catalog::Model& model, nn::Network network,
          std::unique_ptr<torch::optim::Optimizer> optimizer, Task& task,
          const std::vector<std::string>& measure, parallel::Communicator& ranks);

  /// All steps of the model, from the first or from the job's checkpoint.
  Training train(run::JobContext& job);

  const nn::Network& network() const { return network_; }

 private:
  using Event = void (Observer::*)(const MadeUpdate&, const Record&);

  bool all_ended() const;
  bool learns() const;
  void test();
  void measure();
  void repeat_test();
  void go_back_to_best();
  void follow_schedule();
  void update(run::JobContext& job);
  void update_in_steps(const data::Batch& batch, run::JobContext& job);
  learning::Step step_of(const data::Batch& batch);
  MadeUpdate made_of(const learning::Step& step, const data::Batch& batch) const;
  void tell(Event event, const MadeUpdate& made);
  void record(const std::string& metric, const at::Tensor& values);
  void append(std::vector<double>& rows, const at::Tensor& values) const;
  std::vector<double> row(const at::Tensor& values) const;
  void take(const inference::Report& report, run::JobContext& job);
  void end_unstable(const std::vector<bool>& unstable);
  void warn(const inference::Report& report, std::int64_t unstable, const run::JobContext& job);
  void end();
  void measure_dead_units();
  run::Part state() const;
  void go_on(const run::Part& state);

  const catalog::Model& model_;
  Task& task_;
  parallel::Communicator& ranks_;
  nn::Network network_;
  std::size_t members_;
  std::unique_ptr<learning::LearningRule> rule_;
  optim::Rescaled optimizer_;
  std::optional<optim::Schedule> schedule_;
  std::vector<double> rates_;  // of every parameter group, as the schedule takes them
  std::vector<std::unique_ptr<Observer>> observers_;
  Record record_;
  std::int64_t step_ = 0;
  Training training_;
  std::vector<bool> ended_;  // of every member
  BestWeights best_;         // where the model keeps them
  bool stopped_ = false;     // its patience is over
  bool warned_ = false;
};

}  // namespace pcxx::train
