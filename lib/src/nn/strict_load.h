#pragma once

#include <torch/nn/module.h>

namespace pcxx::nn {

/// Module::load of an archive with the module's parameters, of the same shapes. Throws c10::Error,
/// and changes nothing, when it holds others.
void load_strictly(torch::nn::Module& module, torch::serialize::InputArchive& archive);

}  // namespace pcxx::nn
