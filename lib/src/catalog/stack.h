#pragma once

#include <pcxx/config/config.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "nn/layer_parts.h"

/// Networks as the key `layers` writes them, layer by layer.
namespace pcxx::catalog {

/// Whether the model's network is written as `layers`.
bool has_stack(const config::Config& model);

/// The layers that the model's `layers` stand for, between so many inputs and outputs. Throws
/// UserError, which names the layer by its number, where they do not fit.
std::vector<nn::StackedLayer> stack_of(const config::Config& model, std::int64_t inputs,
                                       std::int64_t outputs);

nn::NetworkOptions options_of(const std::vector<nn::StackedLayer>& stack);

/// Whether a kind of that name is there.
bool is_layer_kind(std::string_view name);

/// What --help says of the kinds, with their keys and defaults.
std::string layer_kinds_doc();

}  // namespace pcxx::catalog
