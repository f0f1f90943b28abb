#pragma once

#include <pcxx/inference/inference.h>

namespace pcxx::inference {

/// Largest eigenvalue of I + J^T J per sample, J = d yhat / d eps at the feed-forward pass, by
/// `iterations` power iterations from the gradient of the energy: a lower bound that grows with the
/// iterations. In linear networks it is lambda_max(S), and error descent is stable iff
/// eta < 2 / lambda_max. Returns [B] or [R, B].
at::Tensor curvature(const nn::NetworkImpl& network, const data::Batch& batch, int iterations);

/// The same where an inference has ended.
at::Tensor curvature(const nn::NetworkImpl& network, const Equilibrium& state, int iterations);

}  // namespace pcxx::inference
