// The same numbers on a CUDA device as on the CPU.

#include <gtest/gtest.h>
#include <pcxx/data/image_dataset.h>
#include <pcxx/data/linear_teacher.h>
#include <pcxx/inference/curvature.h>
#include <pcxx/inference/equilibrium.h>
#include <pcxx/inference/error_descent.h>
#include <pcxx/inference/lbfgs.h>
#include <pcxx/inference/own_layers.h>
#include <pcxx/inference/state_descent.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/learning/incremental.h>
#include <pcxx/learning/kalman.h>
#include <pcxx/learning/predictive_coding.h>
#include <pcxx/metrics/accuracy.h>
#include <pcxx/metrics/dead_units.h>
#include <pcxx/metrics/layer_diagnostics.h>
#include <pcxx/metrics/map_error.h>
#include <pcxx/metrics/predicted_alignment.h>
#include <pcxx/metrics/reconstruction.h>
#include <pcxx/metrics/target_alignment.h>
#include <pcxx/nn/init.h>
#include <pcxx/optim/member_sgd.h>
#include <pcxx/optim/optimizers.h>
#include <pcxx/optim/rescaled.h>
#include <pcxx/train/training_state.h>
#include <torch/nn/utils/convert_parameters.h>
#include <torch/serialize.h>

#include <sstream>

#include "device/on_device.h"
#include "nn/by_hand.h"
#include "support/networks.h"
#include "support/own_layers.h"
#include "support/rescalings.h"

