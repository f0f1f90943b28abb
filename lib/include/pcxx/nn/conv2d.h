#pragma once

#include <pcxx/nn/activation.h>
#include <pcxx/nn/layer.h>

#include <cstdint>
#include <ostream>

namespace pcxx::nn {

/// Options of a Conv2d layer: `Conv2dOptions(1, 16, 3).size(28, 28).stride(2).padding(1)`.
struct Conv2dOptions {
  Conv2dOptions(std::int64_t in_channels, std::int64_t out_channels, std::int64_t kernel)
      : in_channels_(in_channels), out_channels_(out_channels), kernel_(kernel) {}

  /// Height and width of the images below.
  Conv2dOptions& size(std::int64_t height, std::int64_t width) {
    return this->height(height).width(width);
  }
  /// Rows, or columns, of the images that it gives for so many below.
  std::int64_t steps(std::int64_t pixels) const {
    return (pixels + 2 * padding_ - kernel_) / stride_ + 1;
  }
  std::int64_t out_height() const { return steps(height_); }
  std::int64_t out_width() const { return steps(width_); }
  std::int64_t in_features() const { return in_channels_ * height_ * width_; }
  std::int64_t out_features() const { return out_channels_ * out_height() * out_width(); }

  TORCH_ARG(std::int64_t, in_channels);
  TORCH_ARG(std::int64_t, out_channels);
  /// Side of the square of weights.
  TORCH_ARG(std::int64_t, kernel);
  TORCH_ARG(std::int64_t, height) = 1;
  TORCH_ARG(std::int64_t, width) = 1;
  TORCH_ARG(std::int64_t, stride) = 1;
  /// Rows and columns of zeros round the image.
  TORCH_ARG(std::int64_t, padding) = 0;
  TORCH_ARG(Activation, activation) = Activation::kIdentity;
  /// Adds a bias a channel, which starts at 0.
  TORCH_ARG(bool, bias) = false;
};

/// Convolution of images: out = f(W * x + b), as torch::nn::Conv2d with a square kernel.
///
///   weight  [C_out, C_in, k, k]
///   bias    [C_out]; undefined without bias
///
/// Activities are flat, [B, C H W], as PyTorch flattens images. Derivatives are written out. Its
/// factors (learning/factors.h) are rows of all P locations of all samples: errors [B P, C_out] and
/// patches [B P, C_in k^2], so that every rescaling acts on it. Drawn as torch::nn::Conv2d draws
/// its weights, uniform within 1 / sqrt(C_in k^2), or by `nn::init` as a matrix [C_out, C_in k^2].
class Conv2d final : public Layer {
 public:
  /// Throws c10::Error where sizes are not positive, or the kernel is larger than the padded image.
  explicit Conv2d(const Conv2dOptions& options);

  void pretty_print(std::ostream& stream) const override;

  at::Tensor forward(const at::Tensor& x) const override;
  LayerOutput run(const at::Tensor& x) const override;
  void draw_(at::Generator generator) override;
  void draw_member_(std::int64_t member, const DrawWeight& draw, at::Generator generator) override;

  Pulled pull_back(const at::Tensor& x, const Kept& kept, const at::Tensor& signal,
                   Wanted wanted) const override;
  /// Directions are of the parameters' shapes.
  at::Tensor push_forward(const at::Tensor& x, const Kept& kept, const at::Tensor& tangent,
                          const std::vector<at::Tensor>& directions) const override;
  at::Tensor moved(const at::Tensor& x, const std::vector<at::Tensor>& directions,
                   double rate) const override;
  Affine affine() const override { return {weight, bias}; }
  at::Tensor units(const at::Tensor& x) const override;
  std::string description() const override;
  bool is_piecewise_linear() const override {
    return nn::is_piecewise_linear(options.activation());
  }
  bool has_dead_units() const override { return options.activation().function().has_dead_units; }

  Conv2dOptions options;
  torch::Tensor weight;
  torch::Tensor bias;

 private:
  at::Tensor images(const at::Tensor& x) const;
  at::Tensor convolved(const at::Tensor& x, const at::Tensor& kernels, const at::Tensor& b) const;
};

}  // namespace pcxx::nn
