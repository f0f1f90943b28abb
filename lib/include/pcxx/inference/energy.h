#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

namespace pcxx::inference {

/// The energy of a batch as a function of one variable per hidden layer: what solvers minimise. A
/// pass is the way forward, which leaves the energies, and the way back, which leaves gradients.
/// All values are per sample, [B] or [R, B].
class Energy {
 public:
  virtual ~Energy() = default;

  /// The variables of hidden layers 1..L-1 (element l - 1), [.., B, n_l]. Where they have been
  /// moved, `forward` comes before the next way back.
  virtual std::vector<at::Tensor> variables() = 0;
  virtual void forward(bool last) = 0;

  /// The way back, and x <- x - step * gradient with it. step: one value a sample.
  virtual void descend(const at::Tensor& step);
  /// The way back alone: gradients, one per variable, contiguous.
  virtual std::vector<at::Tensor> gradients() = 0;

  /// Of the point that the last way back started from.
  virtual const at::Tensor& gradient_squares() const = 0;
  /// 2 E_b of that point.
  virtual const at::Tensor& energy_squares() const = 0;

  /// Estimates the largest eigenvalue of the energy's Hessian there by power iterations, for the
  /// samples `rows` (int64, as if flattened), within the piece of the network that each is in.
  /// Undefined if this energy cannot.
  virtual at::Tensor curvature(const at::Tensor& /*rows*/, int /*iterations*/) const { return {}; }

  /// The samples at `rows` (int64) alone, with their variables; nothing if this energy cannot.
  /// `forward` comes first.
  virtual std::unique_ptr<Energy> select(const at::Tensor& rows) const = 0;
};

}  // namespace pcxx::inference
