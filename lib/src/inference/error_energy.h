#pragma once

#include "inference/errors_energy.h"

namespace pcxx::inference {

/// One layer as a pass needs it.
struct LayerView {
  explicit LayerView(const nn::DenseImpl& layer);

  /// z = W x + b
  void preactivation_out(at::Tensor& z, const at::Tensor& x) const;

  at::Tensor weight;
  at::Tensor bias;
  nn::Activation activation;
  bool residual;
};

/// That of a network of Dense layers. W_1 x_0 never changes; the element-wise work between two
/// products is one pass over memory, and every buffer is allocated once.
class ErrorEnergy final : public ErrorsEnergy {
 public:
  /// At eps = 0. `pass` is the feed-forward pass of the batch, target as the network takes it.
  ErrorEnergy(const nn::NetworkImpl& network, const nn::Feedforward& pass,
              const at::Tensor& target);

  std::vector<at::Tensor> variables() override;
  void forward(bool last) override;
  void descend(const at::Tensor& step) override;
  std::vector<at::Tensor> gradients() override;
  const at::Tensor& gradient_squares() const override { return gradient_squares_; }
  const at::Tensor& energy_squares() const override { return energy_squares_; }
  at::Tensor curvature(const at::Tensor& rows, int iterations) const override;
  std::unique_ptr<Energy> select(const at::Tensor& rows) const override;

  at::Tensor energy() const override;
  at::Tensor like() const override { return at::empty_like(energy_squares_); }
  Equilibrium finish(nn::Feedforward pass, Report report) override;

 private:
  ErrorEnergy(const nn::NetworkImpl& network, std::vector<LayerView> views, at::Tensor input,
              at::Tensor first_output, const at::Tensor& target);

  void allocate();
  void at_zero(const nn::Feedforward& pass);
  void forward_output(bool last);
  void take_output(const at::Tensor& output, const at::Tensor& prediction);
  void start_way_back();
  void pull_back(std::size_t l);
  const at::Tensor& output(std::size_t l) const;
  const LayerView& view(std::size_t l) const { return views_[l - 1]; }

  const nn::NetworkImpl& network_;
  std::size_t depth_;
  std::vector<LayerView> views_;
  at::Tensor target_;
  std::vector<at::Tensor> activities_;      // x_l
  std::vector<at::Tensor> outputs_;         // a_l = f_l(W_l x_{l-1} + b_l)
  std::vector<at::Tensor> errors_;          // eps_l
  std::vector<at::Tensor> deltas_;          // -dE/dx_l through the layers above
  std::vector<at::Tensor> slopes_applied_;  // h_l = delta_l * f_l'
  std::vector<at::Tensor> gradients_;       // dE/deps_l, where asked for
  at::Tensor r_;
  at::Tensor energy_squares_;  // ||r||^2 after the way forward, 2 E_b after the way back
  at::Tensor gradient_squares_;
  std::vector<nn::Kept> zero_outputs_;  // a_l at eps = 0, before the first way forward
  bool top_delta_known_ = false;        // delta_{L-1} came with the last way forward
};

}  // namespace pcxx::inference
