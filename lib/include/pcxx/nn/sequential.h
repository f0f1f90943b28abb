#pragma once

#include <pcxx/nn/network.h>
#include <torch/nn/modules/container/sequential.h>

namespace pcxx::nn {

/// The network of a torch::nn::Sequential of Linear layers, each with at most one of ReLU, Sigmoid,
/// Tanh, LeakyReLU(0.01) and Identity behind it, in the order in which they stand.
///
///   torch::nn::Sequential model(torch::nn::Linear(20, 50), torch::nn::ReLU(),
///                               torch::nn::Linear(50, 10));
///   auto net = from_sequential(model);
///
/// Both have one memory: what trains the one trains the other, until one of them is cast, moved or
/// loaded. Gradients are each one's. A parameter that is frozen is so in both. Throws c10::Error
/// with the place and name of a module that a network has not.
Network from_sequential(const torch::nn::Sequential& model);

/// The other way round, Linear layers and what stands behind them; Identity is left out. One memory
/// as above. Throws c10::Error for an ensemble, a residual layer and a layer that is not Dense.
torch::nn::Sequential to_sequential(const NetworkImpl& network);

}  // namespace pcxx::nn
