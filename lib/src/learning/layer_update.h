#pragma once

#include <pcxx/learning/factors.h>
#include <pcxx/nn/layer.h>

namespace pcxx::learning {

/// Adds to a step what layer l learns: factors where it has a weight, directions where not.
///
///   pulled       the way back of the layer's error, at the presynaptic activity
///   presynaptic  u_{l-1}, feedforward xhat_{l-1}: as the layer sees them
///   samples      the B of 1/B
void add_update(Step& step, std::size_t l, const nn::Layer& layer, nn::Pulled pulled,
                const at::Tensor& presynaptic, const at::Tensor& feedforward, std::int64_t samples);

}  // namespace pcxx::learning
