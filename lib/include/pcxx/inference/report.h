#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace pcxx::inference {

/// Where between backpropagation and predictive coding the learning signal is.
enum class Regime {
  kBackpropLike,  ///< errors are still close to one step's: the step size times BP's gradients
  kIntermediate,
  kEquilibrium,  ///< every sample has converged
};

std::string_view name(Regime regime);

/// How an inference went, per sample. All tensors are [B], or [R, B] in an ensemble, float64 or
/// integer, on the network's device.
///
///   energy      E_b = sum_l 1/2 ||eps_l||^2 after inference
///   residual    ||dE/d(variables)|| relative to its value at the feed-forward pass (0 if that is
///   0) steps       steps until the sample stopped converged   by residual or by energy decrease,
///   within the step limit step_size   eta used for the sample; 0 where the solution is closed form
struct Report {
  std::string method;
  at::Tensor energy;
  at::Tensor residual;
  at::Tensor steps;
  at::Tensor converged;
  at::Tensor step_size;
  Regime regime = Regime::kEquilibrium;

  bool all_converged() const;
  double mean_energy() const;
  double max_residual() const;
  std::int64_t max_steps() const;
  /// One line: "error_descent: 64/64 converged in 12 steps, residual 8.2e-05, equilibrium".
  std::string brief() const;
};

}  // namespace pcxx::inference
