// The same numbers on a GPU as on the CPU. Skipped on machines without one.

#include <gtest/gtest.h>
#include <pcxx/core/files.h>
#include <pcxx/data/image_dataset.h>
#include <pcxx/data/linear_teacher.h>
#include <pcxx/inference/curvature.h>
#include <pcxx/inference/equilibrium.h>
#include <pcxx/inference/error_descent.h>
#include <pcxx/inference/lbfgs.h>
#include <pcxx/inference/own_layers.h>
#include <pcxx/inference/state_descent.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/learning/predictive_coding.h>
#include <pcxx/metrics/accuracy.h>
#include <pcxx/metrics/layer_diagnostics.h>
#include <pcxx/metrics/map_error.h>
#include <pcxx/metrics/predicted_alignment.h>
#include <pcxx/metrics/reconstruction.h>
#include <pcxx/metrics/target_alignment.h>
#include <pcxx/nn/init.h>
#include <pcxx/optim/factory.h>
#include <pcxx/optim/member_sgd.h>
#include <pcxx/optim/rescaled.h>
#include <pcxx/train/training_state.h>
#include <torch/cuda.h>
#include <torch/serialize.h>

#include <filesystem>

#include "support/environment.h"
#include "support/networks.h"
#include "support/process.h"
#include "support/tables.h"

namespace pcxx {
namespace {

using test::random_batch;
using test::random_network;
using test::relative_difference;

class Device_CUDA : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!torch::cuda::is_available()) GTEST_SKIP() << "this machine has no CUDA device";
  }
  const at::Device device_{at::kCUDA};
};

std::vector<nn::NetworkOptions> networks() {
  const auto autoencoder =
      nn::mlp({20, 12, 5, 20}, nn::Activation::kReLU, nn::Activation::kSigmoid);
  return {nn::mlp({20, 20, 20}), nn::linear_residual(12, 3), autoencoder, autoencoder.with_bias(),
          autoencoder.ensemble(3)};
}

std::vector<optim::RescalingOptions> rescalings() {
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
                              const optim::RescalingOptions& rescaling, at::Device device) {
  auto network = random_network(options);
  network->to(device);
  optim::Rescaled optimizer(optim::make_optimizer("adam", network->parameters(), 1e-2),
                            optim::make_rescaling(rescaling));
  for (std::uint64_t t = 0; t < 3; ++t) {
    optimizer.step(rule.factors(*network, random_batch(*network, 6, t)).layers);
  }
  std::vector<at::Tensor> result;
  for (const auto& parameter : network->parameters()) result.push_back(parameter.detach().cpu());
  return result;
}

// Oracle: the CPU.
TEST_F(Device_CUDA, TrainsToTheSameWeights) {
  learning::Backpropagation bp;
  learning::PredictiveCoding pc;
  learning::PredictiveCoding by_states(std::make_shared<inference::StateDescent>(
      inference::DescentOptions{.max_steps = 100, .step_size = 0.05}));
  for (const auto& options : networks()) {
    for (const auto& rescaling : rescalings()) {
      for (auto* rule : std::initializer_list<learning::LearningRule*>{&bp, &pc, &by_states}) {
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

// Oracle: the CPU. All that an inference gives lies on the network's device. At a kink of ReLU
// rounding decides where a descent ends, but hardly how high.
TEST_F(Device_CUDA, InfersTheSame) {
  for (const auto& options : networks()) {
    const auto here = random_network(options);
    auto there = random_network(options);
    there->to(device_);
    const auto batch = random_batch(*here, 20);
    const bool kinks = here->layer(1).options.activation() == nn::Activation::kReLU;
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
          [network, l](const at::Tensor& x) { return network->layer(l).forward(x); });
    }
    const auto batch = random_batch(*network, 7);
    const auto state =
        inference::infer(layers, batch.input.to(device), batch.target.to(device),
                         {.max_steps = 500, .tolerance = 1e-10, .energy_tolerance = 0});
    inference::energy(layers, state.activities).backward();
    return std::pair(state.activities[1].cpu(), network->layer(1).weight.grad().cpu());
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
                           optim::make_rescaling({.name = "recursive_projection"}));
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
  EXPECT_TRUE(at::equal(network->layer(1).weight, copy->layer(1).weight));
}

// Invariant: weights are drawn on the CPU, so a seed gives the same network on every device.
TEST_F(Device_CUDA, DrawsTheSameWeights) {
  nn::Network here(nn::mlp({9, 8, 7}));
  nn::Network there(nn::mlp({9, 8, 7}));
  there->to(device_);
  nn::init::kaiming_(*here, make_generator(1, Purpose::kWeights));
  nn::init::kaiming_(*there, make_generator(1, Purpose::kWeights));
  EXPECT_TRUE(at::equal(here->layer(1).weight, there->layer(1).weight.cpu()));
}

// Oracle: the CPU. One rate per member.
TEST_F(Device_CUDA, MembersHaveTheirOwnRates) {
  auto network = random_network(nn::mlp({4, 3}).ensemble(2));
  network->to(device_);
  const auto before = network->layer(1).weight.detach().cpu();
  optim::MemberSGD sgd(network->parameters(), at::tensor({0.0, 0.5}, at::kDouble));
  network->layer(1).weight.mutable_grad() = at::ones_like(network->layer(1).weight);
  sgd.step();
  const auto moved = network->layer(1).weight.detach().cpu() - before;
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
        optim::Rescaled(std::move(adam), optim::make_rescaling({.name = "recursive_projection"}))};
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
    EXPECT_LT(relative_difference(second.network->layer(1).weight.cpu(),
                                  first.network->layer(1).weight.cpu()),
              1e-10);
  }
}

