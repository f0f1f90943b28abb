#pragma once

#include <pcxx/nn/activation.h>
#include <torch/nn/cloneable.h>
#include <torch/nn/pimpl.h>

#include <cstdint>
#include <optional>
#include <ostream>

namespace pcxx::nn {

/// Options of a Dense layer: `DenseOptions(784, 128).activation(Activation::kReLU)`.
struct DenseOptions {
  DenseOptions(std::int64_t in_features, std::int64_t out_features)
      : in_features_(in_features), out_features_(out_features) {}

  TORCH_ARG(std::int64_t, in_features);
  TORCH_ARG(std::int64_t, out_features);
  TORCH_ARG(Activation, activation) = Activation::kIdentity;
  /// Adds a bias, which starts at 0. The paper has none.
  TORCH_ARG(bool, bias) = false;
  /// Adds the input to the output (appendix I); needs in_features == out_features.
  TORCH_ARG(bool, residual) = false;
  /// Ensemble of this many independent layers; nullopt gives no ensemble dimension.
  TORCH_ARG(std::optional<std::int64_t>, members) = std::nullopt;
};

/// Dense layer: out = f(W x + b), or x + f(W x + b) when residual.
///
///   weight  [n_out, n_in], or [R, n_out, n_in] in an ensemble of R
///   bias    [n_out], or [R, n_out]; undefined without bias
///
/// `reset()` allocates zeros: weights are drawn by `nn::init`, with a generator.
class DenseImpl : public torch::nn::Cloneable<DenseImpl> {
 public:
  DenseImpl(std::int64_t in_features, std::int64_t out_features)
      : DenseImpl(DenseOptions(in_features, out_features)) {}
  explicit DenseImpl(DenseOptions options);

  void reset() override;
  void pretty_print(std::ostream& stream) const override;

  /// x [B, n_in] or [R, B, n_in] -> the same with n_out; differentiable by autograd.
  torch::Tensor forward(const torch::Tensor& x) const;

  DenseOptions options;
  torch::Tensor weight;
  torch::Tensor bias;
};
TORCH_MODULE(Dense);

}  // namespace pcxx::nn
