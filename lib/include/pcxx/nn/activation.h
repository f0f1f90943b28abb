#pragma once

#include <ATen/core/Tensor.h>
#include <pcxx/core/names.h>

#include <string_view>

namespace pcxx::nn {

/// Slope of LeakyReLU below zero.
inline constexpr double kLeakySlope = 0.01;

/// Elementwise nonlinearity f of a layer.
enum class Activation { kIdentity, kReLU, kSigmoid, kTanh, kLeakyReLU };

/// "identity", "relu", "sigmoid", "tanh", "leaky_relu".
std::string_view name(Activation activation);

/// a = f(z), a new tensor (or z itself for the identity); differentiable by autograd.
at::Tensor activate(const at::Tensor& z, Activation activation);

/// z <- f(z), in place.
void activate_(at::Tensor& z, Activation activation);

/// f'(z) written in terms of a = f(z); an undefined tensor for the identity, whose slope is 1.
/// ReLU's slope at 0 is 0, as PyTorch has it.
at::Tensor slope(const at::Tensor& a, Activation activation);

/// Whether f is linear in pieces: all but sigmoid and tanh.
bool is_piecewise_linear(Activation activation);

/// g <- g * f'(z) in place, with a = f(z).
void multiply_slope_(at::Tensor& g, const at::Tensor& a, Activation activation);

}  // namespace pcxx::nn

template <>
inline constexpr auto pcxx::kNames<pcxx::nn::Activation> =
    std::to_array<pcxx::Named<pcxx::nn::Activation>>(
        {{pcxx::nn::Activation::kIdentity, "identity"},
         {pcxx::nn::Activation::kReLU, "relu"},
         {pcxx::nn::Activation::kSigmoid, "sigmoid"},
         {pcxx::nn::Activation::kTanh, "tanh"},
         {pcxx::nn::Activation::kLeakyReLU, "leaky_relu"}});
