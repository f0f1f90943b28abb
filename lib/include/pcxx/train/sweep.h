#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <pcxx/catalog/model.h>
#include <pcxx/parallel/communicator.h>
#include <pcxx/run/work.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace pcxx::train {

/// What a sweep of one model over learning rates and seeds measured.
///
///   curves   by metric name, float64 on the CPU, [steps + 1, rates, seeds]; entry 0 is the network
///            as drawn. Always the error metric; where asked `map_error_squared_frobenius` and
///            `excess_map_error` (linear networks), and `target_alignment` and
///            `held_out_alignment` (at step t: of the update that follows, with the errors of its
///            batch and of the first 64 held-out samples; the last entry is NaN), and how iterative
///            inference went (inference/report.h, `measurements`)
///   left_at  [rates, seeds], int64: the step at which a run diverged, its error non-finite or more
///            than 1e6 times the first one; -1 for one that did not. The error of that step is
///            recorded, whatever follows is NaN
struct Sweep {
  std::vector<double> rates;
  std::vector<std::int64_t> seeds;  ///< those that are finished at every rate
  std::map<std::string, at::Tensor> curves;
  at::Tensor left_at;
  std::map<std::string, double> diagnostics;  ///< of rule and rescaling, largest over all jobs
  /// Of whole runs by name, [rates, seeds]: the `least_map_error` of any map through the narrowest
  /// layer, where the metric is map_error; of predictive coding on tensors `inference_passes`,
  /// `inference_converged` and `inference_unstable_at` (train/training.h).
  std::map<std::string, at::Tensor> numbers = {};
};

/// The metric that a sweep's best rate is chosen by: `map_error`; `test_error` on 1,000 held-out
/// samples where the network or the teacher is not one linear map; `train_error` on the next batch
/// with independent targets.
std::string error_metric(const catalog::Model& model);

/// A sweep of any models over learning rates and seeds on a teacher, as independent jobs.
///
///   SweepPlan plan(config.models(), {}, at::kCPU);
///   const auto parts = run.work(plan.work("regression")).read();
///   const std::vector<Sweep> sweeps = plan.collect(parts);  // one per model
///
/// Models of the same seed see the same weights and batches, whatever their rule and rates. In
/// linear networks without bias they train on a linear teacher's compressed batches (the same
/// updates), unless the alignment per sample is measured.
///
/// Networks that differ only in rate, seed, initialisation, condition number, regularisation or
/// noise train side by side where the engine `lanes` can train them (ensemble/ensemble.h); on
/// `tensor` those of one model do. A job is a few of them, all seeds of a rate before the next;
/// what the jobs are depends on the models alone. Ranks share the batches of one job after the
/// other, on `tensor`.
class SweepPlan {
 public:
  /// Throws UserError where a model is impossible, or where engine = "lanes" cannot train one.
  ///
  /// models   one rule, rescaling, task and shape each, the same seeds
  /// measure  metrics to record at every step, beside the error metric
  SweepPlan(const std::vector<config::Config>& models, std::vector<std::string> measure,
            at::Device device, parallel::Communicator& ranks = parallel::alone());

  const std::vector<catalog::Model>& models() const { return models_; }
  /// Of which the plan must outlive the last job.
  run::Work work(std::string label) const;

  /// One sweep per model from what each job has left, over the seeds that all models have finished
  /// at every rate.
  std::vector<Sweep> collect(const std::vector<std::optional<run::Part>>& parts) const;

  /// "lanes" or "tensor".
  std::string engine(std::size_t model) const {
    return reasons_[model].empty() ? "lanes" : "tensor";
  }
  /// Which engine trains which models, and why: lines for people.
  std::vector<std::string> engines() const;

 private:
  struct Member {  // places in models_, its rates, and the seeds
    std::size_t model;
    std::size_t rate;
    std::size_t seed;
  };
  struct Job {
    bool lanes;
    std::vector<Member> members;
  };
  class Builder;

  run::Part run(const Job& job, run::JobContext& context) const;
  std::string name(const Job& job) const;
  Sweep empty_sweep(const catalog::Model& model, const std::vector<std::int64_t>& seeds) const;
  void take(const Job& job, const run::Part& part, const std::vector<std::size_t>& finished,
            std::vector<Sweep>& sweeps) const;
  void derive_metrics(Sweep& sweep, const catalog::Model& model) const;

  std::vector<catalog::Model> models_;
  std::vector<std::string> measure_;
  at::Device device_;
  parallel::Communicator& ranks_;
  std::vector<std::int64_t> seeds_;
  std::vector<std::string> reasons_;  // why a model stays with tensors; empty for lanes
  std::vector<Job> jobs_;
};

/// The whole sweep of one model in this thread.
Sweep run_sweep(const config::Config& model, const std::vector<std::string>& measure,
                at::Device device);

}  // namespace pcxx::train
