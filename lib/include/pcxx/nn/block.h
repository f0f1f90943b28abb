#pragma once

#include <pcxx/nn/layer.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace pcxx::nn {

/// Several layers that are one layer of their network: f(x), or x + f(x) of a residual block. Its
/// inner activities are no variables of the energy. Its derivatives are composed of those of its
/// layers, by the same interface.
///
///   Block({lower, upper})                            x + upper(lower(x))
///   Block({convolution, pool}, /*residual=*/false)   a convolution whose prediction is pooled
///
/// Where one layer alone has parameters, and a weight, the block has that weight: rescalings act on
/// it. They leave the update of other blocks as it is. Children are called layer1, layer2, ..
class Block final : public Layer {
 public:
  /// Throws c10::Error unless the layers fit each other; those of a residual block give as much as
  /// they take.
  explicit Block(std::vector<std::shared_ptr<Layer>> layers, bool residual = true);

  at::Tensor forward(const at::Tensor& x) const override;
  LayerOutput run(const at::Tensor& x) const override;
  void draw_(at::Generator generator) override;
  void draw_member_(std::int64_t member, const DrawWeight& draw, at::Generator generator) override;

  Pulled pull_back(const at::Tensor& x, const Kept& kept, const at::Tensor& signal,
                   Wanted wanted) const override;
  at::Tensor push_forward(const at::Tensor& x, const Kept& kept, const at::Tensor& tangent,
                          const std::vector<at::Tensor>& directions) const override;
  at::Tensor moved(const at::Tensor& x, const std::vector<at::Tensor>& directions,
                   double rate) const override;
  Affine affine() const override;
  at::Tensor units(const at::Tensor& x) const override;
  bool is_piecewise_linear() const override;
  std::string description() const override;

 private:
  std::vector<std::vector<at::Tensor>> of_layers(const std::vector<at::Tensor>& directions) const;

  std::vector<std::shared_ptr<Layer>> layers_;
  bool residual_;
  std::optional<std::size_t> weighted_;  ///< index of the only layer with parameters
};

}  // namespace pcxx::nn
