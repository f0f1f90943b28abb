#include <gtest/gtest.h>
#include <pcxx/nn/conditioning.h>
#include <pcxx/nn/feedforward.h>
#include <pcxx/nn/scale.h>

#include "support/networks.h"
#include "support/own_layers.h"

namespace pcxx::nn {
namespace {

using test::gated_network;
using test::random_batch;
using test::random_network;
using test::relative_difference;

NetworkOptions tanh_network() {
  return mlp({5, 6, 4, 3}, Activation::kTanh, Activation::kSigmoid).with_bias();
}

// Oracle: the Dense network whose layers these are.
TEST(OwnLayer, PassesForwardLikeTheDenseLayerThatItIs) {
  const auto dense = random_network(tanh_network());
  const auto own = test::disguised(*dense);
  const auto batch = random_batch(*dense, 7);
  EXPECT_TRUE(own->forward(batch.input).equal(dense->forward(batch.input)));
  const auto pass = feedforward(*own, batch.input);
  const auto expected = feedforward(*dense, batch.input);
  for (std::size_t l = 1; l <= dense->size(); ++l) {
    EXPECT_LT(relative_difference(pass.activities[l], expected.activities[l]), 1e-14);
    EXPECT_LT(relative_difference(pass.outputs[l], expected.outputs[l]), 1e-14);
  }
}

// Oracle: autograd through the whole expression 1/2 ||y||^2 with y the output.
TEST(OwnLayer, PullsSignalsBackLikeAutograd) {
  const auto network = gated_network();
  const auto& layer = network->layer(2);
  const auto x = at::randn({8, 6}, at::kDouble).requires_grad_();
  const auto y = layer.prediction(x);
  (0.5 * y.square().sum()).backward();
  const auto pulled = layer.pull_back(x, {}, y.detach(), {});
  EXPECT_LT(relative_difference(pulled.input, x.grad()), 1e-14);
  const auto parameters = layer.parameters();
  ASSERT_EQ(pulled.parameters.size(), 3U);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    EXPECT_LT(relative_difference(pulled.parameters[i], parameters[i].grad()), 1e-14) << i;
  }
  EXPECT_FALSE(layer.pull_back(x, {}, y.detach(), {.input = false}).input.defined());
}

// Oracle: central differences along the same directions.
TEST(OwnLayer, PushesTangentsForwardLikeDifferences) {
  auto network = gated_network();
  auto& layer = network->layer(2);
  const auto x = at::randn({8, 6}, at::kDouble);
  const auto tangent = at::randn({8, 6}, at::kDouble);
  auto parameters = layer.parameters();
  std::vector<at::Tensor> directions;
  for (const auto& parameter : parameters) directions.push_back(at::randn_like(parameter).detach());
  const auto pushed = layer.push_forward(x, {}, tangent, directions);

  const at::NoGradGuard no_grad;
  constexpr double kStep = 1e-5;
  const auto moved = [&](double step) {
    for (std::size_t i = 0; i < parameters.size(); ++i) parameters[i].add_(directions[i], step);
    auto y = layer.prediction(x + step * tangent);
    for (std::size_t i = 0; i < parameters.size(); ++i) parameters[i].sub_(directions[i], step);
    return y;
  };
  EXPECT_LT(relative_difference(pushed, (moved(kStep) - moved(-kStep)) / (2 * kStep)), 1e-8);
  const auto still = layer.push_forward(x, {}, {}, std::vector<at::Tensor>(parameters.size()));
  EXPECT_TRUE(still.equal(at::zeros({8, 4}, at::kDouble)));
}

// Oracle: the definition of each property.
TEST(OwnLayer, IsPartOfItsNetwork) {
  const auto network = gated_network();
  EXPECT_FALSE(network->is_linear());
  EXPECT_THROW(network->dense(2), c10::Error);
  EXPECT_EQ(network->in_features(), 5);
  EXPECT_EQ(network->out_features(), 3);
  EXPECT_TRUE(network->named_parameters().contains("layer2.gate"));
  const auto again = gated_network();
  for (const auto& parameter : network->named_parameters()) {
    EXPECT_TRUE(parameter.value().equal(again->named_parameters()[parameter.key()]));
    EXPECT_GT(parameter.value().numel(), 0);
  }
}

// Oracle: a clone has the same numbers in memory of its own.
TEST(OwnLayer, IsCloned) {
  const auto network = gated_network();
  const auto clone = std::dynamic_pointer_cast<NetworkImpl>(network->clone());
  const auto x = at::randn({4, 5}, at::kDouble);
  EXPECT_TRUE(clone->forward(x).equal(network->forward(x)));
  const auto parameter = network->named_parameters()["layer2.gate"];
  EXPECT_FALSE(parameter.is_same(clone->named_parameters()["layer2.gate"]));
  EXPECT_NE(parameter.data_ptr(), clone->named_parameters()["layer2.gate"].data_ptr());
}

// Oracle: the single network.
TEST(OwnLayer, ServesAnEnsembleOfOne) {
  const auto single = gated_network();
  const auto ensemble = gated_network(1);
  const auto x = at::randn({4, 5}, at::kDouble);
  const auto prediction = ensemble->forward(x);
  EXPECT_EQ(prediction.sizes(), (std::vector<std::int64_t>{1, 4, 3}));
  EXPECT_LT(relative_difference(prediction[0], single->forward(x)), 1e-14);
  EXPECT_THROW(gated_network(2), c10::Error);
}

// Oracle: Dense layers get the number that was asked for, others keep their parameters.
TEST(OwnLayer, HasNoConditionNumber) {
  auto network = gated_network();
  const auto before = network->named_parameters()["layer2.gate"].detach().clone();
  set_condition_number_(*network, 7);
  EXPECT_TRUE(network->named_parameters()["layer2.gate"].equal(before));
  EXPECT_NEAR(condition_number(network->dense(1).weight).item<double>(), 7, 1e-10);
}

// Oracle: c x, whose derivative is c.
TEST(Scale, IsItsFactor) {
  const Scale layer(5, -0.3);
  const auto x = at::randn({2, 5}, at::kDouble);
  const auto made = layer.run(x);
  EXPECT_TRUE(made.prediction.equal(-0.3 * x));
  EXPECT_TRUE(layer.pull_back(x, made.kept, x, {}).input.equal(-0.3 * x));
  EXPECT_TRUE(layer.push_forward(x, made.kept, x, {}).equal(-0.3 * x));
  EXPECT_TRUE(layer.push_forward(x, made.kept, {}, {}).equal(at::zeros_like(x)));
  EXPECT_TRUE(layer.moved(x, {}, 1).equal(-0.3 * x));
  EXPECT_EQ(layer.description(), "scale(factor=-0.3)");
}

// Oracle: every way to be wrong throws.
TEST(OwnLayer, MustFit) {
  const auto wrong = [](std::int64_t in, std::int64_t out) {
    return std::make_shared<test::Gated>(in, out + 1);
  };
  EXPECT_THROW(Network(mlp({5, 4, 3}).with_layer(1, wrong)), c10::Error);
  EXPECT_THROW(Network(mlp({5, 4, 3}).with_layer(1, [](auto, auto) { return nullptr; })),
               c10::Error);
  EXPECT_THROW(mlp({5, 4, 3}).with_layer(3, test::gated()), c10::Error);
  EXPECT_THROW(mlp({5, 4, 3}).with_layer(0, test::gated()), c10::Error);

  class Narrow final : public Layer {
   public:
    Narrow() : Layer(4, 4) {}
    at::Tensor forward(const at::Tensor& x) const override { return x.slice(1, 0, 2); }
    void draw_(at::Generator) override {}
  };
  EXPECT_THROW(Narrow().prediction(at::zeros({3, 4})), c10::Error);
}

}  // namespace
}  // namespace pcxx::nn
