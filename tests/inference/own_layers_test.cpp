#include <gtest/gtest.h>
#include <pcxx/inference/lbfgs.h>
#include <pcxx/inference/own_layers.h>
#include <pcxx/learning/predictive_coding.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/optim/sgd.h>

#include "support/networks.h"

namespace pcxx::inference {
namespace {

using test::random_batch;
using test::random_network;
using test::relative_difference;

const DescentOptions kPrecise{.max_steps = 5000, .tolerance = 1e-12, .energy_tolerance = 0};

std::vector<Layer> layers_of(const nn::NetworkImpl& network) {
  std::vector<Layer> layers;
  for (std::size_t l = 1; l <= network.size(); ++l) {
    layers.push_back([&layer = network.dense(l)](const at::Tensor& x) { return layer.forward(x); });
  }
  return layers;
}

// Gated layers on both sides of a convolution, which keeps the samples' three dimensions.
struct GatedConvolution {
  torch::nn::Conv2d convolution{torch::nn::Conv2dOptions(1, 3, 3).padding(1)};
  torch::nn::Linear value{3 * 4 * 5, 7};
  torch::nn::Linear gate{3 * 4 * 5, 7};
  torch::nn::Linear out{7, 2};
  std::vector<Layer> layers{
      [this](const at::Tensor& x) { return at::tanh(convolution(x)); },
      [this](const at::Tensor& x) { return value(x.flatten(1)) * at::sigmoid(gate(x.flatten(1))); },
      [this](const at::Tensor& x) { return at::softplus(out(x)); }};

