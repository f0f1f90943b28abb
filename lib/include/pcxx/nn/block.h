#pragma once

#include <pcxx/nn/layer.h>

#include <memory>
#include <string>
#include <vector>

namespace pcxx::nn {

/// Residual block: x + f(x), where f is a row of layers. One layer of its network: its inner
/// activities are no variables of the energy. Its derivatives are composed of those of its layers,
/// by the same interface.
///
/// Children are called layer1, layer2, .. Rescalings leave a block's update as it is.
class Block final : public Layer {
 public:
  /// Throws c10::Error unless the layers fit each other, and give as much as they take.
  explicit Block(std::vector<std::shared_ptr<Layer>> layers);

  at::Tensor forward(const at::Tensor& x) const override;
  void draw_(at::Generator generator) override;
  void draw_member_(std::int64_t member, const DrawWeight& draw, at::Generator generator) override;

  Pulled pull_back(const at::Tensor& x, const at::Tensor& output, const at::Tensor& signal,
                   Wanted wanted) const override;
  at::Tensor push_forward(const at::Tensor& x, const at::Tensor& output, const at::Tensor& tangent,
                          const std::vector<at::Tensor>& directions) const override;
  at::Tensor moved(const at::Tensor& x, const std::vector<at::Tensor>& directions,
                   double rate) const override;
  bool is_piecewise_linear() const override;
  std::string description() const override;

 private:
  std::vector<std::vector<at::Tensor>> of_layers(const std::vector<at::Tensor>& directions) const;

  std::vector<std::shared_ptr<Layer>> layers_;
};

}  // namespace pcxx::nn
