#pragma once

#include <pcxx/inference/descent_options.h>
#include <pcxx/inference/energy.h>
#include <pcxx/inference/solver.h>
#include <pcxx/nn/feedforward.h>

#include <memory>
#include <string_view>

namespace pcxx::inference {

/// The energy of a network as a function of its hidden errors, ePC: x_l = f_l(x_{l-1}) + eps_l,
/// from eps = 0.
class ErrorsEnergy : public Energy {
 public:
  /// E_b at the errors of the last way forward.
  virtual at::Tensor energy() const = 0;
  /// One number per sample, in the network's dtype and device: how solvers count them.
  virtual at::Tensor like() const = 0;
  /// The state, of an energy that is not needed any more.
  virtual Equilibrium finish(nn::Feedforward pass, Report report) = 0;
};

/// At eps = 0, by the fastest means for these layers: that of Dense layers, all of them, is fused.
/// `pass` is the feed-forward pass of the batch, target as the network takes it.
std::unique_ptr<ErrorsEnergy> errors_energy(const nn::NetworkImpl& network,
                                            const nn::Feedforward& pass, const at::Tensor& target);

/// `minimise`, and what is to be said of it.
Equilibrium minimise_errors(const nn::NetworkImpl& network, nn::Feedforward pass,
                            ErrorsEnergy& energy, Solver& solver, SampleControl& control,
                            const DescentOptions& options, std::string_view method);

}  // namespace pcxx::inference
