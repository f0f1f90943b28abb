#pragma once

#include "inference/errors_energy.h"

namespace pcxx::inference {

/// That of a network of any layers, whose derivatives are those that each layer gives. An ensemble
/// has one member.
class LayerEnergy final : public ErrorsEnergy {
 public:
  LayerEnergy(const nn::NetworkImpl& network, const nn::Feedforward& pass,
              const at::Tensor& target);

  std::vector<at::Tensor> variables() override;
  void forward(bool last) override;
  std::vector<at::Tensor> gradients() override;
  const at::Tensor& gradient_squares() const override { return gradient_squares_; }
  const at::Tensor& energy_squares() const override { return energy_squares_; }
  at::Tensor curvature(const at::Tensor& rows, int iterations) const override;
  std::unique_ptr<Energy> select(const at::Tensor& rows) const override;

  at::Tensor energy() const override;
  at::Tensor like() const override { return at::empty_like(energy_squares_); }
  Equilibrium finish(nn::Feedforward pass, Report report) override;

 private:
  LayerEnergy(const LayerEnergy& whole, const at::Tensor& rows);

  // [B, n] of what layers see as [1, B, n] in an ensemble of one, and back.
  at::Tensor of_samples(const at::Tensor& x) const { return ensemble_ ? x.squeeze(0) : x; }
  at::Tensor of_layers(const at::Tensor& x) const { return ensemble_ ? x.unsqueeze(0) : x; }
  // Twice the output's energy.
  at::Tensor squares_of_output(const at::Tensor& prediction) const;

  const nn::NetworkImpl& network_;
  bool ensemble_;
  nn::Kept first_output_;  // of layer 1, and the prediction of x_1, which no error changes
  at::Tensor first_prediction_;
  at::Tensor target_;
  std::vector<at::Tensor> errors_;      // eps_1..eps_{L-1} (element l - 1), [B, n_l]
  std::vector<at::Tensor> activities_;  // x_l, l = 0..L, as layers see them
  std::vector<nn::Kept> outputs_;       // of layers l = 1..L
  at::Tensor residual_;
  at::Tensor output_squares_;  // twice the output's energy after the last way forward
  at::Tensor energy_squares_;  // and 2 E_b after the way back
  at::Tensor gradient_squares_;
};

}  // namespace pcxx::inference
