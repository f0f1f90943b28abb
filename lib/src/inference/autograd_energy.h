#pragma once

#include <pcxx/inference/energy.h>
#include <pcxx/inference/own_layers.h>

namespace pcxx::inference {

/// The energy of a network of any layers in its hidden errors, x_l = f_l(x_{l-1}) + eps_l.
class AutogradEnergy final : public Energy {
 public:
  /// At eps = 0. target: [B, ...], in the dtype and on the device of the layers' parameters.
  AutogradEnergy(const std::vector<Layer>& layers, const at::Tensor& input, at::Tensor target);

  std::vector<at::Tensor> variables() override { return errors_; }
  void forward(bool last) override;
  std::vector<at::Tensor> gradients() override;
  const at::Tensor& gradient_squares() const override { return gradient_squares_; }
  const at::Tensor& energy_squares() const override { return energy_squares_; }
  std::unique_ptr<Energy> select(const at::Tensor& rows) const override;

  /// f_L at the errors of the last way forward, [B, ...].
  const at::Tensor& prediction() const { return prediction_; }
  /// Of the last way forward: hidden activities x_1..x_{L-1}, and E_b.
  const std::vector<at::Tensor>& hidden() const { return hidden_; }
  at::Tensor energy() const;

 private:
  AutogradEnergy(const AutogradEnergy& whole, const at::Tensor& rows);

  const std::vector<Layer>* layers_;
  at::Tensor first_output_;  // f_1(x_0), which no error changes
  at::Tensor target_;
  std::vector<at::Tensor> errors_;  // eps_1..eps_{L-1}, [B, n_l]
  std::vector<at::Tensor> leaves_;  // the same numbers, as autograd knows them
  std::vector<at::Tensor> hidden_;
  at::Tensor prediction_;
  at::Tensor output_square_;  // ||r_b||^2, with its graph
  at::Tensor gradient_squares_;
  at::Tensor energy_squares_;
};

}  // namespace pcxx::inference
