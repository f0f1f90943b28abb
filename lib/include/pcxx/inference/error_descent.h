#pragma once

#include <pcxx/inference/descent_options.h>
#include <pcxx/inference/inference.h>

namespace pcxx::inference {

/// Error descent, ePC (Goemaere et al. 2025, arXiv 2505.20137): the hidden errors are the
/// variables,
///
///   x_l = f_l(W_l x_{l-1}) + eps_l (+ x_{l-1} when residual),
///   E = 1/2 sum_l ||eps_l||^2 + 1/2 ||y - yhat(eps)||^2,
///   eps <- eps - eta dE/deps   from eps = 0,
///
/// whose stationary points are those of state descent, reached far sooner. W_1 x_0 is computed
/// once. In a linear network it is stable iff eta < 2 / lambda_max(S). A step size of the caller's
/// that has become unstable stops the samples concerned, with NaN for their errors, and the report
/// says so.
class ErrorDescent final : public Inference {
 public:
  explicit ErrorDescent(DescentOptions options = {});

  Equilibrium infer(const nn::NetworkImpl& network, const data::Batch& batch) const override;
  std::string_view name() const override { return "error_descent"; }
  const DescentOptions& options() const { return options_; }

 private:
  DescentOptions options_;
};

}  // namespace pcxx::inference
