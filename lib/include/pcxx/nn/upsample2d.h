#pragma once

#include <pcxx/nn/layer.h>

#include <cstdint>
#include <ostream>

namespace pcxx::nn {

/// Options of an Upsample2d layer: `Upsample2dOptions(16, 2).size(7, 7)`.
struct Upsample2dOptions {
  /// Every pixel becomes factor x factor pixels.
  Upsample2dOptions(std::int64_t channels, std::int64_t factor)
      : channels_(channels), factor_(factor) {}

  /// Height and width of the images below.
  Upsample2dOptions& size(std::int64_t height, std::int64_t width) {
    return this->height(height).width(width);
  }
  std::int64_t out_height() const { return height_ * factor_; }
  std::int64_t out_width() const { return width_ * factor_; }
  std::int64_t in_features() const { return channels_ * height_ * width_; }
  std::int64_t out_features() const { return in_features() * factor_ * factor_; }

  TORCH_ARG(std::int64_t, channels);
  TORCH_ARG(std::int64_t, factor);
  TORCH_ARG(std::int64_t, height) = 1;
  TORCH_ARG(std::int64_t, width) = 1;
};

/// Larger images, in which each pixel is a square of the same pixels: torch::nn::Upsample by a
/// whole factor with mode "nearest". With a convolution behind it in a decoder it is the way back
/// from strides and pooling. Activities are flat, [B, C H W]. It has no parameters.
class Upsample2d final : public Layer {
 public:
  /// Throws c10::Error where sizes or factor are not positive.
  explicit Upsample2d(const Upsample2dOptions& options);

  void pretty_print(std::ostream& stream) const override;

  at::Tensor forward(const at::Tensor& x) const override;
  void draw_(at::Generator) override {}
  void draw_member_(std::int64_t, const DrawWeight&, at::Generator) override {}

  Pulled pull_back(const at::Tensor& x, const Kept& kept, const at::Tensor& signal,
                   Wanted wanted) const override;
  at::Tensor push_forward(const at::Tensor& x, const Kept& kept, const at::Tensor& tangent,
                          const std::vector<at::Tensor>& directions) const override;
  at::Tensor moved(const at::Tensor& x, const std::vector<at::Tensor>& directions,
                   double rate) const override;
  std::string description() const override;
  bool is_piecewise_linear() const override { return true; }

  Upsample2dOptions options;
};

}  // namespace pcxx::nn
