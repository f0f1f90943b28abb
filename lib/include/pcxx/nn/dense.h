#pragma once

#include <pcxx/nn/activation.h>
#include <torch/detail/static.h>
#include <torch/nn/cloneable.h>
#include <torch/nn/pimpl.h>

#include <cstdint>
#include <optional>
#include <ostream>
#include <type_traits>
#include <utility>

namespace pcxx::nn {
class DenseImpl;
}  // namespace pcxx::nn

namespace torch::detail {
/// LibTorch's containers find a `forward` that has no second one; that of a constant layer is one.
template <>
struct has_forward<pcxx::nn::DenseImpl> : std::true_type {};
}  // namespace torch::detail

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
  /// The constructor draws the weight; if not, it is zeros.
  TORCH_ARG(bool, draw) = true;
};

/// Dense layer: out = f(W x + b), or x + f(W x + b) when residual.
///
///   weight  [n_out, n_in], or [R, n_out, n_in] in an ensemble of R
///   bias    [n_out], or [R, n_out]; undefined without bias
///
/// The weight is drawn as torch::nn::Linear draws its own, uniform within 1 / sqrt(n_in), by
/// LibTorch's default generator, which torch::manual_seed sets (`nn::init` draws with any
/// generator); the bias is 0.
class DenseImpl : public torch::nn::Cloneable<DenseImpl> {
 public:
  DenseImpl(std::int64_t in_features, std::int64_t out_features)
      : DenseImpl(DenseOptions(in_features, out_features)) {}
  explicit DenseImpl(DenseOptions options);

  void reset() override;
  void pretty_print(std::ostream& stream) const override;

  /// x [.., n_in] as torch::nn::Linear takes it; [B, n_in] or [R, B, n_in] in an ensemble -> the
  /// same with n_out; differentiable by autograd. Throws c10::Error for another dtype or device
  /// than the weight's.
  torch::Tensor forward(const torch::Tensor& x) const;
  torch::Tensor forward(const torch::Tensor& x) { return std::as_const(*this).forward(x); }

  /// Throws c10::Error, and changes nothing, where the archive holds other parameters or shapes.
  void load(torch::serialize::InputArchive& archive) override;

  DenseOptions options;
  torch::Tensor weight;
  torch::Tensor bias;
};
TORCH_MODULE(Dense);

}  // namespace pcxx::nn
