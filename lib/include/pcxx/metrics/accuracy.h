#pragma once

#include <pcxx/nn/network.h>

#include <cstdint>

namespace pcxx::metrics {

/// Part of the samples whose largest output is their label's, in [0, 1]: [] or [R], float64, in
/// chunks of samples, so that no temporary grows with N. inputs [N, n_0], of a floating type in any
/// precision; labels int64 [N], of 0 .. n_L - 1. Of equal outputs the first counts as the largest,
/// and a sample with a NaN among its outputs as wrong. Throws c10::Error on wrong shapes or labels,
/// no samples or a chunk size below 1.
at::Tensor accuracy(const nn::NetworkImpl& network, const at::Tensor& inputs,
                    const at::Tensor& labels, std::int64_t chunk = 1000);

/// How often samples of each label (a row) were taken for each class (a column), as `accuracy`
/// counts: [n_L, n_L], int64 on the CPU. A sample with a NaN among its outputs stands in no column.
/// The network is single, or an ensemble of one. Throws c10::Error as `accuracy` does.
at::Tensor confusion_matrix(const nn::NetworkImpl& network, const at::Tensor& inputs,
                            const at::Tensor& labels, std::int64_t chunk = 1000);

}  // namespace pcxx::metrics
