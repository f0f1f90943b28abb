#pragma once

#include <pcxx/inference/settle.h>

namespace pcxx::inference {

/// `settle` in a network that has layers of a custom kind (nn/layer.h) beside Dense ones.
Equilibrium settle_mixed(const nn::NetworkImpl& network, const data::Batch& batch,
                         const DescentOptions& options, std::string_view method,
                         const MakeSolver& make_solver);

}  // namespace pcxx::inference
