#pragma once

#include <pcxx/inference/descent_options.h>
#include <pcxx/inference/inference.h>

namespace pcxx::inference {

/// L-BFGS in a network that has layers of one's own (nn/layer.h) beside Dense ones: derivatives of
/// all layers by autograd.
Equilibrium infer_mixed(const nn::NetworkImpl& network, const data::Batch& batch,
                        const DescentOptions& options);

}  // namespace pcxx::inference
