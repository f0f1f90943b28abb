#include <gtest/gtest.h>
#include <pcxx/core/random.h>
#include <pcxx/nn/activation_layer.h>
#include <pcxx/nn/block.h>
#include <pcxx/nn/dense.h>

#include <algorithm>

#include "support/activations.h"
#include "support/networks.h"

namespace pcxx::nn {
namespace {

using test::kActivations;
using test::relative_difference;

// Without a slope of its own.
const ActivationFunction kCube{.name = "cube",
                               .value = [](const at::Tensor& z) { return z.pow(3); }};

at::Tensor applied(Activation activation, const at::Tensor& z) {
  auto a = z.clone();
  auto* numbers = a.data_ptr<double>();
  std::transform(numbers, numbers + a.numel(), numbers,
                 [&](double number) { return test::activation_of(activation, number); });
  return a;
}

// Oracle: f by the standard library, autograd through it, and central differences.
TEST(ActivationLayer, IsItsFunction) {
  for (const auto activation : kActivations) {
    SCOPED_TRACE(std::string(name(activation)));
    const ActivationLayer layer(6, activation);
    auto x = at::randn({3, 4, 6}, at::kDouble).requires_grad_();
    const auto made = layer.run(x.detach());
    const auto expected = applied(activation, x.detach());
    EXPECT_LT(relative_difference(made.prediction, expected), 1e-14);
    const auto signal = at::randn_like(expected);
    layer.forward(x).backward(signal);
    EXPECT_LT(
        relative_difference(layer.pull_back(x.detach(), made.kept, signal, {}).input, x.grad()),
        1e-14);
    const auto tangent = at::randn_like(expected);
    constexpr double kStep = 1e-6;
    const auto moved = [&](double step) { return layer.moved(x.detach() + step * tangent, {}, 1); };
    EXPECT_LT(relative_difference(layer.push_forward(x.detach(), made.kept, tangent, {}),
                                  (moved(kStep) - moved(-kStep)) / (2 * kStep)),
              1e-7);
    EXPECT_TRUE(layer.push_forward(x.detach(), made.kept, {}, {}).eq(0).all().item<bool>());
  }
}

// Oracle: the derivative by hand, 3 x^2.
TEST(ActivationLayer, TakesFunctionsWithoutASlope) {
  const ActivationLayer layer(2, Activation(kCube));
  const auto x = at::tensor({1.0, -2.0}, at::kDouble).view({1, 2});
  const auto made = layer.run(x);
  const auto ones = at::ones_like(x);
  EXPECT_TRUE(layer.pull_back(x, made.kept, ones, {}).input.equal(3 * x.square()));
  EXPECT_EQ(layer.description(), "activation(function=cube)");
}

// Contract: what is made may be changed without a change of what was given.
TEST(ActivationLayer, GivesTensorsOfItsOwn) {
  for (const auto activation : kActivations) {
    const ActivationLayer layer(2, activation);
    const auto x = at::ones({1, 2}, at::kDouble);
    const auto made = layer.run(x);
    layer.pull_back(x, made.kept, x, {}).input.zero_();
    layer.push_forward(x, made.kept, x, {}).zero_();
    made.prediction.zero_();
    EXPECT_TRUE(x.equal(at::ones_like(x))) << name(activation);
  }
}

// Contract: those of its function; a layer without a weight is no linear map of one.
TEST(ActivationLayer, SaysWhatItIs) {
  EXPECT_TRUE(ActivationLayer(2, Activation::kReLU).has_dead_units());
  EXPECT_TRUE(ActivationLayer(2, Activation::kLeakyReLU).is_piecewise_linear());
  EXPECT_FALSE(ActivationLayer(2, Activation::kTanh).has_dead_units());
  EXPECT_FALSE(ActivationLayer(2, Activation::kTanh).is_piecewise_linear());
  EXPECT_FALSE(ActivationLayer(2, Activation::kIdentity).is_linear());
  EXPECT_TRUE(ActivationLayer(2, Activation::kReLU).parameters().empty());
}

// Oracle: the Dense layer with the same activation, which the two make together.
TEST(ActivationLayer, BehindAWeightIsTheDenseLayer) {
  for (const auto activation : kActivations) {
    SCOPED_TRACE(std::string(name(activation)));
    const auto whole = std::make_shared<DenseImpl>(DenseOptions(5, 4).activation(activation));
    const auto weight = std::make_shared<DenseImpl>(DenseOptions(5, 4));
    const Block both({weight, std::make_shared<ActivationLayer>(4, activation)}, false);
    for (const auto& layer : {whole, weight}) {
      layer->to(torch::kDouble);
      layer->draw_(make_generator(4, Purpose::kWeights));
    }
    const auto x = at::randn({3, 5}, at::kDouble);
    const auto signal = at::randn({3, 4}, at::kDouble);
    const auto made = whole->run(x);
    const auto expected = whole->pull_back(x, made.kept, signal, {});
    const auto found = both.pull_back(x, both.run(x).kept, signal, {});
    EXPECT_TRUE(both.run(x).prediction.equal(made.prediction));
    EXPECT_LT(relative_difference(found.error, expected.error), 1e-14);
    EXPECT_LT(relative_difference(found.input, expected.input), 1e-14);
  }
}

}  // namespace
}  // namespace pcxx::nn
