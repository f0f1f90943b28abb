#pragma once

#include <pcxx/config/part.h>
#include <pcxx/ensemble/ensemble.h>
#include <pcxx/metrics/predicted_alignment.h>
#include <pcxx/optim/rescaling.h>
#include <pcxx/optim/schedule.h>
#include <torch/optim/optimizer.h>

#include <functional>
#include <memory>
#include <vector>

/// The rescalings, optimizers and schedules as configs name them. Each is described in its own file; the lists
/// are here.
namespace pcxx::optim {

/// A value of `rescaling`.
///   lanes     how the lanes of ensemble/ do the same; empty where only tensors do it
///   predicts  how theory predicts its updates (metrics/predicted_alignment.h); empty where it
///             does not
struct RescalingPart : config::Part<std::unique_ptr<Rescaling>(const config::Config&)> {
  std::function<void(const config::Config&, ensemble::Problem&)> lanes = {};
  std::function<void(const config::Config&, metrics::PredictionOptions&)> predicts = {};
};

RescalingPart plain_part();
RescalingPart alpha_part();
RescalingPart decorrelation_part();
RescalingPart projection_part();
RescalingPart recursive_projection_part();

inline std::vector<RescalingPart> rescaling_parts() {
  return {plain_part(), alpha_part(), decorrelation_part(), projection_part(),
          recursive_projection_part()};
}

/// A value of `optimizer`.
///   is_plain_sgd  whether it steps by `theta -= rate * grad` and remembers nothing; empty where it
///                 never does
struct OptimizerPart
    : config::Part<std::unique_ptr<torch::optim::Optimizer>(
          const config::Config&, std::vector<at::Tensor> parameters, double learning_rate)> {
  std::function<bool(const config::Config&)> is_plain_sgd = {};
};

OptimizerPart sgd_part();
OptimizerPart adam_part();
OptimizerPart adamw_part();
OptimizerPart rmsprop_part();

inline std::vector<OptimizerPart> optimizer_parts() {
  return {sgd_part(), adam_part(), adamw_part(), rmsprop_part()};
}

/// A value of `schedule`.
using SchedulePart = config::Part<Schedule(const config::Config&)>;

SchedulePart constant_part();
SchedulePart cosine_part();
SchedulePart linear_part();
SchedulePart decay_part();

inline std::vector<SchedulePart> schedule_parts() {
  return {constant_part(), cosine_part(), linear_part(), decay_part()};
}

/// The key `regularisation`, of more than one rescaling.
config::Key regularisation_key();

}  // namespace pcxx::optim
