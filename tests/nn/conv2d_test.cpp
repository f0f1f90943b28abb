#include <gtest/gtest.h>
#include <pcxx/core/random.h>
#include <pcxx/nn/block.h>
#include <pcxx/nn/conditioning.h>
#include <pcxx/nn/conv2d.h>
#include <pcxx/nn/init.h>
#include <pcxx/nn/network.h>
#include <pcxx/nn/pool2d.h>
#include <torch/nn/functional/conv.h>
#include <torch/types.h>

#include "support/networks.h"

namespace pcxx::nn {
namespace {

using test::relative_difference;

Conv2dOptions small_convolution() {
  return Conv2dOptions(2, 3, 3).size(5, 4).stride(2).padding(1);
}

std::shared_ptr<Conv2d> drawn_convolution(const Conv2dOptions& options) {
  const at::NoGradGuard no_grad;
  auto layer = std::make_shared<Conv2d>(options);
  layer->to(torch::kDouble);
  layer->draw_(make_generator(3, Purpose::kWeights));
  if (layer->bias.defined()) layer->bias.normal_(0, 0.3, make_generator(4, Purpose::kWeights));
  return layer;
}

std::vector<Conv2dOptions> some_convolutions() {
  return {small_convolution(),
          small_convolution().activation(Activation::kTanh).bias(true),
          Conv2dOptions(1, 2, 1).size(3, 3).activation(Activation::kSigmoid),
          Conv2dOptions(2, 4, 3).size(3, 3).activation(Activation::kLeakyReLU).bias(true),
          Conv2dOptions(3, 2, 2).size(6, 5).stride(3).activation(Activation::kReLU).bias(true),
          small_convolution().activation(Activation::kGELU).bias(true)};
}

at::Tensor as_pytorch(const Conv2d& layer, const at::Tensor& x) {
  namespace F = torch::nn::functional;
  const auto& o = layer.options;
  const auto images = x.view({x.size(0), o.in_channels(), o.height(), o.width()});
  auto settings = F::Conv2dFuncOptions().stride(o.stride()).padding(o.padding());
  if (layer.bias.defined()) settings.bias(layer.bias);
  return activate(F::conv2d(images, layer.weight, settings).flatten(1), o.activation());
}

// Oracle: PyTorch's convolution of the images, and autograd through it.
TEST(Conv2d, IsPyTorchsConvolution) {
  for (const auto& options : some_convolutions()) {
    const auto layer = drawn_convolution(options);
    auto x = at::randn({4, layer->in_features()}, at::kDouble).requires_grad_();
    const auto expected = as_pytorch(*layer, x);
    ASSERT_EQ(expected.size(1), layer->out_features());
    const auto made = layer->run(x.detach());
    EXPECT_LT(relative_difference(made.prediction, expected), 1e-14);

    const auto signal = at::randn_like(expected);
    expected.backward(signal);
    const auto pulled = layer->pull_back(x.detach(), made.kept, signal, {});
    EXPECT_LT(relative_difference(pulled.input, x.grad()), 1e-13);
    const auto d = at::matmul(pulled.error.mT(), layer->units(x.detach()));
    EXPECT_LT(relative_difference(d.view(layer->weight.sizes()), layer->weight.grad()), 1e-13);
    if (!layer->bias.defined()) continue;
    EXPECT_LT(relative_difference(pulled.error.sum(-2), layer->bias.grad()), 1e-13);
  }
}

// Oracle: central differences along the same directions.
TEST(Conv2d, PushesTangentsForwardLikeDifferences) {
  for (const auto& options : some_convolutions()) {
    const auto layer = drawn_convolution(options);
    const auto x = at::randn({4, layer->in_features()}, at::kDouble);
    const auto tangent = at::randn_like(x);
    std::vector<at::Tensor> directions;
    for (const auto& parameter : layer->parameters())
      directions.push_back(at::randn_like(parameter).detach());
    const auto pushed = layer->push_forward(x, layer->run(x).kept, tangent, directions);
    constexpr double kStep = 1e-5;
    const auto moved = [&](double step) {
      return layer->moved(x + step * tangent, directions, step);
    };
    EXPECT_LT(relative_difference(pushed, (moved(kStep) - moved(-kStep)) / (2 * kStep)), 1e-7);
    EXPECT_TRUE(layer->push_forward(x, layer->run(x).kept, {}, {}).eq(0).all().item<bool>());
  }
}

// Oracle: one sample more, which has rows of its own behind the others.
TEST(Conv2d, HasTheRowsOfASampleTogether) {
  const auto layer = drawn_convolution(small_convolution());
  const auto x = at::randn({3, layer->in_features()}, at::kDouble);
  const auto all = layer->units(x);
  EXPECT_EQ(all.sizes(), (std::vector<std::int64_t>{3 * 6, 18}));
  EXPECT_TRUE(layer->units(x.slice(0, 2)).equal(all.slice(0, 12)));
}

// Oracle: the single network, and the definition of each property.
TEST(Conv2d, ServesAnEnsembleOfOneAndIsCloned) {
  const auto options = mlp({40, 18, 3}, Activation::kTanh).with_layer(1, [](auto, auto) {
    return std::make_shared<Conv2d>(small_convolution().activation(Activation::kTanh));
  });
  Network single(options);
  Network ensemble(options.ensemble(1));
  for (auto* network : {&single, &ensemble}) {
    (*network)->to(torch::kDouble);
    init::kaiming_(**network, make_generator(1, Purpose::kWeights));
  }
  const auto x = at::randn({4, 40}, at::kDouble);
  EXPECT_LT(relative_difference(ensemble->forward(x)[0], single->forward(x)), 1e-14);
  const auto& layer = ensemble->layer(1);
  const auto one = x.unsqueeze(0);
  const auto made = layer.run(one);
  const auto pulled = layer.pull_back(one, made.kept, made.prediction, {});
  EXPECT_EQ(pulled.input.sizes(), one.sizes());
  EXPECT_EQ(pulled.error.sizes(), (std::vector<std::int64_t>{1, 24, 3}));
  EXPECT_FALSE(single->is_linear());
  const auto clone = std::dynamic_pointer_cast<NetworkImpl>(single->clone());
  EXPECT_TRUE(clone->forward(x).equal(single->forward(x)));
}

// Oracle: the bound of PyTorch's own layer, and the singular values that were asked for.
TEST(Conv2d, IsDrawnAsAMatrixOfItsPatches) {
  Network network(mlp({40, 18}).with_layer(
      1, [](auto, auto) { return std::make_shared<Conv2d>(small_convolution().bias(true)); }));
  network->to(torch::kDouble);
  init::kaiming_(*network, make_generator(1, Purpose::kWeights));
  const auto weight = network->layer(1).affine().weight;
  EXPECT_EQ(weight.sizes(), (std::vector<std::int64_t>{3, 2, 3, 3}));
  const double largest = weight.abs().max().item<double>();
  EXPECT_LE(largest, 1 / std::sqrt(18.0));
  EXPECT_GT(largest, 0.8 / std::sqrt(18.0));
  EXPECT_TRUE(network->layer(1).affine().bias.eq(0).all().item<bool>());
  set_condition_number_(*network, 5);
  EXPECT_NEAR(condition_number(weight.flatten(1)).item<double>(), 5, 1e-10);
}

// Contract: what cannot be is refused.
TEST(Conv2d, RefusesWhatDoesNotFit) {
  EXPECT_THROW(Conv2d(Conv2dOptions(1, 0, 3).size(5, 5)), c10::Error);
  EXPECT_THROW(Conv2d(Conv2dOptions(1, 2, 6).size(5, 5)), c10::Error);
  EXPECT_THROW(Conv2d(Conv2dOptions(1, 2, 3).size(5, 5).stride(0)), c10::Error);
  EXPECT_NO_THROW(Conv2d(Conv2dOptions(1, 2, 6).size(5, 5).padding(1)));
}

// ---- Pooling ----------------------------------------------------------------------------------

std::vector<Pool2dOptions> some_pools() {
  return {Pool2dOptions(2, 2).size(4, 6), Pool2dOptions(3, 2).size(5, 5),
          Pool2dOptions(1, 3).size(7, 6).stride(2), Pool2dOptions(2, 2).size(2, 2)};
}

at::Tensor as_pytorch(const Pool2dOptions& o, const at::Tensor& x) {
  const auto images = x.view({x.size(0), o.channels(), o.height(), o.width()});
  const std::vector<std::int64_t> kernel{o.kernel(), o.kernel()};
  const std::vector<std::int64_t> stride{o.stride(), o.stride()};
  return (o.pooling() == Pooling::kMax ? at::max_pool2d(images, kernel, stride)
                                       : at::avg_pool2d(images, kernel, stride))
      .flatten(1);
}

// Oracle: PyTorch's pooling of the images, autograd through it, and central differences.
TEST(Pool2d, IsPyTorchsPooling) {
  for (auto options : some_pools()) {
    for (const auto pooling : {Pooling::kMax, Pooling::kAverage}) {
      const Pool2d layer(options.pooling(pooling));
      SCOPED_TRACE(layer.description());
      auto x = at::randn({4, layer.in_features()}, at::kDouble).requires_grad_();
      const auto expected = as_pytorch(options, x);
      ASSERT_EQ(expected.size(1), layer.out_features());
      const auto made = layer.run(x.detach());
      EXPECT_TRUE(made.prediction.equal(expected.detach()));
      EXPECT_TRUE(layer.forward(x.detach()).equal(expected.detach()));
      const auto signal = at::randn_like(expected);
      expected.backward(signal);
      const auto pulled = layer.pull_back(x.detach(), made.kept, signal, {});
      EXPECT_LT(relative_difference(pulled.input, x.grad()), 1e-14);
      EXPECT_FALSE(pulled.error.defined());
      const auto tangent = at::randn_like(x).detach();
      constexpr double kStep = 1e-6;
      const auto moved = [&](double step) {
        return layer.moved(x.detach() + step * tangent, {}, step);
      };
      EXPECT_LT(relative_difference(layer.push_forward(x.detach(), made.kept, tangent, {}),
                                    (moved(kStep) - moved(-kStep)) / (2 * kStep)),
                1e-7);
      EXPECT_TRUE(layer.push_forward(x.detach(), made.kept, {}, {}).eq(0).all().item<bool>());
    }
  }
}

// Contract: what cannot be is refused.
TEST(Pool2d, RefusesWhatDoesNotFit) {
  EXPECT_THROW(Pool2d(Pool2dOptions(1, 6).size(5, 7)), c10::Error);
  EXPECT_THROW(Pool2d(Pool2dOptions(0, 2).size(5, 5)), c10::Error);
  EXPECT_THROW(Pool2d(Pool2dOptions(1, 2).size(5, 5).stride(0)), c10::Error);
}

// ---- Blocks -----------------------------------------------------------------------------------

std::shared_ptr<Block> drawn_block() {
  const auto conv = Conv2dOptions(2, 2, 3).size(4, 3).padding(1).activation(Activation::kTanh);
  auto block = std::make_shared<Block>(std::vector<std::shared_ptr<Layer>>{
      std::make_shared<Conv2d>(conv),
      std::make_shared<DenseImpl>(DenseOptions(24, 7).activation(Activation::kSigmoid).bias(true)),
      std::make_shared<DenseImpl>(DenseOptions(7, 24))});
  block->to(torch::kDouble);
  block->draw_(make_generator(5, Purpose::kWeights));
  return block;
}

// Oracle: autograd through x + f(x).
TEST(Block, PullsSignalsBackLikeAutograd) {
  const auto block = drawn_block();
  auto x = at::randn({5, 24}, at::kDouble).requires_grad_();
  const auto y = block->forward(x);
  const auto signal = at::randn_like(y);
  y.backward(signal);
  for (const bool ensemble : {false, true}) {
    const auto lead = [&](const at::Tensor& t) {
      return ensemble ? t.detach().unsqueeze(0) : t.detach();
    };
    const auto pulled = block->pull_back(lead(x), block->run(lead(x)).kept, lead(signal), {});
    EXPECT_LT(relative_difference(pulled.input, lead(x.grad())), 1e-13);
    const auto parameters = block->parameters();
    ASSERT_EQ(pulled.parameters.size(), 4U);
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      EXPECT_LT(relative_difference(pulled.parameters[i], parameters[i].grad()), 1e-13) << i;
    }
  }
}

// Oracle: central differences along the same directions.
TEST(Block, PushesTangentsForwardLikeDifferences) {
  const auto block = drawn_block();
  const auto x = at::randn({5, 24}, at::kDouble);
  const auto tangent = at::randn_like(x);
  std::vector<at::Tensor> directions;
  for (const auto& parameter : block->parameters())
    directions.push_back(at::randn_like(parameter).detach());
  const auto pushed = block->push_forward(x, block->run(x).kept, tangent, directions);
  constexpr double kStep = 1e-5;
  const auto moved = [&](double step) {
    return block->moved(x + step * tangent, directions, step);
  };
  EXPECT_LT(relative_difference(pushed, (moved(kStep) - moved(-kStep)) / (2 * kStep)), 1e-7);
}

std::shared_ptr<Block> drawn_group() {
  const auto conv = small_convolution().activation(Activation::kTanh).bias(true);
  auto group = std::make_shared<Block>(
      std::vector<std::shared_ptr<Layer>>{
          std::make_shared<Pool2d>(Pool2dOptions(2, 2).size(10, 8).pooling(Pooling::kAverage)),
          std::make_shared<Conv2d>(conv), std::make_shared<Pool2d>(Pool2dOptions(3, 2).size(3, 2))},
      /*residual=*/false);
  group->to(torch::kDouble);
  group->draw_(make_generator(5, Purpose::kWeights));
  return group;
}

// Oracle: autograd through the layers one by one. A group with one weight has its factors.
TEST(Block, OfOneWeightHasItsFactors) {
  const auto group = drawn_group();
  ASSERT_EQ(group->out_features(), 3);
  auto x = at::randn({5, 160}, at::kDouble).requires_grad_();
  const auto y = group->forward(x);
  const auto signal = at::randn_like(y);
  y.backward(signal);
  for (const bool ensemble : {false, true}) {
    const auto lead = [&](const at::Tensor& t) {
      return ensemble ? t.detach().unsqueeze(0) : t.detach();
    };
    const auto pulled = group->pull_back(lead(x), group->run(lead(x)).kept, lead(signal), {});
    EXPECT_LT(relative_difference(pulled.input, lead(x.grad())), 1e-13);
    EXPECT_TRUE(pulled.parameters.empty());
    const auto [weight, bias] = group->affine();
    const auto d = at::matmul(pulled.error.mT(), group->units(lead(x)));
    EXPECT_LT(relative_difference(d.view(weight.sizes()), weight.grad()), 1e-13);
    EXPECT_LT(relative_difference(pulled.error.sum(-2).view(bias.sizes()), bias.grad()), 1e-13);
  }
  EXPECT_EQ(group->description().substr(0, 15), "group(avg_pool(");
}

// Oracle: central differences along the same directions.
TEST(Block, WithoutItsInputPushesTangentsForwardLikeDifferences) {
  const auto group = drawn_group();
  const auto x = at::randn({5, 160}, at::kDouble);
  const auto tangent = at::randn_like(x);
  std::vector<at::Tensor> directions;
  for (const auto& parameter : group->parameters())
    directions.push_back(at::randn_like(parameter).detach());
  const auto pushed = group->push_forward(x, group->run(x).kept, tangent, directions);
  constexpr double kStep = 1e-5;
  const auto moved = [&](double step) {
    return group->moved(x + step * tangent, directions, step);
  };
  EXPECT_LT(relative_difference(pushed, (moved(kStep) - moved(-kStep)) / (2 * kStep)), 1e-7);
}

// Contract: the ends are equal, and layers fit.
TEST(Block, RefusesWhatDoesNotFit) {
  const auto dense = [](std::int64_t in, std::int64_t out) {
    return std::make_shared<DenseImpl>(DenseOptions(in, out));
  };
  using Layers = std::vector<std::shared_ptr<Layer>>;
  EXPECT_THROW(Block(Layers{}), c10::Error);
  EXPECT_THROW(Block(Layers{dense(3, 4)}), c10::Error);
  EXPECT_NO_THROW(Block(Layers{dense(3, 4)}, /*residual=*/false));
  EXPECT_THROW(Block(Layers{dense(3, 4), dense(5, 3)}), c10::Error);
  EXPECT_EQ(Block(Layers{dense(3, 4), dense(4, 3)}).description(),
            "block(dense(width=4, activation=identity, bias=false, residual=false) "
            "dense(width=3, activation=identity, bias=false, residual=false))");
}

}  // namespace
}  // namespace pcxx::nn
