#include <gtest/gtest.h>
#include <pcxx/nn/network.h>
#include <torch/serialize.h>

#include <sstream>

#include "nn/by_hand.h"
#include "support/networks.h"

namespace pcxx::nn {
namespace {

using test::networks_of_every_kind;
using test::random_batch;
using test::random_network;
using test::relative_difference;

std::vector<std::string> parameter_names(const NetworkImpl& network) {
  return network.named_parameters().keys();
}

bool equal_parameters(const NetworkImpl& a, const NetworkImpl& b) {
  if (parameter_names(a) != parameter_names(b)) return false;
  for (const auto& parameter : a.named_parameters()) {
    if (!at::equal(parameter.value(), b.named_parameters()[parameter.key()])) return false;
  }
  return true;
}

// Oracle: the recursion, number by number.
TEST(Network, ForwardIsTheRecursion) {
  for (const auto& options : networks_of_every_kind()) {
    const auto network = random_network(options);
    SCOPED_TRACE(c10::str(network));
    const auto input = random_batch(*network, 3).input;
    const auto expected = test::by_hand(*network, input).back();
    const auto prediction = network->forward(input);
    EXPECT_EQ(prediction.sizes(), expected.sizes());
    EXPECT_LT(relative_difference(prediction, expected), 1e-14);
    if (network->members()) {
      EXPECT_LT(
          relative_difference(network->forward(input[0]), test::by_hand(*network, input[0]).back()),
          1e-14);
    }
  }
}

// Oracle: central differences of the recursion, number by number; error O(h^2) + O(eps / h).
TEST(Network, ForwardIsDifferentiable) {
  constexpr double h = 1e-5;
  for (const auto& options : networks_of_every_kind()) {
    const auto network = random_network(options);
    SCOPED_TRACE(c10::str(network));
    const auto batch = random_batch(*network, 2);
    const auto loss = [&] {
      return (test::by_hand(*network, batch.input).back() - batch.target)
          .square()
          .sum()
          .item<double>();
    };
    (network->forward(batch.input) - batch.target).square().sum().backward();
    const at::NoGradGuard no_grad;
    for (const auto& parameter : network->named_parameters()) {
      const auto values = parameter.value().view(-1);
      const auto gradient = parameter.value().grad().view(-1);
      for (std::int64_t i = 0; i < values.numel(); i += 5) {
        const auto before = values[i].item<double>();
        values[i] = before + h;
        const double above = loss();
        values[i] = before - h;
        const double difference = (above - loss()) / (2 * h);
        values[i] = before;
        EXPECT_NEAR(gradient[i].item<double>(), difference, 1e-7 * (1 + std::abs(difference)))
            << parameter.key() << " " << i;
      }
    }
  }
}

// Invariant: an ensemble member is the same network alone.
TEST(Network, AMemberIsTheNetworkAlone) {
  for (const auto& options : networks_of_every_kind()) {
    const auto network = random_network(options);
    if (!network->members()) continue;
    SCOPED_TRACE(c10::str(network));
    const auto input = random_batch(*network, 4).input;
    const auto together = network->forward(input);
    for (std::int64_t r = 0; r < *network->members(); ++r) {
      EXPECT_LT(relative_difference(test::member(*network, r)->forward(input[r]), together[r]),
                1e-14);
    }
  }
}

// Oracle: names and shapes written by hand.
TEST(Network, NamesItsParameters) {
  const Network network(mlp({4, 3, 2}).with_bias());
  EXPECT_EQ(parameter_names(*network), (std::vector<std::string>{"layer1.weight", "layer1.bias",
                                                                 "layer2.weight", "layer2.bias"}));
  EXPECT_TRUE(network->named_parameters()["layer2.weight"].is_same(network->dense(2).weight));
  EXPECT_EQ(parameter_names(*Network(mlp({4, 3, 2}))),
            (std::vector<std::string>{"layer1.weight", "layer2.weight"}));
}

// Oracle: values written by hand.
TEST(Network, KnowsItsShape) {
  const Network network(mlp({7, 5, 3}, Activation::kReLU).ensemble(4));
  EXPECT_EQ(network->size(), 2U);
  EXPECT_EQ(network->in_features(), 7);
  EXPECT_EQ(network->out_features(), 3);
  EXPECT_EQ(network->members(), 4);
  EXPECT_EQ(Network(mlp({7, 3}))->members(), std::nullopt);
  EXPECT_EQ(network->tensor_options().dtype(), at::kFloat);
  EXPECT_EQ(network->dense(1).weight.sizes(), (std::vector<std::int64_t>{4, 5, 7}));
}

// Oracle: the definition.
TEST(Network, IsLinearWithoutNonlinearities) {
  EXPECT_TRUE(Network(mlp({4, 3, 2}).with_bias())->is_linear());
  EXPECT_TRUE(Network(linear_residual(3, 2))->is_linear());
  EXPECT_FALSE(Network(mlp({4, 3, 2}, Activation::kReLU))->is_linear());
  EXPECT_FALSE(Network(mlp({4, 3, 2}, Activation::kIdentity, Activation::kTanh))->is_linear());
}

// Oracle: options written by hand.
TEST(NetworkOptions, DescribeTheLayers) {
  const auto options = mlp({4, 3, 2}, Activation::kTanh, Activation::kSigmoid);
  ASSERT_EQ(options.layers().size(), 2U);
  EXPECT_EQ(options.layers()[0].in_features(), 4);
  EXPECT_EQ(options.layers()[0].out_features(), 3);
  EXPECT_EQ(options.layers()[0].activation(), Activation::kTanh);
  EXPECT_EQ(options.layers()[1].activation(), Activation::kSigmoid);
  const auto biased = options.ensemble(3).with_bias();
  ASSERT_EQ(biased.layers().size(), 2U);
  for (const auto& layer : biased.layers()) {
    EXPECT_EQ(layer.members(), 3);
    EXPECT_TRUE(layer.bias());
    EXPECT_FALSE(layer.residual());
  }
  for (const auto& layer : options.layers()) {
    EXPECT_FALSE(layer.members());
    EXPECT_FALSE(layer.bias());
  }
  const auto residual = linear_residual(6, 3);
  ASSERT_EQ(residual.layers().size(), 3U);
  for (const auto& layer : residual.layers()) {
    EXPECT_TRUE(layer.residual());
    EXPECT_EQ(layer.activation(), Activation::kIdentity);
    EXPECT_EQ(layer.in_features(), 6);
    EXPECT_EQ(layer.out_features(), 6);
  }
}

// Oracle: contract.
TEST(Network, RejectsLayersThatDoNotFit) {
  EXPECT_THROW(Network(NetworkOptions({})), c10::Error);
  EXPECT_THROW(mlp({4}), c10::Error);
  EXPECT_THROW(linear_residual(4, 0), c10::Error);
  EXPECT_THROW(Network(linear_residual(0, 1)), c10::Error);
  EXPECT_THROW(Network(mlp({4, 0, 2})), c10::Error);
  EXPECT_THROW(Network(NetworkOptions({DenseOptions(4, 3), DenseOptions(2, 3)})), c10::Error);
  EXPECT_THROW(
      Network(NetworkOptions({DenseOptions(4, 3).members(2), DenseOptions(3, 3).members(3)})),
      c10::Error);
  EXPECT_THROW(Network(NetworkOptions({DenseOptions(4, 3).members(2), DenseOptions(3, 3)})),
               c10::Error);
}

// Oracle: contract. A batch of the wrong shape is an error whose text has the shape.
TEST(Network, RejectsInputsOfTheWrongShape) {
  const Network single(mlp({4, 3, 2}));
  const Network ensemble(mlp({4, 3, 2}).ensemble(5));
  using Shape = std::vector<std::int64_t>;
  for (const auto& shape : {Shape{3}, Shape{2, 3}, Shape{5, 2, 3}, Shape{}}) {
    EXPECT_THROW(single->forward(torch::zeros(shape)), c10::Error);
  }
  for (const auto& shape :
       {Shape{4}, Shape{2, 3}, Shape{4, 2, 4}, Shape{1, 2, 4}, Shape{5, 2, 3}}) {
    EXPECT_THROW(ensemble->forward(torch::zeros(shape)), c10::Error);
  }
  try {
    single->enter(torch::zeros({7, 3}), 4);
    ADD_FAILURE() << "no error";
  } catch (const c10::Error& error) {
    EXPECT_NE(std::string(error.what()).find("[7, 3]"), std::string::npos) << error.what();
  }
}

// Oracle: each sample by itself. Leading dimensions are those of torch::nn::Linear.
TEST(Network, TakesInputsAsLinearDoes) {
  for (const auto& options : networks_of_every_kind()) {
    if (options.layers().front().members()) continue;
    auto network = random_network(options);
    SCOPED_TRACE(c10::str(network));
    const auto samples = random_batch(*network, 6).input;
    const auto expected = network->forward(samples);
    const auto n = network->out_features();
    const auto cube = network->forward(samples.view({2, 3, -1}));
    EXPECT_EQ(cube.sizes(), (std::vector<std::int64_t>{2, 3, n}));
    EXPECT_TRUE(at::equal(cube.view({6, n}), expected));
    const auto one = network->forward(samples[4]);
    EXPECT_EQ(one.sizes(), (std::vector<std::int64_t>{n}));
    EXPECT_LT(relative_difference(one, expected[4]), 1e-14);
    EXPECT_EQ(network->forward(samples.narrow(0, 0, 0)).sizes(), (std::vector<std::int64_t>{0, n}));
  }
}

// Contract: as torch::nn::Linear, `forward` refuses another dtype or device, in one sentence.
TEST(Network, RefusesInputsOfAnotherDtypeOrDevice) {
  auto network = random_network(mlp({4, 3}));
  const auto refusal = [&](const at::Tensor& x) -> std::string {
    try {
      network->forward(x);
    } catch (const c10::Error& error) {
      return error.what_without_backtrace();
    }
    return "nothing";
  };
  EXPECT_EQ(refusal(torch::zeros({2, 4})), "the input is Float, but the weights are Double");
  EXPECT_EQ(refusal(torch::zeros({2, 4}, torch::dtype(at::kDouble).device(at::kMeta))),
            "the input lies on meta, but what it is used with on cpu");
}

// Oracle: torch::manual_seed. A network draws itself, the same from the same seed; `draw(false)`
// leaves zeros and the generator alone, and biases start at 0.
TEST(Network, DrawsItself) {
  const auto options = mlp({5, 4, 3}, Activation::kReLU).with_bias();
  torch::manual_seed(1);
  const Network first(options);
  const auto after = torch::rand({1});
  torch::manual_seed(1);
  const Network second(options);
  EXPECT_TRUE(equal_parameters(*first, *second));
  const Network third(options);
  EXPECT_FALSE(equal_parameters(*first, *third));
  EXPECT_GT(first->dense(2).weight.abs().min().item<double>(), 0);
  EXPECT_LE(first->dense(2).weight.abs().max().item<double>(), 0.5);
  EXPECT_EQ(first->dense(1).bias.abs().max().item<double>(), 0);

  torch::manual_seed(1);
  const Network zeros(NetworkOptions(options).draw(false));
  for (const auto& parameter : zeros->parameters()) {
    EXPECT_EQ(parameter.abs().max().item<double>(), 0);
  }
  const Network again(options);
  EXPECT_TRUE(equal_parameters(*first, *again));
  EXPECT_TRUE(at::equal(after, torch::rand({1})));
}

// Oracle: contract. The input is cast, and expanded to the members without a copy.
TEST(Network, EnterCastsAndExpandsWithoutACopy) {
  const auto ensemble = random_network(mlp({4, 3}).ensemble(5));
  const auto x = torch::rand({2, 4}, at::kDouble);
  const auto entered = ensemble->enter(x, 4);
  EXPECT_EQ(entered.sizes(), (std::vector<std::int64_t>{5, 2, 4}));
  EXPECT_EQ(entered.data_ptr(), x.data_ptr());
  EXPECT_EQ(entered.stride(0), 0);
  EXPECT_TRUE(at::equal(entered[3], x));
  EXPECT_EQ(ensemble->enter(x.to(at::kFloat), 4).scalar_type(), at::kDouble);
  const auto single = random_network(mlp({4, 3}));
  EXPECT_EQ(single->enter(x, 4).data_ptr(), x.data_ptr());
  EXPECT_EQ(single->enter(torch::zeros({0, 4}), 4).size(0), 0);
}

// Oracle: contract of torch::nn::Cloneable. Equal at first, with the same options; then neither
// changes with the other.
TEST(Network, ClonesAreEqualAndIndependent) {
  for (const auto& options : networks_of_every_kind()) {
    const auto network = random_network(options);
    SCOPED_TRACE(c10::str(network));
    const auto input = random_batch(*network, 3).input;
    const auto prediction = network->forward(input).detach();
    const auto clone = std::dynamic_pointer_cast<NetworkImpl>(network->clone());
    ASSERT_TRUE(clone);
    EXPECT_EQ(c10::str(Network(clone)), c10::str(network));
    EXPECT_TRUE(equal_parameters(*clone, *network));
    EXPECT_TRUE(at::equal(clone->forward(input), prediction));
    EXPECT_EQ(clone->tensor_options().dtype(), at::kDouble);
    {
      const at::NoGradGuard no_grad;
      for (std::size_t l = 1; l <= network->size(); ++l) {
        const auto name = "layer" + std::to_string(l) + ".weight";
        EXPECT_TRUE(clone->named_parameters()[name].is_same(clone->dense(l).weight));
        for (auto& parameter : clone->dense(l).parameters()) parameter.add_(1);
      }
    }
    EXPECT_TRUE(at::equal(network->forward(input), prediction));
    EXPECT_FALSE(at::equal(clone->forward(input), prediction));
    EXPECT_EQ(clone->parameters().size(), network->parameters().size());
  }
}

// Oracle: casting each parameter by hand. The layers' tensors are the registered ones afterwards.
TEST(Network, MovesToADtype) {
  for (const auto& options : networks_of_every_kind()) {
    auto network = random_network(options);
    const auto reference = std::dynamic_pointer_cast<NetworkImpl>(network->clone());
    network->to(at::kCPU, at::kFloat);
    EXPECT_EQ(network->tensor_options().dtype(), at::kFloat);
    for (std::size_t l = 1; l <= network->size(); ++l) {
      EXPECT_TRUE(at::equal(network->dense(l).weight, reference->dense(l).weight.to(at::kFloat)));
      EXPECT_TRUE(network->named_parameters()["layer" + std::to_string(l) + ".weight"].is_same(
          network->dense(l).weight));
    }
    const auto input = random_batch(*network, 3).input;
    const auto prediction = network->forward(input.to(at::kFloat));
    EXPECT_EQ(prediction.scalar_type(), at::kFloat);
    EXPECT_LT(relative_difference(prediction.to(at::kDouble), reference->forward(input)), 1e-5);
    EXPECT_TRUE(network->dense(1).weight.requires_grad());
  }
}

// Contract: a batch is moved to the network, but weights or biases on another device than the rest
// are refused with one sentence. The device `meta`, which holds no numbers, stands for any other.
TEST(Network, RefusesParametersOnSeveralDevices) {
  const at::Device elsewhere(at::kMeta);
  auto network = random_network(mlp({4, 3, 5}).with_bias());
  const auto x = torch::rand({2, 4}, at::kDouble);
  EXPECT_EQ(network->device(), at::Device(at::kCPU));
  EXPECT_EQ(network->enter(x.to(at::kFloat), 4).device(), network->device());
  const auto refusal = [&]() -> std::string {
    try {
      network->forward(x);
    } catch (const c10::Error& error) {
      return error.what_without_backtrace();
    }
    return "nothing";
  };
  auto& layer = network->dense(2);
  const auto bias = layer.bias;
  layer.bias = bias.detach().to(elsewhere);
  EXPECT_EQ(refusal(), "the bias of layer 2 lies on meta, but what it is used with on cpu");
  layer.bias = bias;
  layer.weight = layer.weight.detach().to(elsewhere);
  EXPECT_EQ(refusal(), "the weight of layer 2 lies on meta, but what it is used with on cpu");
}

// Oracle: what was saved.
TEST(Network, IsLoadedAsItWasSaved) {
  for (const auto& options : networks_of_every_kind()) {
    const auto network = random_network(options);
    SCOPED_TRACE(c10::str(network));
    std::stringstream file;
    torch::save(network, file);
    auto loaded = random_network(options, /*seed=*/2);
    ASSERT_FALSE(equal_parameters(*loaded, *network));
    torch::load(loaded, file);
    EXPECT_TRUE(equal_parameters(*loaded, *network));
    const auto input = random_batch(*network, 3).input;
    EXPECT_TRUE(at::equal(loaded->forward(input), network->forward(input)));
  }
}

// Contract: weights of another network are refused by name, and nothing is changed.
TEST(Network, RefusesWeightsOfOtherShapes) {
  auto network = random_network(mlp({4, 3, 2}));
  const auto before = std::dynamic_pointer_cast<NetworkImpl>(network->clone());
  const auto refusal = [&](const NetworkOptions& saved) -> std::string {
    std::stringstream file;
    torch::save(random_network(saved), file);
    try {
      torch::load(network, file);
    } catch (const c10::Error& error) {
      return error.what_without_backtrace();
    }
    return "nothing";
  };
  EXPECT_EQ(refusal(mlp({4, 5, 2})), "the archive's layer1.weight is [5, 4], not [3, 4]");
  EXPECT_EQ(refusal(mlp({4, 3, 6})), "the archive's layer2.weight is [6, 3], not [2, 3]");
  EXPECT_EQ(refusal(mlp({4, 3, 2}).ensemble(2)),
            "the archive's layer1.weight is [2, 3, 4], not [3, 4]");
  EXPECT_EQ(refusal(mlp({4, 3})), "the archive holds no layer2");
  EXPECT_EQ(refusal(mlp({4, 3, 2, 2})),
            "the archive holds layer3, which is not there to be loaded");
  EXPECT_EQ(refusal(mlp({4, 3, 2}).with_bias()),
            "the archive holds layer1.bias, which is not there to be loaded");
  EXPECT_TRUE(equal_parameters(*network, *before));
  network = random_network(mlp({4, 3, 2}).with_bias());
  EXPECT_EQ(refusal(mlp({4, 3, 2})), "the archive holds no layer1.bias");

  std::stringstream file;
  torch::save(Dense(4, 3), file);
  Dense other(4, 2);
  EXPECT_THROW(torch::load(other, file), c10::Error);
}

// Oracle: text written by hand.
TEST(Network, PrintsItsLayers) {
  const Network network(mlp({784, 128, 10}, Activation::kReLU).with_bias());
  EXPECT_EQ(c10::str(network),
            "pcxx::nn::Network(\n"
            "  (layer1): pcxx::nn::Dense(784 -> 128, relu, bias)\n"
            "  (layer2): pcxx::nn::Dense(128 -> 10, identity, bias)\n"
            ")");
}

}  // namespace
}  // namespace pcxx::nn
