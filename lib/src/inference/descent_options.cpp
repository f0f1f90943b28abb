#include <pcxx/inference/descent_options.h>

#include "inference/parts.h"

namespace pcxx::inference {

config::OptionKeys<DescentOptions> descent_keys() {
  constexpr double kMostSteps = 1e9;
  return config::OptionKeys<DescentOptions>()
      .add(&DescentOptions::max_steps,
           {.name = "inference_steps",
            .doc = "passes (forward and back) of an iterative inference at most",
            .minimum = 1,
            .maximum = kMostSteps})
      .add(&DescentOptions::step_size,
           {.name = "inference_step_size",
            .doc = "step of error_descent and state_descent; 0 takes it from the curvature "
                   "(error_descent only)",
            .minimum = 0})
      .add(&DescentOptions::tolerance,
           {.name = "inference_tolerance",
            .initial = "1e-3",
            .doc = "a sample stops when its gradient is this fraction of its first one",
            .minimum = 0})
      .add(&DescentOptions::energy_tolerance,
           {.name = "inference_energy_tolerance",
            .initial = "1e-6",
            .doc = "a sample stops when a step lowers its energy by no more than this fraction of "
                   "it; 0 is off",
            .minimum = 0})
      .add(&DescentOptions::keep_unstable,
           {.name = "unstable_inference",
            .doc = "what follows when inference_step_size has become larger than 2 / curvature: "
                   "end the run as diverged, or keep what the passes gave (inference stopped early "
                   "on purpose); either is reported"},
           {{"end", false}, {"keep", true}});
}

}  // namespace pcxx::inference
