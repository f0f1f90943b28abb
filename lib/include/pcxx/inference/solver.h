#pragma once

#include <pcxx/inference/energy.h>
#include <pcxx/inference/inference.h>
#include <pcxx/inference/sample_control.h>

namespace pcxx::inference {

/// A way of going down: where next, from the energies and gradients of one pass. Its memory is per
/// sample.
class Solver {
 public:
  virtual ~Solver() = default;

  /// One way back, a verdict on every active row, and new variables for those that go on; with
  /// `last` all stay at the best point they have been to, where a solver knows it.
  virtual void step(Energy& energy, SampleControl& control, bool last) = 0;

  /// Only these rows (int64) go on.
  virtual void keep(const at::Tensor& rows) = 0;

  /// eta of every sample, in the end; 0 for solvers that have none.
  virtual at::Tensor step_sizes() const = 0;
};

/// Minimises the energy, whose way forward has been done, and leaves it at the variables found,
/// after a last way forward. Samples that have finished are left out of the passes once they are
/// half of those that are left.
void minimise(Energy& energy, Solver& solver, SampleControl& control, std::int64_t max_steps);

}  // namespace pcxx::inference
