#pragma once

#include <pcxx/metrics/sample_efficiency.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace pcxx::train {

/// What R networks measured while they learnt side by side in one job; R is 1 for images. Numbers
/// of the R networks stand side by side, and are NaN for one that has ended.
struct Training {
  /// Steps before which the errors were measured: 0, ... and the last, after which none follows.
  std::vector<std::int64_t> tested_at;
  std::map<std::string, metrics::Curve> tests;  ///< by metric, R numbers at each of them
  /// By metric, R numbers of every update, NaN where it was not measured: of images the
  /// `train_error` of the batch that it learns from, before it does; and where asked the
  /// `target_alignment` of the update with that batch's errors, the `held_out_alignment` with those
  /// of 64 samples that no run trains on, and how inference went (inference/report.h,
  /// `measurements`), its curvature of every tenth step.
  std::map<std::string, metrics::Curve> updates;
  /// Of whole runs, R numbers: `dead_units` (metrics/dead_units.h) on up to a thousand samples that
  /// no run trains on, where there are hidden ReLU units; with predictive coding also
  /// `inference_passes`, the mean of each batch's slowest sample, `inference_converged`, the part
  /// of the samples, and where a fixed step became unstable `inference_unstable_at`, the step that
  /// ended the run, NaN for the others; with keep = "best" the `best_step`, whose weights they are.
  /// Diagnostics of rule and rescaling are one number for all.
  std::map<std::string, std::vector<double>> numbers;
};

inline constexpr const char* kTrainError = "train_error";
inline constexpr const char* kPasses = "inference_passes";
inline constexpr const char* kConverged = "inference_converged";
inline constexpr const char* kUnstableAt = "inference_unstable_at";
inline constexpr const char* kBestStep = "best_step";
inline constexpr const char* kDeadUnits = "dead_units";

}  // namespace pcxx::train
