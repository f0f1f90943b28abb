#pragma once

#include <pcxx/nn/activation.h>
#include <pcxx/nn/layer.h>

#include <cstdint>
#include <ostream>

namespace pcxx::nn {

/// f(x), number by number, as a layer of its own: behind pooling, or before the weight of a block.
/// It has no parameters. As a layer of a network it has a prediction error of its own.
///
///   ActivationLayer(128, Activation::kReLU)    128 units to 128 units
class ActivationLayer final : public Layer {
 public:
  ActivationLayer(std::int64_t features, Activation activation)
      : Layer(features, features), activation_(activation) {}

  Activation activation() const { return activation_; }
  void pretty_print(std::ostream& stream) const override;

  at::Tensor forward(const at::Tensor& x) const override;
  void draw_(at::Generator) override {}
  void draw_member_(std::int64_t, const DrawWeight&, at::Generator) override {}

  LayerOutput run(const at::Tensor& x) const override;
  Pulled pull_back(const at::Tensor& x, const Kept& kept, const at::Tensor& signal,
                   Wanted wanted) const override;
  at::Tensor push_forward(const at::Tensor& x, const Kept& kept, const at::Tensor& tangent,
                          const std::vector<at::Tensor>& directions) const override;
  at::Tensor moved(const at::Tensor& x, const std::vector<at::Tensor>& directions,
                   double rate) const override;
  std::string description() const override;
  bool is_piecewise_linear() const override;
  bool has_dead_units() const override { return activation_.function().has_dead_units; }

 private:
  Activation activation_;
};

}  // namespace pcxx::nn
