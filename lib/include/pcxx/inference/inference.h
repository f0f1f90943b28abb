#pragma once

#include <pcxx/data/batch.h>
#include <pcxx/inference/report.h>
#include <pcxx/nn/feedforward.h>

#include <string_view>
#include <vector>

namespace pcxx::inference {

/// The end of an inference: activities and prediction errors at (or near) the minimum over hidden
/// activities of E = sum_b sum_l 1/2 ||x_l - f_l(W_l x_{l-1})||^2, input and target clamped (eq.
/// 2).
///
///   feedforward   the target-free pass that inference started from: xhat
///   activities    x_l, l = 0..L; x_L is the target
///   outputs       what layer l keeps at x_{l-1} (nn/layer.h), l = 1..L: a_l = f_l(W_l x_{l-1} +
///                 b_l), from which f_l' is taken, or what f_l is of, where a_l does not tell f_l';
///                 outputs[0] is undefined
///   errors        eps_l = x_l - (prediction of layer l), l = 1..L; errors[0] is undefined
struct Equilibrium {
  nn::Feedforward feedforward;
  std::vector<at::Tensor> activities;
  std::vector<nn::Kept> outputs;
  std::vector<at::Tensor> errors;
  Report report;
};

/// A way of minimising the energy over the hidden activities. Samples do not interact: a sample's
/// result does not depend on its batch, and energies are summed over it, never averaged.
class Inference {
 public:
  virtual ~Inference() = default;

  /// Never throws on numerical trouble: a diverged sample is reported, with non-finite values.
  virtual Equilibrium infer(const nn::NetworkImpl& network, const data::Batch& batch) const = 0;

  virtual std::string_view name() const = 0;
};

}  // namespace pcxx::inference
