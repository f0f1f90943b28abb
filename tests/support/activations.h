#pragma once

#include <pcxx/nn/activation.h>

#include <array>
#include <cmath>
#include <stdexcept>

namespace pcxx::test {

inline constexpr std::array kActivations{nn::Activation::kIdentity, nn::Activation::kReLU,
                                         nn::Activation::kSigmoid, nn::Activation::kTanh,
                                         nn::Activation::kLeakyReLU};

/// f(z) of one number, written with the standard library alone.
inline double activation_of(nn::Activation activation, double z) {
  switch (activation) {
    case nn::Activation::kIdentity:
      return z;
    case nn::Activation::kReLU:
      return z < 0 ? 0 : z;
    case nn::Activation::kSigmoid:
      return 1 / (1 + std::exp(-z));
    case nn::Activation::kTanh:
      return std::tanh(z);
    case nn::Activation::kLeakyReLU:
      return z < 0 ? 0.01 * z : z;
  }
  throw std::invalid_argument("unknown activation");
}

}  // namespace pcxx::test