  GatedConvolution() {
    torch::manual_seed(3);
    for (auto* module : std::initializer_list<torch::nn::Module*>{convolution.get(), value.get(),
                                                                  gate.get(), out.get()}) {
      module->to(torch::kDouble);
      for (auto& parameter : module->parameters()) parameter.detach().normal_(0, 0.5);
    }
  }
  GatedConvolution(const GatedConvolution&) = delete;
};

// The samples whose minimum lies at no kink, where rounding decides on the side of the derivative.
data::Batch without_kinks(const nn::NetworkImpl& network, const data::Batch& batch) {
  const auto activities = Lbfgs(kPrecise).infer(network, batch).activities;
  auto smooth = at::ones({batch.input.size(0)}, at::kBool);
  for (std::size_t l = 1; l < network.size(); ++l) {
    const auto sums = at::matmul(activities[l - 1], network.dense(l).weight.mT());
    smooth.logical_and_(sums.abs().amin(-1).gt(1e-5));
  }
  return {batch.input.index({smooth}), batch.target.index({smooth})};
}

// Oracle: the same network with its derivatives written out, activities and weight directions. A
// minimum near a kink, which no gradient shows, is found to the square root of the energy's
// rounding.
TEST(OwnLayers, AgreeWithDenseNetworks) {
  const auto hidden = nn::Activation::kTanh;
  for (const auto& options : {nn::mlp({5, 7, 6, 4}, hidden, nn::Activation::kSigmoid).with_bias(),
                              nn::mlp({5, 8, 6, 4}, nn::Activation::kLeakyReLU),
                              nn::mlp({5, 8, 6, 4}, nn::Activation::kGELU).with_bias(),
                              nn::mlp({5, 6, 6, 4}, nn::Activation::kSiLU, nn::Activation::kGELU),
                              nn::linear_residual(5, 4), nn::mlp({4, 3})}) {
    const auto network = random_network(options);
    const auto layers = layers_of(*network);
    const bool kinks = network->dense(1).options.activation() == nn::Activation::kLeakyReLU;
    auto batch = random_batch(*network, 20);
    if (kinks) batch = without_kinks(*network, batch);
    ASSERT_GT(batch.input.size(0), 5);
    const double within = kinks ? 1e-6 : 1e-8;
    const auto own = infer(layers, batch.input, batch.target, kPrecise);
    const auto written_out = Lbfgs(kPrecise).infer(*network, batch);
    EXPECT_TRUE(own.report.all_converged()) << own.report.brief();
    EXPECT_LT(relative_difference(own.prediction, written_out.feedforward.prediction()), 1e-14);
    ASSERT_EQ(own.activities.size(), network->size() + 1);
    for (std::size_t l = 0; l <= network->size(); ++l) {
      EXPECT_LT(relative_difference(own.activities[l], written_out.activities[l]), within) << l;
    }
    EXPECT_LT(relative_difference(own.report.energy, written_out.report.energy), 1e-10);

    energy(layers, own.activities).backward();
    auto rule = learning::PredictiveCoding(std::make_shared<Lbfgs>(kPrecise));
    for (const auto& layer : rule.factors(*network, batch).layers) {
      EXPECT_LT(relative_difference(layer.weight.grad(), -learning::weight_direction(layer)),
                within);
      if (!layer.bias.defined()) continue;
      EXPECT_LT(relative_difference(layer.bias.grad(), -learning::bias_direction(layer)), within);
    }
  }
}

// Oracle: autograd. The gradient of the energy in every hidden activity vanishes, and the energy
// reported is that of the activities.
TEST(OwnLayers, EndWhereTheEnergyIsStationary) {
  GatedConvolution network;
  const auto input = at::randn({20, 1, 4, 5}, at::kDouble);
  const auto target = at::rand({20, 2}, at::kDouble) * 3;
  const auto state = infer(network.layers, input, target, kPrecise);
  EXPECT_TRUE(state.report.all_converged()) << state.report.brief();
  std::vector<at::Tensor> activities;
  for (const auto& activity : state.activities) {
    activities.push_back(activity.detach().clone().requires_grad_(true));
  }
  EXPECT_EQ(activities[1].sizes(), (std::vector<std::int64_t>{20, 3, 4, 5}));
  const auto total = energy(network.layers, activities);
  EXPECT_NEAR(20 * total.item<double>(), state.report.energy.sum().item<double>(), 1e-12);
  total.backward();
  EXPECT_GT(activities[0].grad().norm().item<double>(), 1e-3);
  EXPECT_LT(activities[1].grad().norm().item<double>(), 1e-11);
  EXPECT_LT(activities[2].grad().norm().item<double>(), 1e-11);
}

// Invariant: a sample ends where it would alone.
TEST(OwnLayers, SamplesDoNotInteract) {
  GatedConvolution network;
  const auto input = at::randn({20, 1, 4, 5}, at::kDouble);
  const auto target = at::rand({20, 2}, at::kDouble) * 3;
  const auto whole = infer(network.layers, input, target);
  for (std::int64_t b = 0; b < 20; ++b) {
    const auto alone = infer(network.layers, input.slice(0, b, b + 1), target.slice(0, b, b + 1));
    EXPECT_EQ(alone.report.steps.item<std::int64_t>(), whole.report.steps[b].item<std::int64_t>());
    for (std::size_t l = 1; l < 3; ++l) {
      EXPECT_LT(relative_difference(alone.activities[l], whole.activities[l].slice(0, b, b + 1)),
                1e-8);
    }
  }
}

// Invariant: parameters have no gradient from inference, and training lowers the error.
TEST(OwnLayers, Learn) {
  GatedConvolution network;
  const auto input = at::randn({20, 1, 4, 5}, at::kDouble);
  const auto target = at::rand({20, 2}, at::kDouble) * 3;
  std::vector<at::Tensor> parameters;
  for (const auto* module : std::initializer_list<torch::nn::Module*>{
           network.convolution.get(), network.value.get(), network.gate.get(), network.out.get()}) {
    for (const auto& parameter : module->parameters()) parameters.push_back(parameter);
  }
  torch::optim::SGD optimizer(parameters, 0.1);
  const auto error = [&](const Settled& state) {
    return (state.prediction - target).square().mean().item<double>();
  };
  const auto first = infer(network.layers, input, target);
  for (const auto& parameter : parameters) EXPECT_FALSE(parameter.grad().defined());
  for (int t = 0; t < 100; ++t) {
    const auto state = infer(network.layers, input, target);
    optimizer.zero_grad();
    energy(network.layers, state.activities).backward();
    optimizer.step();
  }
  EXPECT_LT(error(infer(network.layers, input, target)), 0.2 * error(first));
}

// Contract: mistakes are named.
TEST(OwnLayers, RefuseImpossibleNetworks) {
  const auto x = at::randn({3, 4}, at::kDouble);
  const std::vector<Layer> one{[](const at::Tensor& t) { return t; }};
  EXPECT_THROW(infer({}, x, x), c10::Error);
  EXPECT_THROW(infer(one, x, at::randn({3, 5}, at::kDouble)), c10::Error);
  EXPECT_THROW(infer(one, x, x, {.step_size = 0.1}), c10::Error);
  EXPECT_THROW(energy(one, {x}), c10::Error);
}

}  // namespace
}  // namespace pcxx::inference
