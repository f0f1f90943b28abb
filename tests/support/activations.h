#pragma once

#include <pcxx/nn/activation.h>

#include <array>
#include <cmath>
#include <stdexcept>

namespace pcxx::test {

inline constexpr std::array kActivations{nn::Activation::kIdentity,  nn::Activation::kReLU,
                                         nn::Activation::kSigmoid,   nn::Activation::kTanh,
                                         nn::Activation::kLeakyReLU, nn::Activation::kGELU,
                                         nn::Activation::kSiLU};

/// f(z) of one number, written with the standard library alone.
inline double activation_of(nn::Activation activation, double z) {
  using nn::Activation;
  if (activation == Activation::kIdentity) return z;
  if (activation == Activation::kReLU) return z < 0 ? 0 : z;
  if (activation == Activation::kSigmoid) return 1 / (1 + std::exp(-z));
  if (activation == Activation::kTanh) return std::tanh(z);
  if (activation == Activation::kLeakyReLU) return z < 0 ? 0.01 * z : z;
  if (activation == Activation::kGELU) return z / 2 * std::erfc(-z / std::sqrt(2.0));
  if (activation == Activation::kSiLU) return z / (1 + std::exp(-z));
  throw std::invalid_argument("unknown activation");
}

/// What nn::slope takes for a preactivation.
inline at::Tensor slope_input(const at::Tensor& z, nn::Activation activation) {
  return activation.function().slope_of_output ? nn::activate(z, activation) : z;
}

}  // namespace pcxx::test
