#pragma once

#include <ATen/core/Generator.h>
#include <c10/core/Device.h>
#include <torch/nn/cloneable.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace pcxx::nn {

/// What a layer keeps of a way forward for the way back, a row a sample. It is made of its output
/// and stands for it, which is all that most layers keep.
///
///   output  what slopes are taken from: the output a = f(z), or z where a does not tell them
///           (nn/activation.h)
///   inputs  of a layer made of layers (nn/block.h): what goes into each but the first, and
///   inner   what each keeps
struct Kept {
  Kept() = default;
  Kept(at::Tensor of_slopes) : output(std::move(of_slopes)) {}
  operator const at::Tensor&() const { return output; }

  /// The samples `rows` (int64) alone.
  Kept select(const at::Tensor& rows) const;

  at::Tensor output = {};
  std::vector<at::Tensor> inputs = {};
  std::vector<Kept> inner = {};
};

/// What a layer makes of the activities below: the prediction of its own, and what it keeps. Output
/// and prediction are the same tensor unless the layer is residual.
struct LayerOutput {
  Kept kept;
  at::Tensor prediction;
};

/// Which parts of a way back are asked for.
struct Wanted {
  bool parameters = true;
  bool input = true;
};

/// What an error signal does in a layer. What was not asked for is undefined.
///
///   error       of a layer with a weight: the signal times f', [.., rows, n_out], which with
///               `Layer::units` makes the weight's update; undefined in layers without one
///   parameters  of a layer without one: -dE/dtheta of 1/2 ||signal||^2, summed over the samples,
///               in the order of `parameters()`; undefined where the output does not depend on it
///   input       the signal passed on to the layer below, [.., B, n_in]
struct Pulled {
  at::Tensor error = {};
  std::vector<at::Tensor> parameters = {};
  at::Tensor input = {};
};

/// The parameters of a layer f(W u + b): handles, undefined where it has none.
///   weight  its rows are of outputs: [n_out, ..], or [R, n_out, ..] in an ensemble
///   bias    [n_out] or [R, n_out]
struct Affine {
  at::Tensor weight = {};
  at::Tensor bias = {};
};

/// Draws a weight [n_out, n_in], float64 on the CPU (nn/init.h). It may be called from several
/// threads at once, each with a generator of its own.
using DrawWeight = std::function<at::Tensor(std::int64_t n_out, std::int64_t n_in,
                                            const at::Generator& generator)>;

/// A layer: activities below to the prediction of its own, a signal down, a tangent up. A custom
/// layer is its `forward` and `draw_`; its derivatives then come from autograd. Dense layers
/// (nn/dense.h) have theirs written out.
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
/// Parameters are registered, so that networks move, save and train them. Activities are [B, n],
/// and [R, B, n] in an ensemble; `forward` of a custom layer gets [B, n] also in an ensemble of
/// one, and there are no others for it.
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

  /// The same of one member of an ensemble; weights by `draw`. Layers without one draw themselves.
  virtual void draw_member_(std::int64_t member, const DrawWeight& draw, at::Generator generator);

  /// The layer at x, differentiable in both; throws c10::Error where `forward` gives another shape.
  virtual at::Tensor prediction(const at::Tensor& x) const;

  /// The same without autograd. By default the output is the prediction.
  virtual LayerOutput run(const at::Tensor& x) const;

  /// signal^T times the derivatives of the layer at x, where `run` kept `kept`. signal: [.., B,
  /// n_out].
  virtual Pulled pull_back(const at::Tensor& x, const Kept& kept, const at::Tensor& signal,
                           Wanted wanted) const;

  /// The derivative of the prediction at x along a tangent of x (undefined: none) and directions of
  /// the parameters, in their order (empty, or each undefined: none).
  virtual at::Tensor push_forward(const at::Tensor& x, const Kept& kept, const at::Tensor& tangent,
                                  const std::vector<at::Tensor>& directions) const;

  /// The prediction with every parameter moved by rate * direction. They are as before afterwards.
  virtual at::Tensor moved(const at::Tensor& x, const std::vector<at::Tensor>& directions,
                           double rate) const;

  /// Weight and bias, where the layer is f(W u + b).
  virtual Affine affine() const { return {}; }
  /// Then: u, the units that the weight multiplies, [.., rows, n_in]; by default x itself.
  virtual at::Tensor units(const at::Tensor& x) const { return x; }

  /// What it is, in a text that files of weights keep and compare: "dense(width=10, ...)". Empty
  /// for layers without one.
  virtual std::string description() const { return {}; }

  /// Whether the layer is the linear map of its weight (with or without bias), and whether it is
  /// linear in pieces.
  virtual bool is_linear() const { return false; }
  virtual bool is_piecewise_linear() const { return is_linear(); }
  /// Whether units may be inactive for good, as those of ReLU.
  virtual bool has_dead_units() const { return false; }

  /// The parameters become those of members index[r] of another layer of its kind; copies where
  /// there are no members.
  virtual void copy_members_(const Layer& from, const at::Tensor& index);

  /// Throws c10::Error unless all parameters are on the device; `l` is the layer's number.
  virtual void check_device(c10::Device device, std::size_t l) const;

 protected:
  /// Parameters and buffers become copies of those of another layer of this kind.
  void copy_numbers_(const Layer& from, const std::optional<torch::Device>& device);

 private:
  // How a network that is cloned gets the numbers of a layer that it has made anew.
  void clone_(torch::nn::Module& other, const std::optional<torch::Device>& device) override;

  std::int64_t in_features_;
  std::int64_t out_features_;
};

/// Makes a custom layer, with parameters of its own: n_in, n_out -> layer.
using LayerMaker =
    std::function<std::shared_ptr<Layer>(std::int64_t in_features, std::int64_t out_features)>;

}  // namespace pcxx::nn
