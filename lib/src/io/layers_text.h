#pragma once

#include <pcxx/io/checkpoint.h>
#include <pcxx/nn/network.h>

#include <string>

/// The layers of a network as JSON, as a file of weights describes them:
///
///   [{"in_features": 784, "out_features": 10, "activation": "relu", "bias": false,
///     "residual": false}, ...]
///
/// each with "members" too in an ensemble, and with "kind" where it is not Dense and has a text
/// (nn/layer.h, `description`).
namespace pcxx::io {

std::string layers_text(const nn::NetworkImpl& network);

/// Throws UserError, one sentence with `path`, unless `text` describes this network.
void check_layers(const std::string& text, const nn::NetworkImpl& network, const std::string& path);

/// The network that `text` describes, without dtype and loss. Throws UserError with `path` where the
/// key `layers` cannot write it.
DescribedNetwork network_of_text(const std::string& text, const std::string& path);

}  // namespace pcxx::io
