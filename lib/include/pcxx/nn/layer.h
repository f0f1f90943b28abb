#pragma once

#include <ATen/core/Generator.h>
#include <torch/nn/cloneable.h>

#include <cstdint>
#include <functional>
#include <memory>

namespace pcxx::nn {

/// A layer of a kind of one's own, such as a gated or a locally connected one. Its derivatives come
/// from autograd, those of Dense layers (nn/dense.h) are written out.
///
///   class Scaled final : public Layer {
///    public:
///     explicit Scaled(std::int64_t n) : Layer(n, n) {
///       scale_ = register_parameter("scale", torch::ones({n}));
///     }
///     at::Tensor forward(const at::Tensor& x) const override { return at::tanh(x * scale_); }
///     void draw_(at::Generator generator) override { scale_.normal_(0, 1, generator); }
///    private:
///     at::Tensor scale_;
///   };
///
/// Parameters are registered, so that networks move, save and train them.
class Layer : public torch::nn::Module {
 public:
  Layer(std::int64_t in_features, std::int64_t out_features)
      : in_features_(in_features), out_features_(out_features) {}

  std::int64_t in_features() const { return in_features_; }
  std::int64_t out_features() const { return out_features_; }

  /// x [B, n_in] -> [B, n_out], of operations that autograd can follow. Samples do not interact (no
  /// batch normalisation), and the same input gives the same output (no dropout).
  virtual at::Tensor forward(const at::Tensor& x) const = 0;

  /// Draws the parameters as they are before training, in place and without autograd. They are on
  /// the CPU then, of the dtype they were made with where a network draws itself, float64 in the
  /// programs.
  virtual void draw_(at::Generator generator) = 0;

 private:
  // How a network that is cloned gets the numbers of a layer that its maker has made anew.
  void clone_(torch::nn::Module& other, const std::optional<torch::Device>& device) override;

  std::int64_t in_features_;
  std::int64_t out_features_;
};

/// Makes such a layer, with parameters of its own: n_in, n_out -> layer.
using LayerMaker =
    std::function<std::shared_ptr<Layer>(std::int64_t in_features, std::int64_t out_features)>;

/// What an error signal does in such a layer.
///
///   parameters  -dE/dtheta of 1/2 ||signal||^2, summed over the samples, in the order of
///               `layer.parameters()`; undefined for one that the output does not depend on
///   input       the signal passed on to the layer below, [B, n_in] or [1, B, n_in]; undefined
///               unless asked for
struct Pulled {
  std::vector<at::Tensor> parameters;
  at::Tensor input;
};

/// signal^T times the derivatives of the layer's output at x, by autograd.
Pulled pull_back(const Layer& layer, const at::Tensor& x, const at::Tensor& signal,
                 bool with_input);

/// The derivative of the layer's output at x along a tangent of x (undefined: none) and directions
/// of its parameters (undefined: none), by autograd.
at::Tensor push_forward(const Layer& layer, const at::Tensor& x, const at::Tensor& tangent,
                        const std::vector<at::Tensor>& directions);

/// The layer's output at x [B, n_in], or [1, B, n_in] in an ensemble of one.
at::Tensor output(const Layer& layer, const at::Tensor& x);

}  // namespace pcxx::nn
