#pragma once

#include <pcxx/inference/inference.h>
#include <pcxx/inference/solver.h>

#include <vector>

namespace pcxx::inference {

/// Plain gradient descent. A step size of the caller's choice is kept, and where energy and
/// gradient have both grown in two steps running the curvature says whether it is unstable (at a
/// kink of ReLU it need not be); one that was taken from the curvature is halved where the energy
/// rose.
class GradientSteps final : public Solver {
 public:
  /// step_size: eta of every sample, [B] or [R, B], in the network's dtype and device.
  GradientSteps(at::Tensor step_size, bool fixed);

  void step(Energy& energy, SampleControl& control, bool last) override;
  void keep(const at::Tensor& rows) override;
  at::Tensor step_sizes() const override;

 private:
  struct Sample {
    double size = 0;
    double gradient_norm = 0;
    int rises = 0;
    int suspicious = 2;  // rises; twice as many after every acquittal
  };

  bool judge(SampleControl& control, std::size_t row);
  bool looks_unstable(const SampleControl& control, std::size_t row, bool rose);
  void examine(const Energy& energy, SampleControl& control,
               const std::vector<std::int64_t>& suspects);

  at::Tensor all_sizes_;  // where a sample has stopped, what it stopped with
  at::Tensor samples_;    // of the rows at hand; undefined while these are all
  at::Tensor step_;       // 0 for rows that have stopped
  bool fixed_;
  std::vector<Sample> rows_;
};

/// Errors of the samples that are reported unstable become NaN.
void discard_unstable(Equilibrium& state);

}  // namespace pcxx::inference
