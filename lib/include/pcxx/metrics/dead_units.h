#pragma once

#include <pcxx/nn/feedforward.h>

namespace pcxx::metrics {

/// Fraction of the hidden ReLU units that are inactive for every sample of a feed-forward pass, []
/// or [R], float64; NaN in a network without any. They pass on no error, so their weights are not
/// learnt, and an inference over them has converged before it begins. One sample leaves many units
/// inactive that others need: some hundred tell.
at::Tensor dead_units(const nn::NetworkImpl& network, const nn::Feedforward& pass);

}  // namespace pcxx::metrics
