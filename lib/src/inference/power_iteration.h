#pragma once

#include <pcxx/nn/network.h>

#include <vector>

namespace pcxx::inference {

/// Rayleigh quotient of I + J^T J after some power iterations from J^T residual, where the layers'
/// outputs a_l (element l) are these. [B] or [R, B]; 1 where there is no hidden layer.
at::Tensor power_iteration(const nn::NetworkImpl& network, const std::vector<at::Tensor>& outputs,
                           const at::Tensor& residual, int iterations);

}  // namespace pcxx::inference
