#include <gtest/gtest.h>
#include <pcxx/catalog/experiment.h>
#include <pcxx/catalog/vocabulary.h>
#include <pcxx/io/checkpoint.h>

#include "support/networks.h"
#include "support/temporary_folder.h"
#include "support/user_error.h"

// Networks that the key `layers` writes.
namespace pcxx::catalog {
namespace {

using test::expect_user_error;

config::Config model(const std::vector<std::string>& assignments) {
  auto keys = schema({"rule", "rescaling", "optimizer", "architecture", "activation", "layers",
                      "widths", "init", "condition_number", "bias", "dtype", kInference, kOptions});
  keys.initial("widths", "[784, 30, 10]").initial("dtype", "\"float64\"");
  return config::Config::parse(keys, "", "", assignments);
}

config::Config stack(const std::string& layers, std::vector<std::string> more = {}) {
  more.push_back("layers=" + layers);
  return model(more);
}

using Widths = std::vector<std::int64_t>;

// Oracle: units counted by hand; what each kind says of itself.
TEST(Stack, IsTheNetworkThatIsWritten) {
  const auto config = stack(
      "conv2d(channels=4, stride=2, padding=1, activation=relu) "
      "conv2d(channels=2, kernel=4, stride=2, bias=true) "
      "block(dense(width=9, activation=tanh) dense) dense(width=20, activation=relu) dense");
  EXPECT_EQ(widths(config), (Widths{784, 784, 72, 72, 20, 10}));
  const auto network = draw_network(config, 0, at::kCPU);
  ASSERT_EQ(network->size(), 5U);
  EXPECT_EQ(network->layer(1).description(),
            "conv2d(channels=4, kernel=3, stride=2, padding=1, activation=relu, bias=false, "
            "input=1x28x28)");
  EXPECT_EQ(network->layer(2).description(),
            "conv2d(channels=2, kernel=4, stride=2, padding=0, activation=identity, bias=true, "
            "input=4x14x14)");
  EXPECT_EQ(network->layer(3).description(),
            "block(dense(width=9, activation=tanh, bias=false, residual=false) "
            "dense(width=72, activation=identity, bias=false, residual=false))");
  EXPECT_EQ(network->dense(4).options.activation(), nn::Activation::kReLU);
  EXPECT_GT(network->layer(2).affine().weight.abs().sum().item<double>(), 0);
  EXPECT_FALSE(is_linear(config));
  EXPECT_TRUE(has_custom_layers(config));
  EXPECT_EQ(make_inference(config)->name(), "lbfgs");
}

// Oracle: LeNet's units counted by hand; flatten is no layer, a group is one.
TEST(Stack, PoolsScalesAndGroups) {
  const auto config = stack(
      "group(conv2d(channels=6, kernel=5, padding=2, activation=silu) max_pool) "
      "conv2d(channels=16, kernel=5) avg_pool(kernel=3, stride=2) flatten "
      "block(dense(width=256) scale(factor=0.5)) dense");
  EXPECT_EQ(widths(config), (Widths{784, 1176, 1600, 256, 256, 10}));
  const auto network = draw_network(config, 0, at::kCPU);
  EXPECT_EQ(network->layer(1).description(),
            "group(conv2d(channels=6, kernel=5, stride=1, padding=2, activation=silu, bias=false, "
            "input=1x28x28) max_pool(kernel=2, stride=2, input=6x28x28))");
  EXPECT_EQ(network->layer(3).description(), "avg_pool(kernel=3, stride=2, input=16x10x10)");
  EXPECT_EQ(network->layer(4).description(),
            "block(dense(width=256, activation=identity, bias=false, residual=false) "
            "scale(factor=0.5))");
}

// Oracle: the named makers of the same networks, to the last bit.
TEST(Stack, OfDenseLayersIsTheNamedNetwork) {
  for (const auto& [named, written] :
       {std::pair(std::vector<std::string>{"architecture=relu", "bias=true"},
                  "dense(width=30, activation=relu, bias=true) dense(bias=true)"),
        std::pair(std::vector<std::string>{}, "dense(width=30) dense(width=10)")}) {
    const auto expected = draw_network(model(named), 3, at::kCPU);
    const auto config = stack(written);
    const auto network = draw_network(config, 3, at::kCPU);
    EXPECT_FALSE(has_custom_layers(config));
    const auto x = at::randn({5, 784}, at::kDouble);
    EXPECT_TRUE(network->forward(x).equal(expected->forward(x)));
    EXPECT_EQ(is_linear(config), is_linear(model(named)));
  }
}

// Oracle: the same layers written out; and units counted by hand.
TEST(Stack, RepeatsLayers) {
  const auto repeated = stack(
      "dense(width=6) block(dense(activation=tanh) scale(factor=0.5), repeat=3) "
      "activation(function=silu) dense");
  const auto written = stack(
      "dense(width=6) block(dense(activation=tanh) scale(factor=0.5)) "
      "block(dense(width=6, activation=tanh) scale(factor=0.5)) "
      "block(dense(activation=tanh, repeat=1) scale(factor=0.5)) activation(function=silu) dense");
  EXPECT_EQ(widths(repeated), (Widths{784, 6, 6, 6, 6, 6, 10}));
  const auto network = draw_network(repeated, 3, at::kCPU);
  const auto expected = draw_network(written, 3, at::kCPU);
  const auto x = at::randn({4, 784}, at::kDouble);
  EXPECT_TRUE(network->forward(x).equal(expected->forward(x)));
  EXPECT_FALSE(network->layer(2).affine().weight.equal(network->layer(3).affine().weight));
  EXPECT_EQ(network->parameters().size(), 5U);
  EXPECT_EQ(widths(stack("group(dense(width=7, repeat=2), repeat=2) max_pool(input=7x1x1, "
                         "kernel=1) dense(repeat=1)")),
            (Widths{784, 7, 7, 7, 10}));
  EXPECT_EQ(widths(stack("conv2d(channels=2, repeat=3) dense")),
            (Widths{784, 1352, 1152, 968, 10}));
  EXPECT_EQ(widths(stack("dense(width=3, repeat=9999) dense")).size(), 10'001U);
}

// Invariant: what is written back is the same network, as text and as tables.
TEST(Stack, OfRepeatedLayersReadsBack) {
  auto keys =
      schema({"layers", "widths", "architecture", "bias", "init", "condition_number", "dtype"});
  keys.initial("widths", "[784, 30, 10]");
  const std::string tables = R"(
[[layers]]
kind = "dense"
width = 5
[[layers]]
kind = "block"
repeat = 4
layers = [{ kind = "activation", function = "tanh" }, { kind = "dense" }]
[[layers]]
kind = "dense"
)";
  const auto config = config::Config::parse(keys, tables, "tables.toml");
  EXPECT_EQ(widths(config), (Widths{784, 5, 5, 5, 5, 5, 10}));
  const auto again = config::Config::parse(keys, config.toml(), "again.toml");
  EXPECT_TRUE(again == config);
  EXPECT_EQ(widths(again), widths(config));
}

// Oracle: PyTorch's upsampling; units counted by hand. Images stay images behind an activation.
TEST(Stack, ActivatesAndUpsamples) {
  const auto config = stack(
      "avg_pool(kernel=4) activation upsample(factor=2) conv2d(channels=1, padding=1) "
      "upsample(factor=3, input=1x14x14) dense");
  EXPECT_EQ(widths(config), (Widths{784, 49, 49, 196, 196, 1764, 10}));
  const auto network = draw_network(config, 0, at::kCPU);
  EXPECT_EQ(network->layer(2).description(), "activation(function=relu)");
  EXPECT_EQ(network->layer(5).description(), "upsample(factor=3, input=1x14x14)");
  const auto x = at::randn({3, 784}, at::kDouble);
  const auto pooled = at::avg_pool2d(x.view({3, 1, 28, 28}), 4).relu();
  const auto maps = at::conv2d(at::upsample_nearest2d(pooled, {14, 14}),
                               network->layer(4).affine().weight, {}, 1, 1);
  const auto expected =
      at::matmul(at::upsample_nearest2d(maps, {42, 42}).flatten(1), network->dense(6).weight.t());
  EXPECT_LT(test::relative_difference(network->forward(x), expected), 1e-13);
}

// Oracle: the paper's formula, with the weights of the network.
TEST(Architectures, MupcIsItsFormula) {
  for (const auto& [name, f] :
       {std::pair("relu", nn::Activation::kReLU), std::pair("identity", nn::Activation::kIdentity),
        std::pair("tanh", nn::Activation::kTanh)}) {
    const auto config = model({"architecture=mupc", "widths=[784, 30, 30, 30, 10]", "init=normal",
                               std::string("activation=") + name});
    const auto network = draw_network(config, 2, at::kCPU);
    ASSERT_EQ(network->size(), 4U);
    const auto w = [&](std::size_t l) { return network->layer(l).affine().weight.t(); };
    const auto x = at::randn({5, 784}, at::kDouble);
    auto z = at::matmul(x, w(1)) / std::sqrt(784.0);
    for (const std::size_t l : {2, 3}) {
      z = z + at::matmul(nn::activate(z, f), w(l)) / std::sqrt(30.0 * 4);
    }
    const auto y = at::matmul(nn::activate(z, f), w(4)) / 30;
    EXPECT_LT(test::relative_difference(network->forward(x), y), 1e-12) << name;
    EXPECT_FALSE(is_linear(config));
  }
}

// Contract: standard normal weights without biases, whatever else is said; what cannot be is
// refused.
TEST(Architectures, MupcHasItsOwnWeights) {
  const auto given = model({"architecture=mupc", "widths=[784, 300, 10]", "bias=true"});
  const auto config = given.models().front();
  EXPECT_EQ(config.text("init"), "normal");
  const auto network = draw_network(config, 0, at::kCPU);
  EXPECT_EQ(network->parameters().size(), 2U);
  EXPECT_NEAR(network->layer(1).affine().weight.square().mean().item<double>(), 1, 0.02);
  const auto refused = [](const std::vector<std::string>& keys, const std::string& text) {
    expect_user_error([&] { network_options(model(keys)); }, text);
  };
  refused({"architecture=mupc", "widths=[784, 10]"}, "needs at least one hidden layer");
  refused({"architecture=mupc", "widths=[784, 30, 31, 10]"},
          "architecture = 'mupc' needs hidden layers of one width, not 30 and 31");
  refused({"architecture=mupc", "widths=[784, 30, 10]", "bias=true"}, "has no biases");
}

// Contract: what keeps its width may stand behind the layer that leaves its own to the targets.
TEST(Stack, LeavesTheLastWidthThatIsOpen) {
  EXPECT_EQ(widths(stack("dense(width=4) dense activation(function=sigmoid) scale(factor=2)")),
            (Widths{784, 4, 10, 10, 10}));
  EXPECT_EQ(widths(stack("dense(width=4) block(dense(width=3) dense activation flatten) dense")),
            (Widths{784, 4, 4, 10}));
}

// Contract: one sentence that names the layer.
TEST(Stack, RefusesWhatDoesNotFit) {
  const auto refused = [](const std::string& layers, const std::string& text,
                          std::vector<std::string> more = {}) {
    expect_user_error([&] { network_options(stack(layers, std::move(more))); }, text);
  };
  refused("dense(width=30) dense(width=11)",
          "layers: layer 2 gives 11 units, and the targets have 10 (the last of widths)");
  refused("dense dense", "layers: layer 1 has no width");
  refused("dense(width=30) convolution", "layers: layer 2 is of no kind 'convolution'");
  refused("dense(widht=30)", "layers: layer 1 (dense): no key is called 'widht'");
  refused("dense(width=-1)", "layers: layer 1 (dense): width = -1 is out of range");
  refused("dense(width=30, activation=soft)",
          "layer 1 (dense): activation = \"soft\" is not one of");
  refused("dense(width=30, residual=true) dense", "layers: layer 1 is residual");
  refused("dense(dense) dense", "layers: layer 1 (dense) takes no layers inside it");
  refused("conv2d dense", "layers: layer 1 has no channels");
  refused("conv2d(channels=2, kernel=29) dense",
          "a kernel of 29 is larger than the image of 28 x 28");
  refused("conv2d(channels=2, input=3x5x5) dense",
          "input = 3x5x5 is not channels x height x width");
  refused("dense(width=30) conv2d(channels=2) dense", "layers: layer 2 needs an image below");
  refused("block dense", "layers: layer 1 has no layers inside it");
  refused("max_pool(kernel=29) dense", "a window of 29 is larger than the image of 28 x 28");
  refused("dense(width=30) max_pool dense", "layers: layer 2 needs an image below");
  refused("dense(width=30) dense",
          "activation = 'tanh' says nothing beside layers, each of which has its own",
          {"activation=tanh"});
  refused("dense(width=3, repeat=0) dense", "layers: layer 1 (dense): repeat = 0 is out of range");
  refused("dense(width=3, repeat=-2) dense", "layer 1 (dense): repeat = -2 is out of range");
  refused("block(dense(repeat=20000)) dense",
          "layers: layer 1, layer 1 (dense): repeat = 20000 is out of range");
  refused("block(dense(width=3, repeat=200), repeat=200) dense",
          "layers: repeat makes 40001 layers, more than the 10000 that are possible");
  refused("dense(repeat=2)", "layers: layer 1 has no width");
  refused("dense(width=30) dense(width=10, repeat=2) dense(width=9, repeat=2)",
          "layers: layer 3 gives 9 units");
  refused("conv2d(channels=1, kernel=9, repeat=4) dense",
          "layers: layer 1 (copy 4): a kernel of 9 is larger than the image of 4 x 4");
  refused("dense(width=1000000, repeat=3) dense", "the weights of a network of these widths");
  refused("dense(width=30) activation(function=soft) dense",
          "layer 2 (activation): function = \"soft\" is not one of");
  refused("upsample(factor=500) dense",
          "layers: layer 1: factor = 500 makes more than 1e+06 units");
  refused("dense(width=30) upsample dense", "layers: layer 2 needs an image below");
  refused("flatten", "layers: there is no layer that does something");
  refused("block(dense(width=3)) dense", "layers: layer 1: x + f(x) cannot be made of 784");
  refused("block(dense(width=3) conv2d(channels=1)) dense",
          "layers: layer 1, layer 2 needs an image");
  EXPECT_EQ(widths(stack("conv2d(channels=2, input=16x7x7, kernel=7) dense")),
            (Widths{784, 2, 10}));
  EXPECT_EQ(widths(stack("dense(width=32) conv2d(channels=2, input=2x4x4) dense")),
            (Widths{784, 32, 8, 10}));
}

// Contract: kpc takes layers of one weight, the closed form linear networks.
TEST(Stack, GoesWithRulesAndInferenceThatTakeIt) {
  const std::string layers = "conv2d(channels=2, stride=2) dense";
  expect_user_error(
      [&] { make_rule(stack("dense(width=5) block(dense(width=5) dense) dense", {"rule=kpc"})); },
      "rule = 'kpc' needs layers of one weight or none, and layer 2 has other parameters");
  EXPECT_NO_THROW(make_rule(stack(layers, {"rule=kpc"})));
  EXPECT_NO_THROW(make_rule(stack("group(conv2d(channels=2) max_pool) dense", {"rule=kpc"})));
  expect_user_error([&] { make_rule(stack(layers, {"rule=pc", "inference=closed_form"})); },
                    "needs a linear network, not layers = ");
  EXPECT_NO_THROW(make_rule(stack(layers, {"rule=pc", "inference=error_descent"})));
}

// Oracle: the numbers that were saved; contract: another stack's are refused by name.
TEST(Stack, IsSavedAndLoaded) {
  const test::TemporaryFolder folder;
  const auto path = folder / "weights.safetensors";
  const std::string layers =
      "conv2d(channels=2, stride=2, padding=1) block(dense(width=3) dense) dense";
  io::save_network(draw_network(stack(layers), 1, at::kCPU), path);
  auto network = draw_network(stack(layers), 2, at::kCPU);
  io::load_network(network, path);
  const auto expected = draw_network(stack(layers), 1, at::kCPU);
  const auto x = at::randn({3, 784}, at::kDouble);
  EXPECT_TRUE(network->forward(x).equal(expected->forward(x)));
  for (const std::string other : {"conv2d(channels=2, stride=2, padding=1, activation=relu) "
                                  "block(dense(width=3) dense) dense",
                                  "conv2d(channels=2, stride=2, padding=1) block(dense(width=3, "
                                  "activation=relu) dense) dense"}) {
    auto another = draw_network(stack(other), 1, at::kCPU);
    expect_user_error([&] { io::load_network(another, path); }, "has kind \"");
  }
}

}  // namespace
}  // namespace pcxx::catalog
