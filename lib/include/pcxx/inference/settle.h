#pragma once

#include <pcxx/inference/descent_options.h>
#include <pcxx/inference/inference.h>
#include <pcxx/inference/solver.h>

#include <functional>
#include <memory>
#include <string_view>

namespace pcxx::inference {

/// Makes a solver for one batch. like: [B] or [R, B], in the network's dtype and device.
using MakeSolver = std::function<std::unique_ptr<Solver>(const at::Tensor& like)>;

/// Minimises the energy over the hidden errors, x_l = f_l(W_l x_{l-1}) + eps_l from eps = 0, by any
/// solver: an inference method is a solver and a call of this.
///
///   Equilibrium infer(const nn::NetworkImpl& network, const data::Batch& batch) {
///     const DescentOptions options{.max_steps = 50};
///     return settle(network, batch, options, "momentum_descent",
///                   [](const at::Tensor& like) { return std::make_unique<Momentum>(like); });
///   }
///
/// Passes, the stop of each sample and the report are the same for all solvers. Of the options
/// max_steps, tolerance and energy_tolerance count here. The derivatives of Dense layers are
/// written out; where there are others, those of all layers come from autograd.
Equilibrium settle(const nn::NetworkImpl& network, const data::Batch& batch,
                   const DescentOptions& options, std::string_view method,
                   const MakeSolver& make_solver);

}  // namespace pcxx::inference
