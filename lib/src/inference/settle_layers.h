#pragma once

#include <pcxx/inference/own_layers.h>
#include <pcxx/inference/settle.h>

namespace pcxx::inference {

/// `settle` in a network of any layers, by autograd; input and target [B, ...].
Settled settle_layers(const std::vector<Layer>& layers, const at::Tensor& input,
                      const at::Tensor& target, const DescentOptions& options,
                      std::string_view method, const MakeSolver& make_solver);

}  // namespace pcxx::inference
