#pragma once

#include <torch/optim/optimizer.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

/// LibTorch's optimizers by the names that configs use.
namespace pcxx::optim {

/// "sgd", "adam", "adamw", "rmsprop".
std::vector<std::string> optimizer_names();

/// With PyTorch's defaults but for the rate. Throws c10::Error on any other name.
std::unique_ptr<torch::optim::Optimizer> make_optimizer(std::string_view name,
                                                        std::vector<at::Tensor> parameters,
                                                        double learning_rate);

}  // namespace pcxx::optim
