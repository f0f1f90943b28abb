#pragma once

#include <pcxx/config/part.h>
#include <pcxx/ensemble/ensemble.h>
#include <pcxx/metrics/predicted_alignment.h>
#include <pcxx/optim/rescaling.h>

#include <functional>
#include <memory>
#include <vector>

/// The rescalings as configs name them. Each is described in its own file; the list is here.
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

/// The key `regularisation`, of more than one rescaling.
config::Key regularisation_key();

}  // namespace pcxx::optim
