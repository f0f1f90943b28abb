#pragma once

#include <pcxx/nn/activation.h>
#include <pcxx/nn/layer.h>
#include <torch/detail/static.h>
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
class DenseImpl final : public Layer {
 public:
  DenseImpl(std::int64_t in_features, std::int64_t out_features)
      : DenseImpl(DenseOptions(in_features, out_features)) {}
  explicit DenseImpl(DenseOptions options);

  std::shared_ptr<torch::nn::Module> clone(
      const std::optional<torch::Device>& device = std::nullopt) const override;
  void pretty_print(std::ostream& stream) const override;

  /// x [.., n_in] as torch::nn::Linear takes it; [B, n_in] or [R, B, n_in] in an ensemble -> the
  /// same with n_out; differentiable by autograd. Throws c10::Error for another dtype or device
  /// than the weight's.
  torch::Tensor forward(const torch::Tensor& x) const override;
  torch::Tensor forward(const torch::Tensor& x) { return std::as_const(*this).forward(x); }

  /// Throws c10::Error, and changes nothing, where the archive holds other parameters or shapes.
  void load(torch::serialize::InputArchive& archive) override;

  void draw_(at::Generator generator) override;
  void draw_member_(std::int64_t member, const DrawWeight& draw, at::Generator generator) override;

  at::Tensor prediction(const at::Tensor& x) const override { return forward(x); }
  LayerOutput run(const at::Tensor& x) const override;
  Pulled pull_back(const at::Tensor& x, const Kept& kept, const at::Tensor& signal,
                   Wanted wanted) const override;
  at::Tensor push_forward(const at::Tensor& x, const Kept& kept, const at::Tensor& tangent,
                          const std::vector<at::Tensor>& directions) const override;
  at::Tensor moved(const at::Tensor& x, const std::vector<at::Tensor>& directions,
                   double rate) const override;
  Affine affine() const override { return {weight, bias}; }
  std::string description() const override;
  bool is_linear() const override { return options.activation() == Activation::kIdentity; }
  bool is_piecewise_linear() const override;
  bool has_dead_units() const override { return options.activation().function().has_dead_units; }
  /// Whether `run` gives a = f(z) to take slopes from, and not z (nn/activation.h).
  bool keeps_output() const;
  void copy_members_(const Layer& from, const at::Tensor& index) override;
  void check_device(c10::Device device, std::size_t l) const override;

  DenseOptions options;
  torch::Tensor weight;
  torch::Tensor bias;
};
TORCH_MODULE(Dense);

}  // namespace pcxx::nn
