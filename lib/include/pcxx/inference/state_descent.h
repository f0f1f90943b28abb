#pragma once

#include <pcxx/inference/descent_options.h>
#include <pcxx/inference/inference.h>

namespace pcxx::inference {

/// State descent, sPC: the hidden activities are the variables, x_l <- x_l - eta dE/dx_l from x =
/// xhat (appendix B.2), all layers at once, with
///
///   dE/dx_l = eps_l - W_{l+1}^T (eps_{l+1} * f_{l+1}') (- eps_{l+1} when layer l+1 is residual)
///
/// The paper's nonlinear setting is eta = 0.05 and 10,000 steps, the defaults here. The step size
/// is the user's.
class StateDescent final : public Inference {
 public:
  explicit StateDescent(DescentOptions options = {.max_steps = 10000, .step_size = 0.05});

  Equilibrium infer(const nn::NetworkImpl& network, const data::Batch& batch) const override;
  std::string_view name() const override { return "state_descent"; }
  const DescentOptions& options() const { return options_; }

 private:
  DescentOptions options_;
};

}  // namespace pcxx::inference
