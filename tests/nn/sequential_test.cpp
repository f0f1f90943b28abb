// Networks as modules of LibTorch: what README.md and the headers of nn say of it, compiled.

#include <gtest/gtest.h>
#include <pcxx/nn/sequential.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/container/any.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/dropout.h>
#include <torch/nn/modules/linear.h>
#include <torch/optim/sgd.h>
#include <torch/serialize.h>

#include <sstream>

#include "support/networks.h"

namespace pcxx::nn {
namespace {

using test::random_network;
using test::relative_difference;

std::string refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  }
  return "nothing";
}

// Oracle: the module by itself, and sigmoid.
TEST(Modules, StandInTheContainersOfLibTorch) {
  const auto x = torch::randn({6, 4});
  Network net(mlp({4, 5, 3}, Activation::kReLU));
  Dense layer(3, 2);

  torch::nn::Sequential sequential(net, torch::nn::Sigmoid(), layer);
  const auto expected = layer(torch::sigmoid(net(x)));
  EXPECT_TRUE(at::equal(sequential->forward(x), expected));
  EXPECT_EQ(sequential->parameters().size(), 3U);

  torch::nn::AnyModule any(net);
  EXPECT_TRUE(at::equal(any.forward(x), net->forward(x)));
  EXPECT_TRUE(at::equal(any.get<Network>()->forward(x), net->forward(x)));
  torch::nn::AnyModule any_layer(layer);
  EXPECT_TRUE(at::equal(any_layer.forward(net(x)), layer(net(x))));

  torch::nn::ModuleList list(net, layer);
  EXPECT_TRUE(at::equal(list->at<DenseImpl>(1).forward(list->at<NetworkImpl>(0).forward(x)),
                        layer(net(x))));

  // A constant network predicts, too.
  const NetworkImpl& constant = *net;
  EXPECT_TRUE(at::equal(constant.forward(x), net(x)));
}

// Oracle: text written by hand.
TEST(Modules, PrintAsThoseOfLibTorchDo) {
  const torch::nn::Sequential model(Network(mlp({4, 5, 3}, Activation::kReLU)),
                                    torch::nn::Sigmoid());
  EXPECT_EQ(c10::str(model),
            "torch::nn::Sequential(\n"
            "  (0): pcxx::nn::Network(\n"
            "    (layer1): pcxx::nn::Dense(4 -> 5, relu)\n"
            "    (layer2): pcxx::nn::Dense(5 -> 3, identity)\n"
            "  )\n"
            "  (1): torch::nn::Sigmoid()\n"
            ")");
}

// A module of one's own, as the page on PyTorch's C++ frontend shows it.
struct OwnImpl : torch::nn::Module {
  OwnImpl() : net(mlp({4, 5, 3}, Activation::kTanh)), readout(3, 1) {
    register_module("net", net);
    register_module("readout", readout);
  }
  torch::Tensor forward(const torch::Tensor& x) { return readout(net(x)); }
  Network net;
  torch::nn::Linear readout;
};
TORCH_MODULE(Own);

// Oracle: what was saved; autograd's gradients move every parameter.
TEST(Modules, ArePartsOfOthersThatLearnAndAreSaved) {
  Own own;
  const auto x = torch::randn({6, 4});
  EXPECT_TRUE(own->named_parameters().contains("net.layer2.weight"));
  torch::optim::SGD optimizer(own->parameters(), 0.1);
  std::vector<at::Tensor> before;
  for (const auto& parameter : own->parameters()) before.push_back(parameter.detach().clone());
  own(x).square().sum().backward();
  optimizer.step();
  for (std::size_t i = 0; i < before.size(); ++i) {
    EXPECT_FALSE(at::equal(own->parameters()[i], before[i])) << i;
  }
  std::stringstream file;
  torch::save(own, file);
  Own loaded;
  torch::load(loaded, file);
  EXPECT_TRUE(at::equal(loaded(x), own(x)));
  own->to(torch::kDouble);
  own->eval();
  EXPECT_FALSE(own->net->is_training());
  EXPECT_EQ(own(x.to(torch::kDouble)).scalar_type(), torch::kDouble);
}

