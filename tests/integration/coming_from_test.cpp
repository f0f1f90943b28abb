// The code of docs/coming_from.md, and what the page says of it. Its blocks of C++ stand here word
// for word.

#include <gtest/gtest.h>
#include <pcxx/nn/sequential.h>
#include <pcxx/pcxx.h>
#include <torch/torch.h>

#include "support/networks.h"

namespace pcxx {
namespace {

using test::relative_difference;

data::Batch random_batch(std::int64_t inputs, std::int64_t outputs) {
  torch::manual_seed(0);
  return {torch::randn({64, inputs}), torch::randn({64, outputs})};
}

// Oracle: autograd on the loss that the page gives, 1/2 the sum over outputs, the mean over
// samples.
TEST(ComingFrom, PyTorch) {
  const auto batch = random_batch(20, 10);
  nn::Network net(nn::mlp({20, 50, 10}, nn::Activation::kReLU));
  nn::init::kaiming_(*net, make_generator(/*seed=*/0, Purpose::kWeights));
  learning::Backpropagation rule;
  optim::Rescaled optimizer(torch::optim::SGD(net->parameters(), 0.1),
                            std::make_unique<optim::Plain>());

  const auto before = net->dense(1).weight.detach().clone();
  const auto loss = 0.5 * (batch.target - net->forward(batch.input)).square().sum(1).mean();
  const auto gradient = torch::autograd::grad({loss}, {net->dense(1).weight})[0];

  const auto step = rule.factors(*net, batch);
  optimizer.step(step.layers);

  const auto change = net->dense(1).weight.detach() - before;
  EXPECT_LT(relative_difference(change, -0.1 * gradient), 1e-5);
  EXPECT_TRUE(step.prediction.requires_grad() == false);
  // nn.MSELoss has the mean over all entries and no 1/2.
  const auto mse = (batch.target - step.prediction).square().mean().item<double>();
  EXPECT_NEAR(loss.item<double>(), mse * 10 / 2, 1e-4);
}

// Oracle: the error of the model itself, which shares the network's weights, before the step and
// after it.
TEST(ComingFrom, PyTorchSequential) {
  const auto batch = random_batch(20, 10);
  const auto error = [&](torch::nn::Sequential& model) {
    return (batch.target - model->forward(batch.input)).square().mean().item<double>();
  };
  torch::manual_seed(1);
  torch::nn::Sequential as_it_was(torch::nn::Linear(20, 50), torch::nn::ReLU(),
                                  torch::nn::Linear(50, 10));

  torch::manual_seed(1);
  torch::nn::Sequential model(torch::nn::Linear(20, 50), torch::nn::ReLU(),
                              torch::nn::Linear(50, 10));
  auto net = nn::from_sequential(model);
  optim::Rescaled optimizer(torch::optim::SGD(net->parameters(), 0.5),
                            std::make_unique<optim::Projection>(optim::ProjectionOptions{1e-2}));
  optimizer.step(learning::PredictiveCoding().factors(*net, batch));

  EXPECT_LT(error(model), 0.9 * error(as_it_was));
  EXPECT_TRUE(
      at::equal(nn::to_sequential(*net)->forward(batch.input), model->forward(batch.input)));
}

// Contract: a network of other layers learns by autograd at the equilibrium.
TEST(ComingFrom, PyTorchWithOtherLayers) {
  torch::manual_seed(0);
  const auto images = torch::rand({8, 1, 12, 12});
  const auto targets = torch::rand({8, 3});
  torch::nn::Conv2d convolution(torch::nn::Conv2dOptions(1, 4, 5));
  torch::nn::Linear readout(4 * 8 * 8, 3);
  std::vector<inference::Layer> layers{
      [&](const at::Tensor& x) { return torch::relu(convolution->forward(x)); },
      [&](const at::Tensor& x) { return readout->forward(x.flatten(1)); }};
  const auto settled = inference::infer(layers, images, targets);
  inference::energy(layers, settled.activities).backward();
  EXPECT_TRUE(settled.report.all_converged());
  EXPECT_GT(convolution->weight.grad().norm().item<double>(), 0);
}

// Oracle: the mean over samples and outputs of the target-free prediction's error.
TEST(ComingFrom, Jpc) {
  const auto batch = random_batch(20, 10);
  nn::Network net(nn::mlp({20, 50, 50, 10}, nn::Activation::kReLU));
  nn::init::kaiming_(*net, make_generator(/*seed=*/0, Purpose::kWeights));
  learning::PredictiveCoding rule;  // L-BFGS here, the closed form in linear networks
  optim::Rescaled optimizer(torch::optim::SGD(net->parameters(), 0.1),
                            std::make_unique<optim::Plain>());

  const auto step = rule.factors(*net, batch);
  optimizer.step(step.layers);
  const auto report = step.report->brief();  // passes, residual, regime
  const auto error = metrics::mean_squared_error(*net, batch.input, batch.target);

  EXPECT_NE(report.find("64/64 converged"), std::string::npos) << report;
  const auto by_hand = (batch.target - net->forward(batch.input)).square().mean();
  EXPECT_NEAR(error.item<double>(), by_hand.item<double>(), 1e-6);
}

// Oracle: what the page says of the closed form: both ends are clamped, E* is 1/2 r^T S^-1 r.
TEST(ComingFrom, JpcInLinearNetworks) {
  const auto batch = random_batch(20, 10);
  nn::Network net(nn::mlp({20, 50, 10}));
  nn::init::kaiming_(*net, make_generator(/*seed=*/0, Purpose::kWeights));
  const auto state = inference::ClosedForm().infer(*net, batch);
  const auto hidden = state.activities[1];               // compute_linear_activity_solution
  const auto energy = state.report.mean_energy();        // linear_equilib_energy
  const auto scaling = inference::energy_scaling(*net);  // compute_linear_equilib_rescaling

  EXPECT_EQ(hidden.sizes(), (std::vector<std::int64_t>{64, 50}));
  EXPECT_TRUE(at::equal(state.activities.back(), batch.target));
  const auto r = batch.target - state.feedforward.prediction();
  const auto expected = 0.5 * (r * at::linalg_solve(scaling, r.t()).t()).sum(1).mean();
  EXPECT_NEAR(energy, expected.item<double>(), 1e-4 * energy);
}

// Oracle: a fixed number of steps is what the page says: samples do not see each other, so that the
// first eight of a batch settle as a batch of eight does.
TEST(ComingFrom, Pcx) {
  const auto batch = random_batch(20, 10);
  nn::Network net(nn::mlp({20, 50, 10}, nn::Activation::kReLU).with_bias());
  nn::init::kaiming_(*net, make_generator(/*seed=*/0, Purpose::kWeights));
  auto descent = std::make_shared<inference::StateDescent>(inference::DescentOptions{
      .max_steps = 20, .step_size = 0.05, .tolerance = 0, .energy_tolerance = 0});
  learning::PredictiveCoding rule(descent);
  optim::Rescaled optimizer(torch::optim::AdamW(net->parameters(), 1e-3),
                            std::make_unique<optim::Plain>());
  const auto step = rule.factors(*net, batch);
  optimizer.step(step.layers);

  EXPECT_EQ(step.report->max_steps(), 20);
  const data::Batch few(batch.input.narrow(0, 0, 8), batch.target.narrow(0, 0, 8));
  const auto whole = descent->infer(*net, batch).activities[1].narrow(0, 0, 8);
  EXPECT_LT(relative_difference(descent->infer(*net, few).activities[1], whole), 1e-5);
}

}  // namespace
}  // namespace pcxx
