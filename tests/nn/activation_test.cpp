#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <pcxx/core/random.h>

#include <limits>

#include "support/activations.h"

namespace pcxx::nn {
namespace {

using test::activation_of;
using test::kActivations;
using test::slope_input;

// Numbers from tiny to large, with both signs and zero; NaN last.
at::Tensor numbers() {
  const auto positive = at::logspace(-8, 3, 60, 10, at::kDouble);
  return at::cat({-positive, at::zeros({1}, at::kDouble), positive,
                  at::full({1}, std::numeric_limits<double>::quiet_NaN(), at::kDouble)});
}

// Oracle: the header's list.
TEST(Activation, HasAName) {
  const std::array<std::string_view, 7> names{"identity",   "relu", "sigmoid", "tanh",
                                              "leaky_relu", "gelu", "silu"};
  ASSERT_EQ(built_in_activations().size(), names.size());
  for (std::size_t i = 0; i < names.size(); ++i) {
    EXPECT_EQ(name(kActivations[i]), names[i]);
    EXPECT_EQ(built_in_activations()[i], kActivations[i]);
  }
}

// Oracle: the formulas, with the standard library's exp and tanh. NaN stays NaN.
TEST(Activation, IsItsFormula) {
  const auto z = numbers();
  for (const auto activation : kActivations) {
    SCOPED_TRACE(name(activation));
    const auto a = activate(z, activation);
    for (std::int64_t i = 0; i + 1 < z.numel(); ++i) {
      const double expected = activation_of(activation, z[i].item<double>());
      EXPECT_NEAR(a[i].item<double>(), expected, 1e-15 + 1e-14 * std::abs(expected));
    }
    EXPECT_TRUE(std::isnan(a[-1].item<double>()));
  }
}

// Oracle: activate(). In place means the same memory; the identity returns z itself.
TEST(Activation, InPlaceIsTheSame) {
  for (const auto activation : kActivations) {
    SCOPED_TRACE(name(activation));
    const auto z = numbers();
    auto a = z.clone();
    const auto* memory = a.data_ptr();
    activate_(a, activation);
    EXPECT_EQ(a.data_ptr(), memory);
    EXPECT_TRUE(at::allclose(a, activate(z, activation), 0, 0, /*equal_nan=*/true));
    EXPECT_EQ(activate(z, activation).is_same(z), activation == Activation::kIdentity);
    EXPECT_TRUE(at::allclose(z, numbers(), 0, 0, /*equal_nan=*/true));
  }
}

// Oracle: central differences of the formula, error O(h^2) + O(eps / h) < 1e-9, away from kinks.
TEST(Activation, SlopeIsTheDerivative) {
  constexpr double h = 1e-5;
  for (const auto activation : kActivations) {
    if (activation == Activation::kIdentity) continue;
    SCOPED_TRACE(name(activation));
    const auto z = at::linspace(-6, 6, 50, at::kDouble);  // even: 0 is not among them
    const auto found = slope(slope_input(z, activation), activation);
    for (std::int64_t i = 0; i < z.numel(); ++i) {
      const auto at = z[i].item<double>();
      const double difference =
          (activation_of(activation, at + h) - activation_of(activation, at - h)) / (2 * h);
      EXPECT_NEAR(found[i].item<double>(), difference, 1e-9) << "at " << at;
    }
  }
}

// Oracle: autograd, also at 0, in float32 and float64.
TEST(Activation, SlopeIsAutograds) {
  for (const auto dtype : {at::kFloat, at::kDouble}) {
    for (const auto activation : kActivations) {
      SCOPED_TRACE(name(activation));
      const auto z =
          at::cat({at::linspace(-9, 9, 40, dtype), at::zeros({1}, dtype)}).requires_grad_(true);
      const auto a = activate(z, activation);
      a.sum().backward();
      auto g = at::ones_like(a.detach());
      multiply_slope_(g, slope_input(z.detach(), activation), activation);
      EXPECT_EQ(g.scalar_type(), dtype);
      const double unit = dtype == at::kFloat ? std::numeric_limits<float>::epsilon()
                                              : std::numeric_limits<double>::epsilon();
      EXPECT_LE((g - z.grad()).abs().max().item<double>(), 2 * unit);
    }
  }
}

const ActivationFunction kSoftplus{.name = "softplus",
                                   .value = [](const at::Tensor& z) { return at::softplus(z); }};

// Oracle: the formula of a custom activation's slope, which it does not give: 1 / (1 + exp(-z)).
TEST(Activation, CustomOnesHaveTheirSlopeByAutograd) {
  const Activation softplus(kSoftplus);
  const at::NoGradGuard no_grad;
  const auto z = at::linspace(-9, 9, 40, at::kDouble).view({4, 10});
  EXPECT_LE((slope(z, softplus) - at::sigmoid(z)).abs().max().item<double>(), 1e-15);
  auto a = z.clone();
  activate_(a, softplus);
  EXPECT_TRUE(at::equal(a, at::softplus(z)));
  EXPECT_FALSE(is_piecewise_linear(softplus));
}

// Oracle: the product written out. The identity's slope is undefined and multiplies nothing.
TEST(Activation, MultiplySlopeIsInPlace) {
  const auto a = at::linspace(-0.9, 0.9, 12, at::kDouble).view({3, 4});
  for (const auto activation : kActivations) {
    SCOPED_TRACE(name(activation));
    const auto before = at::arange(12, at::kDouble).view({3, 4});
    auto g = before.clone();
    const auto* memory = g.data_ptr();
    multiply_slope_(g, a, activation);
    EXPECT_EQ(g.data_ptr(), memory);
    const auto f = slope(a, activation);
    EXPECT_EQ(f.defined(), activation != Activation::kIdentity);
    EXPECT_TRUE(at::equal(g, f.defined() ? before * f : before));
  }
}

}  // namespace
}  // namespace pcxx::nn
