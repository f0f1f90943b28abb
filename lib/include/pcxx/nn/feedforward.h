#pragma once

#include <pcxx/nn/network.h>

#include <vector>

namespace pcxx::nn {

/// What a feed-forward pass leaves behind, without autograd.
///
///   activities[l]  xhat_l, l = 0..L: [B, n_l] or [R, B, n_l]; activities[L] is the prediction
///   outputs[l]     what layer l keeps for the way back (nn/layer.h): a_l = f_l(W_l xhat_{l-1} +
///                  b_l), l = 1..L, from which f_l' is taken; the same tensor as activities[l]
///                  unless the layer is residual. Where a_l does not tell f_l' (nn/activation.h),
///                  what f_l is taken of. outputs[0] is undefined.
struct Feedforward {
  std::vector<at::Tensor> activities;
  std::vector<Kept> outputs;

  const at::Tensor& prediction() const { return activities.back(); }
};

/// xhat_0 = x, xhat_l = f_l(W_l xhat_{l-1}) (+ xhat_{l-1} when residual).
Feedforward feedforward(const NetworkImpl& network, const at::Tensor& input);

/// z = W x + b of one layer, without autograd; x [B, n_in] or [R, B, n_in].
at::Tensor preactivation(const DenseImpl& layer, const at::Tensor& x);

}  // namespace pcxx::nn
