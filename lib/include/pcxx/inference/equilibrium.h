#pragma once

#include <pcxx/inference/inference.h>

namespace pcxx::inference {

/// Closed form for linear and linear residual networks (eq. 7, 33-36), one Cholesky factorisation
/// for the whole batch. With M_l = W_l (I + W_l when residual), P_L = I, P_{l-1} = P_l M_l:
///
///   S = sum_l P_l P_l^T  [n_L, n_L],   S v = r,   eps*_L = v,   eps*_l = M_{l+1}^T eps*_{l+1},
///   x*_0 = x,   x*_l = M_l x*_{l-1} + b_l + eps*_l
///
/// O(L n^3), never the Hessian of all activities. The equilibrated energy is 1/2 r^T S^-1 r. An
/// ensemble member whose S cannot be factorised is reported as not converged, with non-finite
/// values. Throws c10::Error for a network that is not linear.
class ClosedForm final : public Inference {
 public:
  Equilibrium infer(const nn::NetworkImpl& network, const data::Batch& batch) const override;
  std::string_view name() const override { return "closed_form"; }
};

/// S of eq. 4 for a linear network, [n_L, n_L] or [R, n_L, n_L]. `lower` fills the lower triangle
/// only (in blocks; what lies above is unspecified), which is all that a Cholesky factorisation
/// reads.
at::Tensor energy_scaling(const nn::NetworkImpl& network, bool lower = false);

}  // namespace pcxx::inference
