#pragma once

#include <pcxx/nn/network.h>

namespace pcxx::nn {

/// `weight` [.., m, n] with its singular values replaced by a linear spectrum from kappa to 1
/// (eq. 31: sigma_i = kappa - (kappa - 1) (i - 1) / (k - 1), i = 1..k, k = min(m, n)) and rescaled
/// to the old Frobenius norm (eq. 32); singular vectors stay (eq. 30, which prints W^T for V^T). A
/// matrix with k = 1 is returned unchanged. Computed in float64. kappa is finite and >= 1.
at::Tensor with_condition_number(const at::Tensor& weight, double kappa);

/// Sets the condition number of every weight matrix of the network.
void set_condition_number_(NetworkImpl& network, double kappa);

/// sigma_max / sigma_min of `weight` [.., m, n] -> [..], in float64.
at::Tensor condition_number(const at::Tensor& weight);

}  // namespace pcxx::nn
