#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <pcxx/train/config.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace pcxx::train {

/// What a sweep over learning rates and seeds measured.
///
///   curves   by metric name, float64 on the CPU, [steps + 1, rates, seeds]; entry 0 is the network
///            as drawn. A diverged run has non-finite or huge values; it ends no other.
///            Always the error metric; where asked `map_error_squared_frobenius` and
///            `excess_map_error` (linear networks), and `target_alignment` (at step t: of the
///            update that follows; the last entry is NaN)
struct Sweep {
  std::vector<double> rates;
  std::vector<std::int64_t> seeds;
  std::map<std::string, at::Tensor> curves;
  std::map<std::string, double> diagnostics;  ///< of the rescaling, the largest over all runs
};

/// The metric that a sweep's best rate is chosen by: `map_error`; `test_error` on 1,000 held-out
/// samples where the network is not one linear map; `train_error` on the next batch with
/// independent targets.
std::string error_metric(const Config& model);

/// Trains one model on the linear teacher at every learning rate, from every seed's weights, for
/// `steps` batches. Models of the same seed see the same weights and batches, whatever their rule
/// and rates. With plain SGD all runs are one ensemble; in linear networks without bias they train
/// on compressed batches (the same updates), unless the alignment per sample is measured.
///
/// measure  metrics to record at every step, beside the error metric
/// on_step  called after every step of every ensemble, `sweep_length` times in all
Sweep run_sweep(const Config& model, const std::vector<std::string>& measure, at::Device device,
                const std::function<void()>& on_step);

/// How often `run_sweep` calls back.
std::int64_t sweep_length(const Config& model);

}  // namespace pcxx::train
