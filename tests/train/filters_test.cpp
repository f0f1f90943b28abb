#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <pcxx/nn/block.h>
#include <pcxx/nn/conv2d.h>
#include <pcxx/nn/pool2d.h>
#include <pcxx/nn/scale.h>
#include <pcxx/train/filters.h>

#include "support/networks.h"

namespace pcxx::train {
namespace {

// The bytes of a number among others whose largest magnitude is `most`.
int grey(double number, double most) {
  return static_cast<int>(std::lround(128 + 127 * number / most));
}

int at_place(const at::Tensor& picture, std::int64_t row, std::int64_t column) {
  return picture[row][column].item<int>();
}

nn::Network with_rows(const at::Tensor& weight) {
  const at::NoGradGuard no_grad;
  nn::Network network(nn::mlp({weight.size(1), weight.size(0), 2}));
  network->to(at::kDouble);
  network->dense(1).weight.copy_(weight);
  return network;
}

// By hand: three units of 2 x 3 images, each pixel 18 wide, in two rows; grey is 0, and each has
// a scale of its own.
TEST(Filters, AreTheRowsOfADenseLayer) {
  const auto weight = at::tensor({1.0, -1.0, 0.0, 0.5, 4.0, -4.0,  //
                                  0.0, 0.0, 0.0, 0.0, 0.0, 0.0,    //
                                  0.1, 0.0, 0.0, 0.0, 0.0, -0.04},
                                 at::kDouble)
                          .view({3, 6});
  const auto picture = filters(*with_rows(weight), 2, 3);
  ASSERT_EQ(picture.sizes(), at::IntArrayRef({36 + 4 + 36, 54 + 4 + 54}));
  for (std::int64_t i = 0; i < 6; ++i) {
    const auto row = i / 3 * 18 + 9;
    const auto column = i % 3 * 18 + 9;
    EXPECT_EQ(at_place(picture, row, column), grey(weight[0][i].item<double>(), 4)) << i;
    EXPECT_EQ(at_place(picture, row, 58 + column), 128);
    EXPECT_EQ(at_place(picture, 40 + row, column), grey(weight[2][i].item<double>(), 0.1)) << i;
    EXPECT_EQ(at_place(picture, 40 + row, 58 + column), 255);
  }
  EXPECT_EQ(at_place(picture, 5, 54), 255);
  EXPECT_EQ(at_place(picture, 36, 5), 255);
}

// By hand: of other images a square, or a line; at most 64 units in a grid of 8 x 8.
TEST(Filters, OfOtherInputsAreSquaresOrLines) {
  EXPECT_EQ(filters(*with_rows(at::ones({100, 9}, at::kDouble)), 28, 28).sizes(),
            at::IntArrayRef({8 * 54 + 7 * 4, 8 * 54 + 7 * 4}));
  EXPECT_EQ(filters(*with_rows(at::ones({2, 40}, at::kDouble)), 28, 28).sizes(),
            at::IntArrayRef({1, 84}));
  EXPECT_EQ(filters(*with_rows(at::ones({1, 784}, at::kDouble)), 28, 28).sizes(),
            at::IntArrayRef({56, 56}));
}

// Oracle: the kernels of the layer inside a group behind layers without weights; input channels
// are below one another.
TEST(Filters, AreFoundInsideGroups) {
  const auto conv = nn::Conv2dOptions(2, 3, 3).size(4, 4);
  const auto group = [&](auto, auto) {
    return std::make_shared<nn::Block>(
        std::vector<std::shared_ptr<nn::Layer>>{
            std::make_shared<nn::Scale>(32, 2.0), std::make_shared<nn::Conv2d>(conv),
            std::make_shared<nn::DenseImpl>(nn::DenseOptions(12, 5))},
        /*residual=*/false);
  };
  nn::Network network(
      nn::mlp({32, 32, 5, 2})
          .with_layer(1, [](auto n, auto) { return std::make_shared<nn::Scale>(n, 3); })
          .with_layer(2, group));
  const auto picture = filters(*network, 28, 28);
  const auto weight = network->named_parameters()["layer2.layer2.weight"];
  ASSERT_EQ(weight.sizes(), at::IntArrayRef({3, 2, 3, 3}));
  ASSERT_EQ(picture.sizes(), at::IntArrayRef({2 * 54 + 4, 2 * 27 + 4}));  // pixels of 9
  const auto second = weight[1];
  const double most = second.abs().max().item<double>();
  for (std::int64_t i = 0; i < 18; ++i) {
    EXPECT_EQ(at_place(picture, i / 3 * 9 + 4, 31 + i % 3 * 9 + 4),
              grey(second.flatten()[i].item<double>(), most))
        << i;
  }
}

// Contract: nothing of a network without a weight.
TEST(Filters, AreNoneWithoutAWeight) {
  const auto scale = [](auto n, auto) { return std::make_shared<nn::Scale>(n, 3); };
  EXPECT_FALSE(filters(*nn::Network(nn::mlp({4, 4}).with_layer(1, scale)), 2, 2).defined());
}

}  // namespace
}  // namespace pcxx::train
