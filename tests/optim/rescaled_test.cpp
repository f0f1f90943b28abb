#include <gtest/gtest.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/optim/member_sgd.h>
#include <pcxx/optim/optimizers.h>
#include <pcxx/optim/projection.h>
#include <pcxx/optim/recursive_projection.h>
#include <pcxx/optim/rescaled.h>
#include <torch/optim/adagrad.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/lbfgs.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>
#include <torch/serialize.h>

#include <sstream>

#include "support/heavy_ball.h"
#include "support/networks.h"

namespace pcxx::optim {
namespace {

using test::random_batch;
using test::random_network;
using test::relative_difference;

nn::NetworkOptions small() {
  return nn::mlp({5, 7, 4}, nn::Activation::kTanh).with_bias();
}

// Holds no numbers, and stands for any other device.
const at::Device kElsewhere(at::kMeta);

template <typename Action>
std::string refusal(const Action& action) {
  try {
    action();
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  }
  return "nothing";
}

std::unique_ptr<Rescaling> plain() {
  return std::make_unique<Plain>();
}

void expect_same_weights(const nn::NetworkImpl& a, const nn::NetworkImpl& b, double tolerance) {
  const auto left = a.parameters();
  const auto right = b.parameters();
  for (std::size_t i = 0; i < left.size(); ++i) {
    EXPECT_LE(relative_difference(left[i], right[i]), tolerance);
  }
}

// Oracle: the same optimizer fed by autograd.
TEST(Rescaled, PlainIsTheOptimizerOnAutogradsGradients) {
  for (const std::string name : {"sgd", "adam", "adamw", "rmsprop"}) {
    SCOPED_TRACE(name);
    const auto ours = random_network(small());
    const auto theirs = std::dynamic_pointer_cast<nn::NetworkImpl>(ours->clone());
    Rescaled optimizer(make_optimizer(name, ours->parameters(), 0.05), plain());
    const auto reference = make_optimizer(name, theirs->parameters(), 0.05);
    for (std::uint64_t t = 0; t < 5; ++t) {
      const auto batch = random_batch(*ours, 6, t);
      optimizer.step(learning::Backpropagation().factors(*ours, batch).layers);
      reference->zero_grad();
      (0.5 * (batch.target - theirs->forward(batch.input)).square().sum() / 6.0).backward();
      reference->step();
    }
    expect_same_weights(*ours, *theirs, 1e-10);
  }
}

// Invariant: parameter groups may come in any order and leave layers out; frozen layers stay.
TEST(Rescaled, FollowsParameterGroupsAndFrozenLayers) {
  const auto network = random_network(nn::mlp({5, 7, 6, 4}));
  const auto before = std::dynamic_pointer_cast<nn::NetworkImpl>(network->clone());
  network->dense(2).weight.requires_grad_(false);
  using torch::optim::OptimizerParamGroup;
  torch::optim::SGD sgd(
      std::vector<OptimizerParamGroup>{
          OptimizerParamGroup({network->dense(3).weight},
                              std::make_unique<torch::optim::SGDOptions>(0.5)),
          OptimizerParamGroup({network->dense(2).weight, network->dense(1).weight})},
      torch::optim::SGDOptions(0.1));
  Rescaled optimizer(std::move(sgd), plain());
  const auto step = learning::Backpropagation().factors(*network, random_batch(*network, 6));
  optimizer.step(step.layers);
  const auto moved = [&](std::size_t l) {
    return network->dense(l).weight - before->dense(l).weight;
  };
  EXPECT_LT(relative_difference(moved(3), 0.5 * learning::weight_direction(step.layers[2])), 1e-12);
  EXPECT_LT(relative_difference(moved(1), 0.1 * learning::weight_direction(step.layers[0])), 1e-12);
  EXPECT_EQ(moved(2).abs().max().item<double>(), 0);
}

// Invariant: the gradient buffer is made once and follows the dtype of the parameter.
TEST(Rescaled, ReusesTheGradientBufferAndFollowsTheDtype) {
  auto network = random_network(small());
  Rescaled optimizer(torch::optim::SGD(network->parameters(), 0.1), plain());
  const auto step = [&] {
    const auto batch = random_batch(*network, 3);
    optimizer.step(learning::Backpropagation().factors(*network, batch).layers);
  };
  step();
  const auto* buffer = network->dense(1).weight.grad().const_data_ptr();
  step();
  EXPECT_EQ(network->dense(1).weight.grad().const_data_ptr(), buffer);
  network->to(torch::kFloat);
  step();
  EXPECT_EQ(network->dense(1).weight.grad().scalar_type(), torch::kFloat);
  EXPECT_TRUE(network->dense(1).weight.isfinite().all().item<bool>());
}

// Invariant: interrupted by a save and a load, training ends with the same weights to the last bit.
TEST(Rescaled, IsSavedAndLoaded) {
  auto network = random_network(small());
  const auto make = [](const nn::NetworkImpl& owner) {
    return Rescaled(make_optimizer("adam", owner.parameters(), 0.01),
                    std::make_unique<RecursiveProjection>());
  };
  const auto train = [](nn::NetworkImpl& trained, Rescaled& optimizer, std::uint64_t from) {
    for (std::uint64_t t = from; t < from + 4; ++t) {
      const auto batch = random_batch(trained, 2, t);
      optimizer.step(learning::Backpropagation().factors(trained, batch).layers);
    }
  };
  auto optimizer = make(*network);
  train(*network, optimizer, 0);
  std::stringstream file;
  torch::save(optimizer, file);

  const auto copy = std::dynamic_pointer_cast<nn::NetworkImpl>(network->clone());
  auto restored = make(*copy);
  torch::load(restored, file);
  train(*network, optimizer, 4);
  train(*copy, restored, 4);
  expect_same_weights(*copy, *network, 0);
}

// Oracle: the optimizer that goes on, to the last bit, for every optimizer of LibTorch and its
// options, and one that LibTorch does not know; a scheduler's rate is kept as well.
TEST(Rescaled, GoesOnFromItsState) {
  using namespace torch::optim;
  const auto make = [](const std::string& name, const nn::NetworkImpl& owner) {
    const auto parameters = owner.parameters();
    std::unique_ptr<Optimizer> inner;
    if (name == "sgd") inner = std::make_unique<SGD>(parameters, 0.1);
    if (name == "momentum") {
      inner = std::make_unique<SGD>(parameters, SGDOptions(0.1).momentum(0.9));
    }
    if (name == "adam") inner = std::make_unique<Adam>(parameters, 0.01);
    if (name == "amsgrad") {
      inner = std::make_unique<Adam>(parameters, AdamOptions(0.01).amsgrad(true));
    }
    if (name == "adamw") inner = std::make_unique<AdamW>(parameters, 0.01);
    if (name == "rmsprop") inner = std::make_unique<RMSprop>(parameters, 0.01);
    if (name == "centered") {
      inner =
          std::make_unique<RMSprop>(parameters, RMSpropOptions(0.01).centered(true).momentum(0.9));
    }
    if (name == "adagrad") inner = std::make_unique<Adagrad>(parameters, 0.01);
    if (name == "own") inner = std::make_unique<test::HeavyBall>(parameters, 0.1, 0.9);
    return Rescaled(std::move(inner), std::make_unique<RecursiveProjection>());
  };
  const auto train = [](const nn::NetworkImpl& trained, Rescaled& optimizer, std::uint64_t from) {
    for (std::uint64_t t = from; t < from + 3; ++t) {
      const auto batch = random_batch(trained, 2, t);
      optimizer.step(learning::Backpropagation().factors(trained, batch).layers);
    }
  };
  for (const std::string name :
       {"sgd", "momentum", "adam", "amsgrad", "adamw", "rmsprop", "centered", "adagrad", "own"}) {
    SCOPED_TRACE(name);
    const auto network = random_network(small());
    auto optimizer = make(name, *network);
    train(*network, optimizer, 0);
    optimizer.inner().param_groups().front().options().set_lr(0.003);
    State state;
    for (const auto& [key, tensor] : optimizer.state()) state[key] = tensor.clone();
    const auto copy = std::dynamic_pointer_cast<nn::NetworkImpl>(network->clone());
    auto restored = make(name, *copy);
    restored.set_state(state);
    train(*network, optimizer, 3);
    train(*copy, restored, 3);
    expect_same_weights(*copy, *network, 0);
    // Contract: a gap, or a tensor of other sizes, is refused and changes nothing.
    const auto before = restored.state();
    for (const auto& [key, tensor] : state) {
      auto wrong = state;
      wrong.erase(key);
      EXPECT_THROW(restored.set_state(wrong), c10::Error) << key;
      if (tensor.numel() == 0) continue;
      wrong[key] = tensor.unsqueeze(0).repeat_interleave(2, 0);
      EXPECT_THROW(restored.set_state(wrong), c10::Error) << key;
    }
    const auto after = restored.state();
    ASSERT_EQ(after.size(), before.size());
    for (const auto& [key, tensor] : before) EXPECT_TRUE(at::equal(after.at(key), tensor)) << key;
  }
}

// Contract: a memory that nobody can read is refused, not left out.
TEST(Rescaled, SavesNoMemoryThatItDoesNotKnow) {
  class Counting final : public torch::optim::Optimizer {
   public:
    struct Count : torch::optim::OptimizerCloneableParamState<Count> {};
    explicit Counting(std::vector<at::Tensor> parameters)
        : Optimizer(std::move(parameters), std::make_unique<torch::optim::SGDOptions>(0.1)) {}
    torch::Tensor step(LossClosure = nullptr) override {
      for (const auto& parameter : param_groups().front().params()) {
        state()[parameter.unsafeGetTensorImpl()] = std::make_unique<Count>();
      }
      return {};
    }
  };
  const auto network = random_network(small());
  Rescaled optimizer(std::make_unique<Counting>(network->parameters()), plain());
  EXPECT_NO_THROW(optimizer.state());
  optimizer.inner().step();
  EXPECT_NE(refusal([&] { optimizer.state(); }).find("it is no optim::WithMemory"),
            std::string::npos);
}

std::string message(const std::function<void()>& action) {
  try {
    action();
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  }
  return "";
}

// Contract: an archive of another optimizer, rescaling or network is refused, with both named.
TEST(Rescaled, RefusesAnotherArchive) {
  const auto network = random_network(small());
  const auto wider = random_network(nn::mlp({5, 8, 4}).with_bias());
  const auto written = [](const Rescaled& optimizer) {
    auto file = std::make_shared<std::stringstream>();
    torch::save(optimizer, *file);
    return file;
  };
  const auto adam = [](const nn::NetworkImpl& owner, std::unique_ptr<Rescaling> rescaling) {
    return Rescaled(make_optimizer("adam", owner.parameters(), 0.01), std::move(rescaling));
  };
  auto target = adam(*network, plain());
  const auto refused = [&](const Rescaled& source) {
    const auto file = written(source);
    return message([&] { torch::load(target, *file); });
  };
  EXPECT_NE(refused(Rescaled(torch::optim::SGD(network->parameters(), 0.1), plain())).find("SGD"),
            std::string::npos);
  EXPECT_NE(refused(adam(*network, std::make_unique<Projection>())).find("projection"),
            std::string::npos);
  EXPECT_NE(refused(adam(*wider, plain())).find("[8, 5]"), std::string::npos);
  std::stringstream weights;
  torch::save(network, weights);
  EXPECT_NE(message([&] { torch::load(target, weights); }).find("no rescaled optimizer"),
            std::string::npos);
}

// Contract: LBFGS evaluates the network itself, which factors cannot serve.
TEST(Rescaled, RefusesLBFGS) {
  const auto network = random_network(small());
  EXPECT_THROW(Rescaled(std::make_unique<torch::optim::LBFGS>(network->parameters(), 0.1), plain()),
               c10::Error);
}

// Oracle: SGD on every member alone, at its own rate.
TEST(MemberSGD, IsPlainDescentAtEachMembersRate) {
  const auto ensemble = random_network(small().ensemble(3));
  const auto rates = at::tensor({0.1, 0.0, 0.7}, at::kDouble);
  std::vector<nn::Network> alone;
  for (std::int64_t r = 0; r < 3; ++r) alone.push_back(test::member(*ensemble, r));
  Rescaled together(std::make_unique<MemberSGD>(ensemble->parameters(), rates), plain());
  const auto batch = random_batch(*ensemble, 6);
  together.step(learning::Backpropagation().factors(*ensemble, batch).layers);
  for (std::int64_t r = 0; r < 3; ++r) {
    auto& single = alone[static_cast<std::size_t>(r)];
    Rescaled sgd(torch::optim::SGD(single->parameters(), rates[r].item<double>()), plain());
    sgd.step(learning::Backpropagation()
                 .factors(*single, data::Batch(batch.input[r], batch.target[r]))
                 .layers);
    expect_same_weights(*test::member(*ensemble, r), *single, 1e-12);
  }
}

// Invariant: a scheduler's factor multiplies every rate; both are saved and loaded.
TEST(MemberSGD, TakesAFactorAndIsSavedAndLoaded) {
  const auto make = [](const at::Tensor& weight, const at::Tensor& rates) {
    return MemberSGD({weight}, rates);
  };
  const auto weight = at::zeros({2, 3}, at::kDouble).requires_grad_(true);
  weight.mutable_grad() = at::ones({2, 3}, at::kDouble);
  auto sgd = make(weight, at::tensor({1.0, 2.0}, at::kDouble));
  sgd.param_groups().front().options().set_lr(0.5);
  sgd.step();
  EXPECT_TRUE(at::equal(weight.detach().select(1, 0), at::tensor({-0.5, -1.0}, at::kDouble)));

  std::stringstream file;
  torch::save(static_cast<torch::optim::Optimizer&>(sgd), file);
  auto restored = make(weight, at::tensor({7.0, 7.0}, at::kDouble));
  torch::load(static_cast<torch::optim::Optimizer&>(restored), file);
  EXPECT_TRUE(at::equal(restored.rates(), sgd.rates()));
  restored.step();
  EXPECT_TRUE(at::equal(weight.detach().select(1, 0), at::tensor({-1.0, -2.0}, at::kDouble)));
}

// Contract: a rate for every member, and members in every parameter.
TEST(MemberSGD, RefusesRatesThatDoNotFit) {
  const auto rates = at::tensor({0.1, 0.2}, at::kDouble);
  EXPECT_THROW(MemberSGD({at::zeros({3, 2})}, rates), c10::Error);
  EXPECT_THROW(MemberSGD({at::zeros({2, 2})}, rates.view({1, 2})), c10::Error);
}

// Contract: factors on another device than their layer's weight are refused with one sentence, and
// no gradient is written.
TEST(Residency, FactorsAreWhereTheWeightsAre) {
  using Part = at::Tensor learning::LayerFactors::*;
  const std::vector<std::pair<Part, std::string>> parts{
      {&learning::LayerFactors::bias, "the bias"},
      {&learning::LayerFactors::error, "the error"},
      {&learning::LayerFactors::presynaptic, "the presynaptic activity"},
      {&learning::LayerFactors::feedforward, "the feed-forward activity"}};
  for (const auto& [part, name] : parts) {
    const auto network = random_network(small());
    Rescaled optimizer(torch::optim::SGD(network->parameters(), 0.1), plain());
    auto layers = learning::Backpropagation().factors(*network, random_batch(*network, 3)).layers;
    layers[1].*part = (layers[1].*part).detach().to(kElsewhere);
    EXPECT_EQ(refusal([&] { optimizer.step(layers); }),
              name + " of layer 2 lies on meta, but what it is used with on cpu");
    EXPECT_FALSE(network->dense(1).weight.grad().defined());
  }
}

// Contract: what an optimizer remembers on another device than its parameters is refused.
TEST(Residency, TheStateOfAnOptimizerIsWhereItsParametersAre) {
  using namespace torch::optim;
  const auto expect_refusal = [](auto make, auto move) {
    const auto network = random_network(small());
    Rescaled optimizer(make(network->parameters()), plain());
    const auto layers =
        learning::Backpropagation().factors(*network, random_batch(*network, 3)).layers;
    optimizer.step(layers);
    move(*optimizer.inner().state().at(network->dense(2).weight.unsafeGetTensorImpl()));
    EXPECT_EQ(refusal([&] { optimizer.step(layers); }),
              "the state of the optimizer lies on meta, but what it is used with on cpu");
  };
  const auto away = [](const at::Tensor& t) { return t.to(kElsewhere); };
  expect_refusal([](auto parameters) { return SGD(parameters, SGDOptions(0.1).momentum(0.9)); },
                 [&](OptimizerParamState& state) {
                   auto& sgd = dynamic_cast<SGDParamState&>(state);
                   sgd.momentum_buffer(away(sgd.momentum_buffer()));
                 });
  expect_refusal([](auto parameters) { return Adam(parameters); },
                 [&](OptimizerParamState& state) {
                   auto& adam = dynamic_cast<AdamParamState&>(state);
                   adam.exp_avg_sq(away(adam.exp_avg_sq()));
                 });
  expect_refusal([](auto parameters) { return AdamW(parameters); },
                 [&](OptimizerParamState& state) {
                   auto& adam = dynamic_cast<AdamWParamState&>(state);
                   adam.exp_avg(away(adam.exp_avg()));
                 });
  expect_refusal([](auto parameters) { return RMSprop(parameters); },
                 [&](OptimizerParamState& state) {
                   auto& rms = dynamic_cast<RMSpropParamState&>(state);
                   rms.square_avg(away(rms.square_avg()));
                 });
}

// Contract: so are rates of members and the memory of a rescaling.
TEST(Residency, RatesAndMemoriesAreWhereTheParametersAre) {
  const auto network = random_network(small());
  auto layers = learning::Backpropagation().factors(*network, random_batch(*network, 3)).layers;
  RecursiveProjection rescaling;
  rescaling.directions(layers);
  for (auto* part : {&layers[0].error, &layers[0].presynaptic, &layers[0].feedforward}) {
    *part = part->to(kElsewhere);
  }
  EXPECT_EQ(refusal([&] { rescaling.directions(layers); }),
            "the memory of layer 1 lies on cpu, but what it is used with on meta");

  MemberSGD sgd({at::zeros({2, 3})}, at::tensor({0.1, 0.2}));
  auto& parameter = sgd.param_groups().front().params().front();
  parameter = at::zeros({2, 3}, kElsewhere);
  parameter.mutable_grad() = at::ones({2, 3}, kElsewhere);
  EXPECT_EQ(refusal([&] { sgd.step(); }),
            "the vector of rates lies on cpu, but what it is used with on meta");
}

}  // namespace
}  // namespace pcxx::optim
