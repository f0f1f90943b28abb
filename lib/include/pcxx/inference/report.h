#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace pcxx::inference {

/// Where between backpropagation and predictive coding the learning signal is.
enum class Regime {
  kBackpropLike,  ///< the mean residual is above 1/2: errors are still close to those of one step,
                  ///< the step size times BP's gradients
  kIntermediate,
  kEquilibrium,  ///< every sample has converged
};

std::string_view name(Regime regime);

/// How an inference went, per sample. All tensors are [B], or [R, B] in an ensemble, float64,
/// integer or bool, on the network's device.
///
///   energy     E_b = sum_l 1/2 ||eps_l||^2 after inference
///   residual   ||dE/d(variables)|| relative to its value at the feed-forward pass (0 if that is 0)
///   gap_bound  1/2 ||dE/d(eps)||^2: the energy lies no further above its minimum. In the errors
///              the Hessian of a linear network is I + J^T J >= I, so this holds there, and in
///              piecewise linear networks (identity, ReLU, LeakyReLU) within the piece that the
///              sample is in. NaN where it says nothing: with any other activation, whose curvature
///              has another sign in places, and for state descent, whose variables are others
///   steps      passes (forward and back) until the sample stopped
///   converged  by residual or by energy decrease, within the step limit
///   unstable   its fixed step exceeds 2 / curvature; unless DescentOptions::keep_unstable it has
///              stopped, and its errors are NaN
///   step_size  eta of the sample; 0 for methods that have none
///   curvature  of the energy, where a power iteration has chosen a step size or found it unstable
///              (inference/curvature.h measures it at any time); 0 where there was none
struct Report {
  std::string method;
  at::Tensor energy;
  at::Tensor residual;
  at::Tensor gap_bound;
  at::Tensor steps;
  at::Tensor converged;
  at::Tensor unstable;
  at::Tensor step_size;
  at::Tensor curvature;
  bool bounds_gap = true;  ///< gap_bound is one

  /// All its tensors.
  std::array<at::Tensor*, 8> fields() {
    return {&energy, &residual, &gap_bound, &steps, &converged, &unstable, &step_size, &curvature};
  }

  /// What follows where it is none.
  void drop_gap_bound();
  /// Of all samples.
  Regime regime() const;
  bool all_converged() const;
  bool any_unstable() const;
  double mean_energy() const;
  double max_residual() const;
  std::int64_t max_steps() const;
  double mean_steps() const;
  /// One line: "error_descent: 64/64 converged in 12 steps, residual 8.2e-05, equilibrium", and
  /// where a fixed step was too large, what would not be.
  std::string brief() const;
};

/// A report in numbers, by metric; each is [] or [R], float64.
///
///   inference_passes       until the slowest sample stopped
///   inference_mean_passes  of a sample, on average
///   inference_energy       E_b on average
///   inference_residual     the largest
///   inference_gap_bound    on average; left out where it says nothing
///   inference_curvature    the largest
///   inference_converged    fraction of the samples
///   inference_unstable     fraction of the samples
///   inference_regime       0 backprop-like, 1 intermediate, 2 equilibrium
std::map<std::string, at::Tensor> measurements(const Report& report);

}  // namespace pcxx::inference
