#pragma once

#include <pcxx/core/names.h>
#include <pcxx/nn/layer.h>

#include <cstdint>
#include <ostream>

namespace pcxx::nn {

/// What a pooling layer keeps of a window.
enum class Pooling { kMax, kAverage };

/// Options of a Pool2d layer: `Pool2dOptions(16, 2).size(28, 28)`.
struct Pool2dOptions {
  /// Windows of kernel x kernel pixels, side by side unless the stride says otherwise.
  Pool2dOptions(std::int64_t channels, std::int64_t kernel)
      : channels_(channels), kernel_(kernel), stride_(kernel) {}

  /// Height and width of the images below.
  Pool2dOptions& size(std::int64_t height, std::int64_t width) {
    return this->height(height).width(width);
  }
  /// Rows, or columns, of the images that it gives for so many below.
  std::int64_t steps(std::int64_t pixels) const { return (pixels - kernel_) / stride_ + 1; }
  std::int64_t out_height() const { return steps(height_); }
  std::int64_t out_width() const { return steps(width_); }
  std::int64_t in_features() const { return channels_ * height_ * width_; }
  std::int64_t out_features() const { return channels_ * out_height() * out_width(); }

  TORCH_ARG(std::int64_t, channels);
  TORCH_ARG(std::int64_t, kernel);
  TORCH_ARG(std::int64_t, stride);
  TORCH_ARG(std::int64_t, height) = 1;
  TORCH_ARG(std::int64_t, width) = 1;
  TORCH_ARG(Pooling, pooling) = Pooling::kMax;
};

/// The largest, or the mean, of each window of an image, channel by channel, as
/// torch::nn::MaxPool2d and AvgPool2d without padding. Activities are flat, [B, C H W]. It has no
/// parameters. As a layer of its own it has a prediction error of its own; in a Block with the
/// convolution below (nn/block.h) the two are one layer.
class Pool2d final : public Layer {
 public:
  /// Throws c10::Error where sizes are not positive, or the window is larger than the image.
  explicit Pool2d(const Pool2dOptions& options);

  void pretty_print(std::ostream& stream) const override;

  at::Tensor forward(const at::Tensor& x) const override;
  void draw_(at::Generator) override {}
  void draw_member_(std::int64_t, const DrawWeight&, at::Generator) override {}

  /// Of the maximum, the output is where in its image each stood.
  LayerOutput run(const at::Tensor& x) const override;
  Pulled pull_back(const at::Tensor& x, const Kept& kept, const at::Tensor& signal,
                   Wanted wanted) const override;
  at::Tensor push_forward(const at::Tensor& x, const Kept& kept, const at::Tensor& tangent,
                          const std::vector<at::Tensor>& directions) const override;
  at::Tensor moved(const at::Tensor& x, const std::vector<at::Tensor>& directions,
                   double rate) const override;
  std::string description() const override;
  bool is_piecewise_linear() const override { return true; }

  Pool2dOptions options;

 private:
  at::Tensor images(const at::Tensor& x) const;
};

}  // namespace pcxx::nn

template <>
inline constexpr auto pcxx::kNames<pcxx::nn::Pooling> =
    std::to_array<pcxx::Named<pcxx::nn::Pooling>>(
        {{pcxx::nn::Pooling::kMax, "max_pool"}, {pcxx::nn::Pooling::kAverage, "avg_pool"}});
