#pragma once

#include <pcxx/nn/layer.h>

#include <cstdint>
#include <ostream>

namespace pcxx::nn {

/// c x with a constant c: in a residual block, how much a branch adds. It has no parameters.
class Scale final : public Layer {
 public:
  Scale(std::int64_t features, double factor) : Layer(features, features), factor_(factor) {}

  double factor() const { return factor_; }
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

 private:
  double factor_;
};

}  // namespace pcxx::nn
