#pragma once

#include <pcxx/learning/factors.h>
#include <pcxx/nn/feedforward.h>

#include <vector>

namespace pcxx::metrics {

/// An update of all parameters, W_l -> W_l + rate * weights[l - 1], l = 1..L, and the same for the
/// biases. A bias is undefined where its layer has none; `biases` may then be empty altogether.
///   weights[l - 1]  D_l [n_l, n_{l-1}] or [R, ...], or of its weight's shape, as in convolutions;
///   biases[l - 1]  [n_l] or [R, n_l]
///   own[l - 1]      of all parameters of a layer, in their order, where it has no weight here;
///                   each may be undefined. Empty where there is no such layer
struct Update {
  std::vector<at::Tensor> weights;
  std::vector<at::Tensor> biases;
  std::vector<std::vector<at::Tensor>> own = {};
};

/// From any list of directions of the Dense layers, with members `weight` and `bias`, such as
/// optim::Direction.
template <typename Directions>
Update make_update(const Directions& directions) {
  Update update;
  for (const auto& direction : directions) {
    update.weights.push_back(direction.weight);
    update.biases.push_back(direction.bias);
  }
  return update;
}

/// The same of any step: layers whose factors it holds have a direction each, in their order, the
/// others are in `step.own`.
template <typename Directions>
Update make_update(const nn::NetworkImpl& network, const learning::Step& step,
                   const Directions& directions) {
  Update dense = make_update(directions);
  if (step.own.empty()) return dense;
  Update update;
  auto own = step.own.begin();
  std::size_t next = 0;
  for (std::size_t l = 1; l <= network.size(); ++l) {
    const bool is_own = own != step.own.end() && own->layer == l;
    if (is_own) {
      update.weights.emplace_back();
      update.biases.emplace_back();
      update.own.push_back((own++)->directions);
    } else {
      update.weights.push_back(dense.weights[next]);
      update.biases.push_back(dense.biases[next++]);
      update.own.emplace_back();
    }
  }
  return update;
}

/// The update that the gradients hold, the negative of every `.grad`. Throws c10::Error when a
/// weight has none.
Update update_of_gradients(const nn::NetworkImpl& network);

/// First-order change of the predictions by an update, per unit of rate: the derivative of yhat
/// along the update at the network's parameters, by a forward pass of tangents d_l = d xhat_l / d
/// rate,
///
///   d_0 = 0,   d_l = f_l' * (W_l d_{l-1} + D_l xhat_{l-1} + db_l)  (+ d_{l-1} when residual).
///
/// In linear networks this is sum_l P_l D_l xhat_{l-1} (eq. 6 and 8). `pass` may be of any inputs,
/// such as held-out ones. Returns [B, n_L] or [R, B, n_L]. Throws c10::Error when the update does
/// not fit.
at::Tensor first_order_change(const nn::NetworkImpl& network, const nn::Feedforward& pass,
                              const Update& update);

/// Change by one finite step, (yhat(W + rate D) - yhat(W)) / rate, which tends to the first-order
/// change as the rate goes to 0. The network is left as it is: W_l + rate D_l is formed layer by
/// layer. In float32 rounding leaves little of a change by so small a step.
at::Tensor finite_change(const nn::NetworkImpl& network, const nn::Feedforward& pass,
                         const Update& update, double rate = 1e-4);

}  // namespace pcxx::metrics
