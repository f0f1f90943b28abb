#pragma once

#include <pcxx/learning/factors.h>
#include <pcxx/nn/layer.h>

namespace pcxx::learning {

/// Of layer l, from gradients that are summed over the samples.
OwnDirections own_directions(std::size_t l, const nn::Layer& layer, std::vector<at::Tensor> sums,
                             std::int64_t samples);

}  // namespace pcxx::learning
