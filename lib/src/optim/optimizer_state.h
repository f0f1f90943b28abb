#pragma once

#include <pcxx/core/state.h>
#include <torch/optim/optimizer.h>

#include <vector>

/// What the optimizers of LibTorch remember, as data. LibTorch itself writes it as an archive,
/// whose reader can run code.
namespace pcxx::optim {

/// The tensors that the optimizer remembers of a parameter; none of optimizers that are not known.
std::vector<at::Tensor> memory_of(torch::optim::OptimizerParamState& state);

/// Its memory, and the learning rate of each group of parameters. Throws c10::Error for an
/// optimizer with a memory that is not known here.
State state_of(const torch::optim::Optimizer& optimizer);

/// Takes such a state. Throws c10::Error, and changes nothing, when it does not fit the parameters.
void set_state(torch::optim::Optimizer& optimizer, const State& state);

}  // namespace pcxx::optim
