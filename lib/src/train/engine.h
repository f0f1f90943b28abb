#pragma once

#include <c10/core/Device.h>
#include <pcxx/catalog/model.h>
#include <pcxx/parallel/communicator.h>
#include <pcxx/run/work.h>

#include <cstdint>
#include <string>
#include <vector>

/// What trains the networks of a sweep's job. Both engines make the same part of the same job, but
/// for rounding:
///
///   <error metric>     [steps + 1, R]
///   target_alignment   [steps + 1, R], where measured
///   held_out_alignment [steps + 1, R], where measured (tensors only)
///   inference_<name>   [steps + 1, R], where measured and there is any (tensors only)
///   dead_units         [steps + 1, R], NaN but at the end, where there are hidden ReLU units
///   left_at            [R], the step at which a run diverged, or -1
///   diagnostic.<name>  [], of the rule and the rescaling
///   number.<name>      [R], of whole runs (train/sweep.h, `numbers`)
namespace pcxx::train {

struct SweepMember {
  const catalog::Model* model;
  double rate;
  std::int64_t seed;
};

inline constexpr const char* kLeftAt = "left_at";
inline constexpr const char* kDiagnostic = "diagnostic.";
inline constexpr const char* kLeastMapError = "least_map_error";

/// Tensors of nn, learning and optim: any network and device. Members are of one model, and of one
/// rate unless the optimizer is plain SGD. Of every batch each rank takes its slice; all make the
/// same part.
run::Part train_tensors(const std::vector<SweepMember>& members,
                        const std::vector<std::string>& measure, at::Device device,
                        parallel::Communicator& ranks, run::JobContext& job);

/// ensemble::run. Members are of models with the same `lane_key`.
run::Part train_lanes(const std::vector<SweepMember>& members, bool aligned, run::JobContext& job);

/// Why lanes cannot train a model and measure this: the end of a sentence; empty when they can.
std::string no_lanes(const catalog::Model& model, const std::vector<std::string>& measure,
                     at::Device device);

/// Why tensors are the faster engine for a model that both can train; empty when lanes are.
std::string tensors_are_faster(const catalog::Model& model);

/// All that members of one lane ensemble have in common, as text.
std::string lane_key(const catalog::Model& model);

/// How many members a job of lanes has: some tenths of a second's work.
std::size_t lane_job_size(const catalog::Model& model, bool aligned);
std::size_t tensor_job_size(const catalog::Model& model);

}  // namespace pcxx::train
