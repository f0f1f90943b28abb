#pragma once

#include <pcxx/inference/solver.h>

#include <memory>

namespace pcxx::inference {

/// L-BFGS for every sample on its own (Nocedal 1980), with up to `pairs` pairs of steps and changes of
/// the gradient. Nothing is tuned: the first step is short, and each later one is the quasi-Newton
/// step, shortened where the energy did not fall; a step that was taken back makes a
/// pair all the same. Each sample ends at the lowest point it has been to.
class QuasiNewton final : public Solver {
 public:
  /// like: [B] or [R, B], in the network's dtype and device.
  QuasiNewton(const at::Tensor& like, int pairs);
  ~QuasiNewton() override;

  void step(Energy& energy, SampleControl& control, bool last) override;
  void keep(const at::Tensor& rows) override;
  at::Tensor step_sizes() const override;

 private:
  class Rows;
  template <typename T>
  class RowsOf;

  at::Tensor like_;
  std::unique_ptr<Rows> rows_;
};

}  // namespace pcxx::inference
