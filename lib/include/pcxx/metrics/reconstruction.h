#pragma once

#include <pcxx/nn/network.h>

#include <cstdint>

namespace pcxx::metrics {

/// Mean of the loss's errors (nn/loss.h) over samples, [] or [R], float64, in chunks of samples, so
/// that no temporary grows with N. inputs [N, n_0] and targets [N, n_L], of a floating type in any
/// precision, or uint8 images, which are scaled by 1/255. Independent of the chunk size up to
/// rounding. Throws c10::Error on wrong shapes, no samples or a chunk size below 1.
at::Tensor mean_error(const nn::NetworkImpl& network, const nn::Loss& loss,
                      const at::Tensor& inputs, const at::Tensor& targets,
                      std::int64_t chunk = 250);

/// That of the squared error: mean over samples and outputs of (yhat - y)^2.
at::Tensor mean_squared_error(const nn::NetworkImpl& network, const at::Tensor& inputs,
                              const at::Tensor& targets, std::int64_t chunk = 250);

/// Reconstruction error of an autoencoder: mean squared error per pixel with the images themselves
/// as targets. images [N, n].
at::Tensor reconstruction_error(const nn::NetworkImpl& network, const at::Tensor& images,
                                std::int64_t chunk = 250);

}  // namespace pcxx::metrics