torch::nn::Sequential every_activation(bool bias) {
  const auto linear = [&](std::int64_t in, std::int64_t out) {
    return torch::nn::Linear(torch::nn::LinearOptions(in, out).bias(bias));
  };
  return torch::nn::Sequential(
      linear(5, 6), torch::nn::ReLU(), linear(6, 7), torch::nn::Tanh(), linear(7, 4),
      torch::nn::Identity(), linear(4, 4),
      torch::nn::LeakyReLU(torch::nn::LeakyReLUOptions().negative_slope(0.01)), linear(4, 4),
      linear(4, 3), torch::nn::Sigmoid());
}

// Oracle: the Sequential's own outputs, there and back, in both precisions.
TEST(Sequential, BecomesANetworkAndGoesBack) {
  for (const bool bias : {false, true}) {
    for (const auto dtype : {torch::kDouble, torch::kFloat}) {
      auto model = every_activation(bias);
      model->to(dtype);
      const auto x = torch::randn({9, 5}, dtype);
      auto net = from_sequential(model);
      EXPECT_EQ(net->size(), 6U);
      const double rounding = dtype == torch::kDouble ? 1e-15 : 1e-6;
      EXPECT_LT(relative_difference(net(x), model->forward(x)), rounding);
      auto back = to_sequential(*net);
      EXPECT_EQ(back->size(), 10U);  // without Identity
      EXPECT_TRUE(at::equal(back->forward(x), model->forward(x)));
    }
  }
}

// Contract: one memory. Training either moves both, also the network's own gradients; a frozen
// parameter is frozen in both.
TEST(Sequential, SharesItsWeights) {
  torch::nn::Sequential model(torch::nn::Linear(4, 3), torch::nn::Tanh(), torch::nn::Linear(3, 2));
  model->parameters()[2].requires_grad_(false);
  auto net = from_sequential(model);
  EXPECT_TRUE(net->dense(1).weight.requires_grad());
  EXPECT_FALSE(net->dense(2).weight.requires_grad());
  const auto x = torch::randn({5, 4});
  const auto before = model->forward(x).detach().clone();
  torch::optim::SGD optimizer(net->parameters(), 0.1);
  net(x).square().sum().backward();
  EXPECT_FALSE(model->parameters()[0].grad().defined());
  optimizer.step();
  EXPECT_FALSE(at::equal(model->forward(x), before));
  EXPECT_LT(relative_difference(model->forward(x), net(x)), 1e-6);
  {
    const at::NoGradGuard no_grad;
    model->parameters()[0].zero_();
  }
  EXPECT_EQ(net->dense(1).weight.abs().max().item<double>(), 0);

  auto back = to_sequential(*net);
  const at::NoGradGuard no_grad;
  net->dense(2).weight.fill_(2);
  EXPECT_EQ(back->parameters()[2].min().item<double>(), 2);
}

// Contract: what a network has not is refused with its place.
TEST(Sequential, RefusesWhatANetworkHasNot) {
  using namespace torch::nn;
  EXPECT_EQ(refusal([] { from_sequential(torch::nn::Sequential(Linear(4, 3), Dropout(0.5))); }),
            "module 1 is torch::nn::Dropout(p=0.5, inplace=false), which a network has not");
  EXPECT_EQ(refusal([] { from_sequential(torch::nn::Sequential(Linear(4, 3), ReLU(), Tanh())); }),
            "module 2, torch::nn::Tanh(), does not follow a Linear layer");
  EXPECT_EQ(refusal([] { from_sequential(torch::nn::Sequential(ReLU(), Linear(4, 3))); }),
            "module 0, torch::nn::ReLU(), does not follow a Linear layer");
  EXPECT_EQ(refusal([] { from_sequential(torch::nn::Sequential(Linear(4, 3), Linear(2, 3))); }),
            "layer 2 takes 2 features, but layer 1 gives 3");
  EXPECT_EQ(refusal([] { from_sequential(torch::nn::Sequential()); }),
            "a network needs at least one layer");
  EXPECT_EQ(refusal([] { to_sequential(*Network(linear_residual(3, 2))); }),
            "layer 1 is residual, which no Linear layer is");
  EXPECT_EQ(refusal([] { to_sequential(*Network(mlp({3, 2}).ensemble(2))); }),
            "a Sequential of Linear layers is no ensemble");
}

}  // namespace
}  // namespace pcxx::nn
