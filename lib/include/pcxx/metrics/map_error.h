#pragma once

#include <pcxx/nn/network.h>

#include <cstdint>

/// Distance of a linear network's map from the teacher's W_data [n_L, n_0] (or one per member,
/// [R, n_L, n_0]). Results are [] or [R]. Biases are no part of the map. All throw c10::Error for a
/// network that is not linear or a teacher that does not fit.
namespace pcxx::metrics {

/// M_L ... M_1 [n_L, n_0] or [R, n_L, n_0], M_l = W_l, or I + W_l when residual.
at::Tensor effective_map(const nn::NetworkImpl& network);

/// Map error: mean over entries of (W_data - M_L ... M_1)^2. What "mean squared error of the map"
/// means everywhere here; the paper writes ||.||_2^2 as well.
at::Tensor map_error(const nn::NetworkImpl& network, const at::Tensor& teacher);

/// ||W_data - M_L ... M_1||_F^2 = map error times the number of entries.
at::Tensor map_error_squared_frobenius(const nn::NetworkImpl& network, const at::Tensor& teacher);

/// The least map error of any map of rank k: sum_{i>k} sigma_i(W_data)^2 / entries; 0 where k is no
/// bottleneck. In float64. A teacher that is not finite gives NaN.
at::Tensor least_map_error(const at::Tensor& teacher, std::int64_t k);

/// k: the width of the narrowest layer, input and output included.
std::int64_t narrowest_width(const nn::NetworkImpl& network);

/// Map error minus the least that the network's narrowest layer allows: 0 at the optimum and never
/// negative but for rounding. To use at every step, compute least_map_error once and subtract it.
at::Tensor excess_map_error(const nn::NetworkImpl& network, const at::Tensor& teacher);

}  // namespace pcxx::metrics
