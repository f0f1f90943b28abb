#pragma once

#include <cstdint>

namespace pcxx::inference {

/// When a descent on the energy stops, and how far it goes in a step. A sample stops on its own, by
/// whichever comes first, and keeps its activities from then on.
struct DescentOptions {
  /// Steps at most.
  std::int64_t max_steps = 200;
  /// eta; 0 takes it from the curvature of each sample's energy (error descent only), and halves it
  /// for a sample whose energy rose.
  double step_size = 0;
  /// Stop when ||dE|| <= tolerance * ||dE at the feed-forward pass||.
  double tolerance = 1e-3;
  /// Stop when a step lowers the energy by no more than this fraction of it: at a kink of ReLU the
  /// gradient need not vanish at a minimum. 0 turns this off.
  double energy_tolerance = 1e-6;
  /// Power iterations for the step size.
  int power_iterations = 5;
  /// Pairs of steps and changes of the gradient that L-BFGS remembers, 1 to 100.
  std::int64_t memory = 8;
  /// A sample whose fixed step is above 2 / curvature stops, and its errors become NaN: there is
  /// nothing to learn from. True only reports it, for inference that is stopped early on purpose.
  bool keep_unstable = false;
};

}  // namespace pcxx::inference