// ---- Programs

using Words = std::vector<std::string>;

const Words kImages{"--set", "dataset=digits", "--set", "samples=200", "--set", "test_samples=100",
                    "--set", "dtype=float64",  "--set", "steps=4",     "--set", "seeds=1",
                    "--set", "test_every=2"};

Words with(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

class Programs_CUDA : public Device_CUDA,
                      public ::testing::WithParamInterface<std::pair<std::string, Words>> {
 protected:
  static void run(const std::string& program, const Words& words) {
    const test::Process process(with({std::string(PCXX_BINARY_DIR) + "/bin/" + program}, words));
    ASSERT_EQ(process.wait(), 0) << process.errors();
  }

  test::TemporaryFolder folder_;
  test::CurrentFolder current_{folder_.path()};
  test::Variable python_{"PCXX_PYTHON", "/nonexistent"};
};

// Oracle: the same command on the CPU. Training of a few steps, to rounding.
TEST_P(Programs_CUDA, GivesTheSameNumbers) {
  const auto& [program, words] = GetParam();
  run(program, with(words, {"--device", "cpu", "--out", "here"}));
  run(program, with(words, {"--device", "cuda", "--out", "there"}));
  EXPECT_LT(test::largest_difference(read_file("here/metrics.csv"), read_file("there/metrics.csv")),
            1e-6);
}

INSTANTIATE_TEST_SUITE_P(
    All, Programs_CUDA,
    ::testing::Values(
        std::pair("pcxx-alignment",
                  Words{"--set", "rule=[bp,pc]", "--set", "rescaling=[none,alpha,projection]",
                        "--set", "width=40", "--set", "batch_size=[1,30]", "--set", "seeds=2",
                        "--set", "held_out=50", "--set", "diagnostics=true"}),
        std::pair("pcxx-inference",
                  Words{"--set", "task=teacher",
                        "--set", "architecture=dln",
                        "--set", "widths=[]",
                        "--set", "width=20",
                        "--set", "hidden_layers=2",
                        "--set", "batch_size=9",
                        "--set", "dtype=float64",
                        "--set", "inference_steps=8",
                        "--set", "inference_tolerance=0",
                        "--set", "inference_energy_tolerance=0",
                        "--set", "inference=[error_descent,state_descent,closed_form]",
                        "--set", "inference_step_size=0.1",
                        "--set", "seeds=2"}),
        std::pair("pcxx-regression",
                  Words{"--set", "rule=[bp,pc]", "--set",
                        "rescaling=[none,projection,recursive_projection]", "--set", "width=20",
                        "--set", "learning_rate=[0.01,0.1]", "--set", "steps=5", "--set", "seeds=2",
                        "--set", "measure=[target_alignment,held_out_alignment]"}),
        std::pair("pcxx-autoencoder",
                  with(kImages,
                       {"--set", "rule=[bp,pc]", "--set", "rescaling=[none,projection]", "--set",
                        "learning_rate=0.1", "--set", "measure=target_alignment"})),
        std::pair("pcxx-classifier",
                  with(kImages, {"--set", "optimizer=[sgd,adam]", "--set", "learning_rate=0.01",
                                 "--set", "widths=[784,32,10]"})),
        std::pair("pcxx-trajectory", Words{"--set", "rescaling=[none,alpha]"})));

// Contract: pcxx-reproduce hands the device on to the programs that it runs.
TEST_F(Device_CUDA, ReproducesThere) {
  const test::TemporaryFolder folder;
  const test::CurrentFolder current(folder.path());
  const test::Variable python("PCXX_PYTHON", "/nonexistent");
  const test::Process process({std::string(PCXX_BINARY_DIR) + "/bin/pcxx-reproduce", "--figure",
                               "1B", "--profile", "quick", "--out", "run", "--device", "cuda"});
  process.wait();  // without Python it cannot draw, and says so
  EXPECT_NE(read_file("run/panels/1B/config.toml").find("device = \"cuda\""), std::string::npos)
      << process.errors();
}

}  // namespace
}  // namespace pcxx