namespace pcxx {
namespace {

using test::random_batch;
using test::random_network;
using test::relative_difference;

using Device_CUDA = test::OnDevice;

std::vector<nn::NetworkOptions> networks() {
  const auto autoencoder =
      nn::mlp({20, 12, 5, 20}, nn::Activation::kReLU, nn::Activation::kSigmoid);
  return {nn::mlp({20, 20, 20}), nn::linear_residual(12, 3), autoencoder, autoencoder.with_bias(),
          autoencoder.ensemble(3)};
}

std::vector<test::RescalingOptions> rescalings() {
  using optim::Spectrum;
  return {{.name = "none"},
          {.name = "alpha"},
          {.name = "alpha", .denominator = optim::AlphaDenominator::kPresynaptic, .floor = 0.5},
          {.name = "decorrelation"},
          {.name = "decorrelation", .regularisation = 1e-3},
          {.name = "decorrelation", .regularisation = 1e-3, .spectrum = Spectrum::kLower},
          {.name = "decorrelation", .regularisation = 1e-3, .spectrum = Spectrum::kSingular},
          {.name = "decorrelation", .regularisation = 1e-3, .as_printed = true},
          {.name = "projection", .regularisation = 1e-3},
          {.name = "projection"},
          {.name = "recursive_projection"}};
}

// Steps enough for every sample to settle; stops by tolerance would hide the rounding that differs.
std::vector<std::shared_ptr<inference::Inference>> inferences() {
  const inference::DescentOptions precise{
      .max_steps = 2000, .step_size = 0, .tolerance = 1e-10, .energy_tolerance = 0};
  auto fixed = precise;
  fixed.step_size = 0.05;
  return {std::make_shared<inference::Lbfgs>(precise),
          std::make_shared<inference::ErrorDescent>(precise),
          std::make_shared<inference::ErrorDescent>(fixed),
          std::make_shared<inference::StateDescent>(fixed)};
}

// Weights after three updates, on the CPU.
std::vector<at::Tensor> train(const nn::NetworkOptions& options, learning::LearningRule& rule,
                              const test::RescalingOptions& rescaling, at::Device device) {
  auto network = random_network(options);
  network->to(device);
  optim::Rescaled optimizer(optim::make_optimizer("adam", network->parameters(), 1e-2),
                            test::make_rescaling(rescaling));
  for (std::uint64_t t = 0; t < 3; ++t) {
    const auto batch = random_batch(*network, 6, t);
    for (std::int64_t i = 0; i < rule.steps_per_batch(); ++i) {
      optimizer.step(rule.factors(*network, batch));
    }
  }
  std::vector<at::Tensor> result;
  for (const auto& parameter : network->parameters()) result.push_back(parameter.detach().cpu());
  return result;
}

// Oracle: the CPU.
TEST_F(Device_CUDA, TrainsToTheSameWeights) {
  learning::Backpropagation bp;
  learning::PredictiveCoding pc;
  const auto states = std::make_shared<inference::StateDescent>(
      inference::DescentOptions{.max_steps = 100, .step_size = 0.05});
  learning::PredictiveCoding by_states(states);
  learning::PredictiveCoding nudged(states, {.nudging = 0.5, .centred = true});
  learning::IncrementalPredictiveCoding incremental;
  for (const auto& options : networks()) {
    for (const auto& rescaling : rescalings()) {
      for (auto* rule : std::initializer_list<learning::LearningRule*>{&bp, &pc, &by_states,
                                                                       &nudged, &incremental}) {
        SCOPED_TRACE(c10::str(rescaling.name, ", ", rule->name()));
        const auto there = train(options, *rule, rescaling, device_);
        const auto here = train(options, *rule, rescaling, at::kCPU);
        for (std::size_t i = 0; i < here.size(); ++i) {
          EXPECT_LT(relative_difference(there[i], here[i]), 1e-6);
        }
      }
    }
  }
}

// Oracle: the CPU. Kalman predictive coding, settled at the outputs and below them, with and
// without a fixed noise, batches of more samples than the CPU takes at once, and its memory.
TEST_F(Device_CUDA, TrainsByKalmanToTheSameWeights) {
  using learning::Narrowing;
  const auto train_by = [](const nn::NetworkOptions& options, const learning::KalmanOptions& kalman,
                           at::Device device) {
    auto network = random_network(options);
    network->to(device);
    learning::KalmanPredictiveCoding rule(kalman);
    optim::Rescaled optimizer(optim::make_optimizer("sgd", network->parameters(), 1),
                              test::make_rescaling({}));
    for (std::uint64_t t = 0; t < 3; ++t) {
      optimizer.step(rule.factors(*network, random_batch(*network, t == 0 ? 6 : 40, t)));
    }
    std::vector<at::Tensor> result;
    for (const auto& parameter : network->parameters()) result.push_back(parameter.detach());
    for (const auto& q : rule.covariances()) result.push_back(q);
    for (const auto& [name, value] : learning::measurements(rule.report())) result.push_back(value);
    for (auto& tensor : result) {
      EXPECT_EQ(tensor.device().type(), device.type());
      tensor = tensor.cpu();
    }
    return result;
  };
  auto all = networks();
  all.push_back(nn::mlp({9, 20, 30}, nn::Activation::kReLU).with_bias());
  all.push_back(nn::mlp({9, 8, 7, 30}, nn::Activation::kTanh, nn::Activation::kSigmoid));
  for (const auto& options : all) {
    for (const auto narrowing : {Narrowing::kCertainty, Narrowing::kConstancy}) {
      for (const double rho : {0.0, 0.1}) {
        SCOPED_TRACE(c10::str(nn::Network(options), narrowing == Narrowing::kConstancy, " ", rho));
        const learning::KalmanOptions kalman{.noise_fraction = rho, .narrowing = narrowing};
        const auto there = train_by(options, kalman, device_);
        const auto here = train_by(options, kalman, at::kCPU);
        ASSERT_EQ(there.size(), here.size());
        for (std::size_t i = 0; i < here.size(); ++i) {
          EXPECT_LT(relative_difference(there[i], here[i]), 1e-6) << i;
        }
      }
    }
  }
}

// Oracle: the CPU. Residuals of 0 tell nothing of the noise, by which the rule divides.
TEST_F(Device_CUDA, KalmanTakesTargetsThatAreMet) {
  const auto step_on = [](at::Device device) {
    auto network = random_network(nn::mlp({5, 4, 3}));
    network->to(device);
    auto batch = random_batch(*network, 6);
    batch.target = nn::feedforward(*network, batch.input).prediction().cpu();
    learning::KalmanPredictiveCoding rule;
    return rule.factors(*network, batch).own[0].directions[0].cpu();
  };
  const auto here = step_on(at::kCPU);
  EXPECT_TRUE(here.isfinite().all().item<bool>());
  EXPECT_TRUE(at::allclose(step_on(device_), here, 1e-6, 1e-12));
}

// Oracle: the CPU. A member whose numbers are not finite, a layer without an input: the other
// members and layers go on.
TEST_F(Device_CUDA, DeadLayersAndBrokenMembersAreTheSame) {
  const auto options = nn::mlp({5, 4, 3}).ensemble(3);
  for (const auto& rescaling : rescalings()) {
    SCOPED_TRACE(rescaling.name);
    const auto directions = [&](at::Device device) {
      auto network = random_network(options);
      network->to(device);
      auto batch = random_batch(*network, 6);
      batch.input[0].zero_();
      batch.input[1].fill_(1e200);
      const auto step = learning::Backpropagation().factors(*network, batch);
      auto found = test::make_rescaling(rescaling)->directions(step.layers);
      return std::pair(found[0].weight.cpu(), found[1].weight.cpu());
    };
    const auto here = directions(at::kCPU);
    const auto there = directions(device_);
    EXPECT_TRUE(at::allclose(there.first, here.first, 1e-6, 1e-9, /*equal_nan=*/true));
    EXPECT_TRUE(at::allclose(there.second, here.second, 1e-6, 1e-9, /*equal_nan=*/true));
  }
}

// Oracle: the CPU. Layers of every kind, and those of one's own.
TEST_F(Device_CUDA, PredictsTheSame) {
  std::vector<nn::Network> all{test::gated_network()};
  for (const auto& options : test::networks_of_every_kind()) all.push_back(random_network(options));
  for (auto& network : all) {
    SCOPED_TRACE(c10::str(network));
    const auto input = random_batch(*network, 3).input;
    const auto expected = network->forward(input);
    network->to(device_);
    EXPECT_EQ(network->tensor_options().device(), device_);
    const auto prediction = network->forward(input.to(device_));
    EXPECT_EQ(prediction.device(), device_);
    EXPECT_LT(relative_difference(prediction.cpu(), expected), 1e-12);
  }
}

// Oracle: the CPU. A layer of one's own between two others, which settle together.
TEST_F(Device_CUDA, TrainsOwnLayersToTheSameWeights) {
  learning::Backpropagation bp;
  learning::PredictiveCoding pc(std::make_shared<inference::Lbfgs>(
      inference::DescentOptions{.max_steps = 300, .tolerance = 1e-10, .energy_tolerance = 0}));
  for (auto* rule : std::initializer_list<learning::LearningRule*>{&bp, &pc}) {
    const auto trained = [&](at::Device device) {
      auto network = test::gated_network();
      network->to(device);
      optim::Rescaled optimizer(optim::make_optimizer("adam", network->parameters(), 1e-2),
                                test::make_rescaling({.name = "projection"}));
      for (std::uint64_t t = 0; t < 3; ++t) {
        optimizer.step(rule->factors(*network, random_batch(*network, 6, t)));
      }
      return torch::nn::utils::parameters_to_vector(network->parameters()).detach().cpu();
    };
    EXPECT_LT(relative_difference(trained(device_), trained(at::kCPU)), 1e-6) << rule->name();
  }
}

// Oracle: the CPU. All that an inference gives lies on the network's device. At a kink of ReLU
// rounding decides where a descent ends, but hardly how high.
TEST_F(Device_CUDA, InfersTheSame) {
  for (const auto& options : networks()) {
    const auto here = random_network(options);
    auto there = random_network(options);
    there->to(device_);
    const auto batch = random_batch(*here, 20);
    const bool kinks = here->dense(1).options.activation() == nn::Activation::kReLU;
    auto methods = inferences();
    if (here->is_linear()) methods.push_back(std::make_shared<inference::ClosedForm>());
    for (const auto& method : methods) {
      SCOPED_TRACE(method->name());
      const auto expected = method->infer(*here, batch);
      const auto found = method->infer(*there, batch);
      EXPECT_LT(relative_difference(found.report.energy.cpu(), expected.report.energy), 1e-6);
      EXPECT_FALSE(found.report.brief().empty());
      for (std::size_t l = 1; l <= here->size(); ++l) {
        EXPECT_TRUE(found.errors[l].is_cuda());
        if (kinks) continue;
        EXPECT_LT(relative_difference(found.activities[l].cpu(), expected.activities[l]), 1e-6);
        EXPECT_LT(relative_difference(found.errors[l].cpu(), expected.errors[l]), 1e-6);
      }
      for (const auto& [name, values] : inference::measurements(found.report)) {
        EXPECT_TRUE(values.is_cuda()) << name;
      }
      EXPECT_TRUE(found.report.step_size.is_cuda());
      if (kinks) continue;
      EXPECT_LT(relative_difference(inference::curvature(*there, found, 30).cpu(),
                                    inference::curvature(*here, expected, 30)),
                1e-5);
    }
  }
}

// Oracle: the CPU. Layers of one's own.
TEST_F(Device_CUDA, InfersInOwnLayersTheSame) {
  const auto settle = [](at::Device device) {
    auto network = random_network(nn::mlp({5, 8, 6, 4}, nn::Activation::kTanh));
    network->to(device);
    std::vector<inference::Layer> layers;
    for (std::size_t l = 1; l <= network->size(); ++l) {
      layers.emplace_back(
          [network, l](const at::Tensor& x) { return network->dense(l).forward(x); });
    }
    const auto batch = random_batch(*network, 7);
    const auto state =
        inference::infer(layers, batch.input.to(device), batch.target.to(device),
                         {.max_steps = 500, .tolerance = 1e-10, .energy_tolerance = 0});
    inference::energy(layers, state.activities).backward();
    return std::pair(state.activities[1].cpu(), network->dense(1).weight.grad().cpu());
  };
  const auto here = settle(at::kCPU);
  const auto there = settle(device_);
  EXPECT_LT(relative_difference(there.first, here.first), 1e-6);
  EXPECT_LT(relative_difference(there.second, here.second), 1e-6);
}

// Oracle: the CPU, for every metric.
TEST_F(Device_CUDA, MeasuresTheSame) {
  const auto options = nn::mlp({9, 8, 7}).ensemble(2);
  const auto here = random_network(options);
  auto there = random_network(options);
  there->to(device_);
  const auto measure = [](const nn::NetworkImpl& network) {
    const auto batch = random_batch(network, 5);
    const auto step = learning::PredictiveCoding().factors(network, batch);
    const auto update = metrics::make_update(optim::Plain().directions(step.layers));
    const auto teacher = at::linspace(-1, 1, 63, at::kDouble).view({7, 9});
    const auto input = batch.input[0];
    const auto target = batch.target[0];
    std::vector<at::Tensor> found{
        metrics::target_alignment(network, batch, update).mean,
        metrics::target_alignment(network, batch, update, 1e-3).batch,
        metrics::predict_alignment(network, batch).alignment.mean,
        metrics::predict_alignment(network, batch, {.alpha = true, .floor = 0.5}).alignment.mean,
        metrics::mean_squared_error(network, input, target),
        metrics::accuracy(network, input, target.argmax(-1)),
        metrics::map_error(network, teacher),
        metrics::map_error_squared_frobenius(network, teacher),
        metrics::excess_map_error(network, teacher)};
    for (const auto& layer : metrics::diagnose(step.layers)) {
      for (const auto& value : {layer.alignment, layer.feedforward_norm, layer.presynaptic_norm,
                                layer.condition_number, layer.interference, layer.cross_sample}) {
        found.push_back(value);
      }
    }
    for (auto& value : found) value = value.cpu();
    return at::stack(found);
  };
  EXPECT_LT(relative_difference(measure(*there), measure(*here)), 1e-10);
}

// Oracle: the CPU, for dead units, which only a network with ReLU has.
TEST_F(Device_CUDA, CountsTheSameDeadUnits) {
  const auto share_on = [](at::Device device) {
    auto network = random_network(nn::mlp({9, 50, 50, 7}, nn::Activation::kReLU));
    network->to(device);
    return metrics::dead_units(*network, nn::feedforward(*network, random_batch(*network, 3).input))
        .item<double>();
  };
  EXPECT_GT(share_on(at::kCPU), 0);
  EXPECT_EQ(share_on(device_), share_on(at::kCPU));
}

// Oracle: the CPU. Teachers, images and compressed batches.
TEST_F(Device_CUDA, DrawsTheSameData) {
  const auto draw = [](at::Device device) {
    data::LinearTeacher teacher({4, 3}, 1, at::dtype(at::kDouble).device(device));
    auto batch = data::compress(teacher.next(50));
    EXPECT_EQ(batch.input.device().type(), device.type());
    data::Images images{.pixels = at::arange(12, at::kByte).view({3, 4}),
                        .labels = at::arange(3, at::kLong),
                        .rows = 2,
                        .columns = 2};
    const auto classes = data::classification_batch(images.to(device), at::tensor({2, 0}), 3,
                                                    at::dtype(at::kDouble).device(device));
    // The signs of a triangular factor are free, its moments are not.
    return std::vector<at::Tensor>{at::matmul(batch.input.mT(), batch.target).cpu(),
                                   teacher.map().cpu(), teacher.held_out(5).target.cpu(),
                                   classes.input.cpu(), classes.target.cpu()};
  };
  const auto here = draw(at::kCPU);
  const auto there = draw(device_);
  for (std::size_t i = 0; i < here.size(); ++i) {
    EXPECT_LT(relative_difference(there[i], here[i]), 1e-12) << i;
  }
}

// Contract: an optimizer with memory that was saved on the device goes on there as if it had not
// been.
TEST_F(Device_CUDA, OptimizersGoOnFromAnArchive) {
  const auto options = nn::mlp({5, 4, 3});
  const auto make = [](nn::Network& network) {
    return optim::Rescaled(optim::make_optimizer("adam", network->parameters(), 1e-2),
                           test::make_rescaling({.name = "recursive_projection"}));
  };
  auto network = random_network(options);
  network->to(device_);
  auto optimizer = make(network);
  const auto step = [&](nn::Network& of, optim::Rescaled& by, std::uint64_t t) {
    by.step(learning::Backpropagation().factors(*of, random_batch(*of, 6, t)).layers);
  };
  step(network, optimizer, 1);
  std::stringstream file;
  torch::save(optimizer, file);
  nn::Network copy(std::dynamic_pointer_cast<nn::NetworkImpl>(network->clone()));
  auto other = make(copy);
  torch::load(other, file);
  step(network, optimizer, 2);
  step(copy, other, 2);
  EXPECT_TRUE(at::equal(network->dense(1).weight, copy->dense(1).weight));
}

// Invariant: weights are drawn on the CPU, so a seed gives the same network on every device.
TEST_F(Device_CUDA, DrawsTheSameWeights) {
  nn::Network here(nn::mlp({9, 8, 7}));
  nn::Network there(nn::mlp({9, 8, 7}));
  there->to(device_);
  nn::init::kaiming_(*here, make_generator(1, Purpose::kWeights));
  nn::init::kaiming_(*there, make_generator(1, Purpose::kWeights));
  EXPECT_TRUE(at::equal(here->dense(1).weight, there->dense(1).weight.cpu()));
}

// Oracle: the CPU. One rate per member.
TEST_F(Device_CUDA, MembersHaveTheirOwnRates) {
  auto network = random_network(nn::mlp({4, 3}).ensemble(2));
  network->to(device_);
  const auto before = network->dense(1).weight.detach().cpu();
  optim::MemberSGD sgd(network->parameters(), at::tensor({0.0, 0.5}, at::kDouble));
  network->dense(1).weight.mutable_grad() = at::ones_like(network->dense(1).weight);
  sgd.step();
  const auto moved = network->dense(1).weight.detach().cpu() - before;
  EXPECT_EQ(moved[0].abs().max().item<double>(), 0);
  EXPECT_LT((moved[1] + 0.5).abs().max().item<double>(), 1e-14);
}

// Contract: a training goes on from its state on whatever device its network is now.
TEST_F(Device_CUDA, ATrainingMovesBetweenDevices) {
  const auto options = nn::mlp({5, 4, 3});
  struct Training {
    nn::Network network;
    optim::Rescaled optimizer;
  };
  const auto make = [&](at::Device device) {
    auto network = random_network(options);
    network->to(device);
    auto adam = optim::make_optimizer("adam", network->parameters(), 1e-2);
    return Training{
        network,
        optim::Rescaled(std::move(adam), test::make_rescaling({.name = "recursive_projection"}))};
  };
  learning::Backpropagation rule;
  const auto step = [&](Training& training, std::uint64_t t) {
    const auto batch = random_batch(*training.network, 6, t);
    training.optimizer.step(rule.factors(*training.network, batch).layers);
  };
  for (const auto& [from, to] :
       {std::pair(device_, at::Device(at::kCPU)), std::pair(at::Device(at::kCPU), device_)}) {
    auto first = make(from);
    step(first, 1);
    auto second = make(to);
    train::restore(train::training_state(first.network, rule, first.optimizer), second.network,
                   rule, second.optimizer);
    step(first, 2);
    step(second, 2);
    EXPECT_LT(relative_difference(second.network->dense(1).weight.cpu(),
                                  first.network->dense(1).weight.cpu()),
              1e-10);
  }
}

}  // namespace
}  // namespace pcxx
