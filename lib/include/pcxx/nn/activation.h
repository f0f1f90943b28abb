#pragma once

#include <ATen/core/Tensor.h>

#include <ostream>
#include <string_view>
#include <vector>

namespace pcxx::nn {

/// Slope of LeakyReLU below zero.
inline constexpr double kLeakySlope = 0.01;

/// Loops over vectors of the processor that nn/fused.h has for an activation.
enum class FusedLoops { kNone, kIdentity, kReLU, kSigmoid, kTanh, kLeakyReLU };

/// An elementwise nonlinearity a = f(z), described once; `Activation` names it. A custom one is a
/// name and a value. It has static storage:
///
///   const ActivationFunction softplus{
///       .name = "softplus",
///       .value = [](const at::Tensor& z) { return at::softplus(z); },
///       .slope = [](const at::Tensor& z) { return at::sigmoid(z); }};
///
///   name    as configs and files of weights name it
///   doc     what --help adds to the name
///   value   f(z), a new tensor; differentiable by autograd
///   value_  the same in place; by `value` where it is null
///   slope   f' written out; by autograd where it is null
struct ActivationFunction {
  std::string_view name = {};
  std::string_view doc = {};
  at::Tensor (*value)(const at::Tensor& z) = nullptr;
  void (*value_)(at::Tensor& z) = nullptr;
  at::Tensor (*slope)(const at::Tensor& from) = nullptr;
  /// Whether `slope` is a function of a. If not, it is one of z, and layers keep z.
  bool slope_of_output = false;
  bool is_piecewise_linear = false;
  /// Whether units may be inactive for good, as those of ReLU.
  bool has_dead_units = false;
  FusedLoops loops = FusedLoops::kNone;
};

/// One file each.
namespace activations {
extern const ActivationFunction identity;
extern const ActivationFunction relu;
extern const ActivationFunction sigmoid;
extern const ActivationFunction tanh;
extern const ActivationFunction leaky_relu;
extern const ActivationFunction gelu;
extern const ActivationFunction silu;
}  // namespace activations

/// Names an activation function: `mlp({784, 128, 10}, Activation::kReLU)`.
class Activation {
 public:
  constexpr explicit Activation(const ActivationFunction& function) : function_(&function) {}

  constexpr const ActivationFunction& function() const { return *function_; }
  constexpr bool operator==(const Activation&) const = default;

  static const Activation kIdentity;
  static const Activation kReLU;
  static const Activation kSigmoid;
  static const Activation kTanh;
  static const Activation kLeakyReLU;
  /// z Phi(z), with the exact normal distribution Phi.
  static const Activation kGELU;
  /// z sigmoid(z).
  static const Activation kSiLU;

 private:
  const ActivationFunction* function_;
};

inline constexpr Activation Activation::kIdentity{activations::identity};
inline constexpr Activation Activation::kReLU{activations::relu};
inline constexpr Activation Activation::kSigmoid{activations::sigmoid};
inline constexpr Activation Activation::kTanh{activations::tanh};
inline constexpr Activation Activation::kLeakyReLU{activations::leaky_relu};
inline constexpr Activation Activation::kGELU{activations::gelu};
inline constexpr Activation Activation::kSiLU{activations::silu};

/// All built-in ones.
const std::vector<Activation>& built_in_activations();

/// "identity", "relu", "sigmoid", "tanh", "leaky_relu", "gelu", "silu".
std::string_view name(Activation activation);
std::ostream& operator<<(std::ostream& stream, Activation activation);

/// a = f(z), a new tensor (or z itself for the identity); differentiable by autograd.
at::Tensor activate(const at::Tensor& z, Activation activation);

/// z <- f(z), in place.
void activate_(at::Tensor& z, Activation activation);

/// f'(z), of a = f(z) where `slope_of_output`, otherwise of z; an undefined tensor for the
/// identity, whose slope is 1. ReLU's slope at 0 is 0, as PyTorch has it.
at::Tensor slope(const at::Tensor& from, Activation activation);

/// Whether f is linear in pieces.
bool is_piecewise_linear(Activation activation);

/// g <- g * f'(z) in place, from what `slope` takes.
void multiply_slope_(at::Tensor& g, const at::Tensor& from, Activation activation);

}  // namespace pcxx::nn
