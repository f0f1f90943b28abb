#include "support/own_layers.h"

#include <gtest/gtest.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/metrics/prediction_change.h>
#include <pcxx/metrics/target_alignment.h>
#include <pcxx/nn/block.h>
#include <pcxx/nn/scale.h>
#include <pcxx/optim/projection.h>
#include <pcxx/optim/rescaled.h>
#include <torch/optim/sgd.h>

#include "support/networks.h"
#include "support/updates.h"

namespace pcxx::metrics {
namespace {

using nn::Activation;
using test::gated_network;
using test::random_batch;
using test::random_network;
using test::relative_difference;

Update update_of(const nn::NetworkImpl& network, const data::Batch& batch) {
  const auto step = learning::Backpropagation().factors(network, batch);
  return make_update(network, step, optim::Projection().directions(step.layers));
}

// Oracle: the Dense network whose layers these are.
TEST(OwnLayers, ChangeThePredictionLikeTheDenseLayersThatTheyAre) {
  const auto dense = random_network(nn::mlp({5, 6, 4, 3}, Activation::kTanh).with_bias());
  const auto own = test::disguised(*dense);
  const auto batch = random_batch(*dense, 7);
  const auto plain = [&](const nn::NetworkImpl& network) {
    const auto step = learning::Backpropagation().factors(network, batch);
    return make_update(network, step, optim::Plain().directions(step.layers));
  };
  const auto expected = plain(*dense);
  const auto update = plain(*own);
  const auto pass = nn::feedforward(*own, batch.input);
  const auto dense_pass = nn::feedforward(*dense, batch.input);
  EXPECT_LT(relative_difference(first_order_change(*own, pass, update),
                                first_order_change(*dense, dense_pass, expected)),
            1e-12);
  EXPECT_LT(relative_difference(finite_change(*own, pass, update, 0.1),
                                finite_change(*dense, dense_pass, expected, 0.1)),
            1e-12);
}

// Oracle: the limit of finite changes; the network is left as it was, to the last bit.
TEST(OwnLayers, ChangeThePredictionInFirstOrderLikeSmallSteps) {
  for (const auto members : {std::optional<std::int64_t>(), std::optional<std::int64_t>(1)}) {
    const auto network = gated_network(members);
    const auto batch = random_batch(*gated_network(), 7);
    const auto pass = nn::feedforward(*network, batch.input);
    const auto update = update_of(*network, batch);
    const auto before = network->named_parameters()["layer2.gate"].detach().clone();
    const auto change = first_order_change(*network, pass, update);
    const auto forwards = finite_change(*network, pass, update, 1e-5);
    const auto backwards = finite_change(*network, pass, update, -1e-5);
    EXPECT_LT(relative_difference(change, (forwards + backwards) / 2), 1e-8);
    EXPECT_TRUE(network->named_parameters()["layer2.gate"].equal(before));
    EXPECT_EQ(target_alignment(*network, batch, update).per_sample.numel(), 7);
  }
}

// Oracle: the Dense network with W / 2 in place of a group that halves what W gives, whose
// directions are doubled; beside it stands a layer with a bias.
TEST(Groups, WithoutABiasChangeThePredictionLikeTheirMap) {
  const at::NoGradGuard no_grad;
  auto options = nn::mlp({5, 4, 3});
  options.layers()[1].bias(true);
  const auto dense = random_network(options);
  const auto group = [](auto in, auto out) {
    return std::make_shared<nn::Block>(
        std::vector<std::shared_ptr<nn::Layer>>{
            std::make_shared<nn::DenseImpl>(nn::DenseOptions(in, out)),
            std::make_shared<nn::Scale>(out, 0.5)},
        /*residual=*/false);
  };
  nn::Network network(options.with_layer(1, group));
  network->to(at::kDouble);
  network->layer(1).affine().weight.copy_(2 * dense->dense(1).weight);
  network->dense(2).weight.copy_(dense->dense(2).weight);
  network->dense(2).bias.copy_(dense->dense(2).bias);
  const auto batch = random_batch(*dense, 7);
  auto update = test::random_update(*dense);
  const auto pass = nn::feedforward(*dense, batch.input);
  const auto linear = first_order_change(*dense, pass, update);
  const auto finite = finite_change(*dense, pass, update, 0.1);
  update.weights[0] = 2 * update.weights[0];
  const auto grouped = nn::feedforward(*network, batch.input);
  EXPECT_LT(relative_difference(first_order_change(*network, grouped, update), linear), 1e-12);
  EXPECT_LT(relative_difference(finite_change(*network, grouped, update, 0.1), finite), 1e-12);
}

// Oracle: the update written to the gradients is the update, frozen parameters left out; a step of
// SGD moves the prediction as the finite change says.
TEST(OwnLayers, AreMovedByOptimizers) {
  const auto network = gated_network();
  const auto batch = random_batch(*network, 7);
  constexpr double kRate = 0.01;
  optim::Rescaled optimizer(torch::optim::SGD(network->parameters(), kRate),
                            std::make_unique<optim::Projection>());
  const auto step = learning::Backpropagation().factors(*network, batch);
  optimizer.write_gradients(step);
  const auto update = update_of(*network, batch);
  const auto written = update_of_gradients(*network);
  for (const std::size_t l : {0U, 2U}) {
    EXPECT_LT(relative_difference(written.weights[l], update.weights[l]), 1e-14);
    EXPECT_LT(relative_difference(written.biases[l], update.biases[l]), 1e-14);
  }
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_LT(relative_difference(written.own[1][i], update.own[1][i]), 1e-14);
  }
  const auto pass = nn::feedforward(*network, batch.input);
  const auto expected = finite_change(*network, pass, update, kRate);
  optimizer.step(step);
  const auto moved = nn::feedforward(*network, batch.input).prediction() - pass.prediction();
  EXPECT_LT(relative_difference(moved / kRate, expected), 1e-10);

  auto frozen = network->named_parameters()["layer2.shift"];
  frozen.set_requires_grad(false);
  frozen.mutable_grad() = at::Tensor();
  optimizer.step(learning::Backpropagation().factors(*network, batch));
  EXPECT_FALSE(frozen.grad().defined());
}

// Oracle: the sizes do not fit.
TEST(OwnLayers, NeedAnUpdateOfTheirOwn) {
  const auto network = gated_network();
  const auto batch = random_batch(*network, 7);
  auto update = update_of(*network, batch);
  update.own.clear();
  EXPECT_THROW(first_order_change(*network, nn::feedforward(*network, batch.input), update),
               c10::Error);
}

}  // namespace
}  // namespace pcxx::metrics
