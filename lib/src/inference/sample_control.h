#pragma once

#include <ATen/core/Tensor.h>
#include <pcxx/inference/descent_options.h>
#include <pcxx/inference/report.h>

#include <cstdint>
#include <string_view>
#include <vector>

namespace pcxx::inference {

/// Step size and stopping of each sample of a descent, shared by all descents. Bookkeeping is a
/// handful of numbers a sample: plain loops on the CPU, for any device.
class SampleControl {
 public:
  /// step_size: eta per sample, [B] or [R, B], in the network's dtype and device; it is owned and
  /// changed from here on: 0 for a sample that has stopped.
  SampleControl(const DescentOptions& options, at::Tensor step_size);

  /// Takes squared gradient norms and energies, in any unit, of the point that the last step left
  /// from. Returns whether any sample is still active.
  bool advance(const at::Tensor& gradient_squares, const at::Tensor& energies);

  const at::Tensor& step() const { return step_; }

  /// energy: after the last step, as step_size is shaped.
  Report report(std::string_view method, const at::Tensor& energy) const;

 private:
  enum class State : std::uint8_t { kActive, kConverged, kFailed };

  void advance_sample(std::size_t b, double gradient_norm, double energy);
  Regime regime(bool all_converged) const;

  DescentOptions options_;
  double rounding_;
  at::Tensor step_;
  std::vector<double> size_;
  std::vector<double> squares_;
  std::vector<double> energy_;
  std::vector<double> first_gradient_;
  std::vector<double> last_energy_;
  std::vector<double> residual_;
  std::vector<std::int64_t> steps_;
  std::vector<State> state_;
  std::int64_t taken_ = 0;
  bool adaptive_;
};

}  // namespace pcxx::inference
