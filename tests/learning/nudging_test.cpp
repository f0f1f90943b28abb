#include "learning/nudging.h"

#include <gtest/gtest.h>
#include <pcxx/inference/lbfgs.h>
#include <pcxx/learning/predictive_coding.h>
#include <pcxx/nn/binary_cross_entropy.h>
#include <pcxx/nn/conv2d.h>
#include <pcxx/nn/cross_entropy.h>
#include <torch/csrc/autograd/autograd.h>

#include "support/networks.h"
#include "support/own_layers.h"
#include "support/rescalings.h"

namespace pcxx::learning {
namespace {

using nn::Activation;
using test::random_batch;
using test::random_network;
using test::relative_difference;

std::shared_ptr<const inference::Inference> exact_lbfgs() {
  return std::make_shared<inference::Lbfgs>(
      inference::DescentOptions{.max_steps = 5000, .tolerance = 1e-13, .energy_tolerance = 0});
}

Step nudged(const nn::NetworkImpl& network, const data::Batch& batch, double beta,
            bool centred = false) {
  const bool is_quadratic = network.is_linear() && network.loss().is_squared_error();
  PredictiveCoding rule(is_quadratic ? nullptr : exact_lbfgs(),
                        {.nudging = beta, .centred = centred});
  return rule.factors(network, batch);
}

// Of all parameters that factors tell, one behind the other.
at::Tensor plain_update(const Step& step) {
  std::vector<at::Tensor> all;
  for (const auto& layer : step.layers) {
    all.push_back(weight_direction(layer).flatten());
    if (layer.bias.defined()) all.push_back(bias_direction(layer).flatten());
  }
  for (const auto& own : step.own) {
    for (const auto& direction : own.directions) all.push_back(direction.flatten());
  }
  return at::cat(all);
}

at::Tensor rescaled_update(const std::vector<optim::Direction>& directions) {
  std::vector<at::Tensor> all;
  for (const auto& direction : directions) {
    all.push_back(direction.weight.flatten());
    if (direction.bias.defined()) all.push_back(direction.bias.flatten());
  }
  return at::cat(all);
}

nn::Network images_network(Activation activation) {
  const auto convolution = nn::Conv2dOptions(1, 2, 3).size(4, 4).activation(activation).bias(true);
  return random_network(
      nn::mlp({16, 8, 5, 3}, activation).with_bias().with_layer(1, [convolution](auto, auto) {
        return std::make_shared<nn::Conv2d>(convolution);
      }));
}

std::vector<nn::Network> linear_networks() {
  return {random_network(nn::mlp({5, 6, 4})), random_network(nn::mlp({5, 6, 7, 4}).with_bias()),
          random_network(nn::linear_residual(5, 3).with_bias().ensemble(2)),
          images_network(Activation::kIdentity)};
}

std::vector<nn::Network> curved_networks() {
  auto logits = nn::mlp({5, 9, 6, 4}, Activation::kTanh).with_bias();
  logits.loss(std::make_shared<nn::CrossEntropy>());
  auto bits = nn::mlp({5, 9, 4}, Activation::kTanh);
  bits.loss(std::make_shared<nn::BinaryCrossEntropy>());
  return {random_network(nn::mlp({5, 9, 6, 4}, Activation::kTanh).with_bias()),
          random_network(nn::mlp({5, 9, 4}, Activation::kTanh, Activation::kSigmoid).ensemble(2)),
          random_network(logits),
          random_network(bits),
          images_network(Activation::kTanh),
          test::gated_network()};
}

// Targets that sum to one for the cross-entropy, as labels do.
data::Batch nudged_labels(const nn::NetworkImpl& network, std::int64_t batch_size) {
  auto batch = random_batch(network, batch_size);
  if (network.loss().is_of_logits()) batch.target = at::softmax(3 * batch.target, -1);
  return batch;
}

// Oracle: the rule as it is, with targets y' that the test makes itself, divided by beta.
TEST(Nudging, IsPredictiveCodingOfOtherTargets) {
  for (const auto& network : curved_networks()) {
    const auto batch = nudged_labels(*network, 4);
    for (const double beta : {0.5, -0.25, 1.5}) {
      SCOPED_TRACE(c10::str(network, network->loss().name(), " ", beta));
      const auto yhat = network->forward(batch.input).detach();
      const auto said = network->loss().name() == "cross_entropy" ? at::softmax(yhat, -1)
                        : network->loss().is_squared_error()      ? yhat
                                                                  : at::sigmoid(yhat);
      const data::Batch moved(batch.input, said + beta * (batch.target - said));
      const auto expected = PredictiveCoding(exact_lbfgs()).factors(*network, moved);
      const auto step = nudged(*network, batch, beta);
      EXPECT_LT(relative_difference(plain_update(step), plain_update(expected) / beta), 1e-9);
      EXPECT_TRUE(at::allclose(step.prediction, yhat, 1e-13));
    }
  }
}

// Invariant: beta = 1 clamps the outputs to the very targets.
TEST(Nudging, ByOneIsPredictiveCodingToTheBit) {
  for (const auto& network : curved_networks()) {
    const auto batch = nudged_labels(*network, 4);
    const auto expected = PredictiveCoding(exact_lbfgs()).factors(*network, batch);
    EXPECT_TRUE(at::equal(plain_update(nudged(*network, batch, 1)), plain_update(expected)));
  }
}

// Closed form: the targets of a cross-entropy stay probabilities, and with every loss the residual
// at the prediction is beta times what it was.
TEST(Nudging, ScalesTheResidualOfTheFeedforwardPass) {
  for (const auto& network : curved_networks()) {
    const auto batch = nudged_labels(*network, 4);
    const auto yhat = network->forward(batch.input).detach();
    for (const double beta : {0.3, -0.3}) {
      const auto target = nudged_batch(*network, batch, beta).target;
      const auto sums = target.sum(-1);
      if (network->loss().name() == "cross_entropy") {
        EXPECT_TRUE(at::allclose(sums, at::ones_like(sums), 1e-14));
      }
      EXPECT_LT(relative_difference(network->residual(yhat, target),
                                    beta * network->residual(yhat, batch.target)),
                1e-12);
    }
  }
}

// Theorem: in a linear network with the squared error errors scale with beta, and activities move
// by beta times what they do, so the update is linear in beta, and its centre knows none.
TEST(Nudging, OfALinearNetworkIsLinearInBeta) {
  for (const auto& network : linear_networks()) {
    if (!network->loss().is_squared_error()) continue;
    SCOPED_TRACE(c10::str(network));
    const auto batch = random_batch(*network, 4);
    const auto clamped = plain_update(nudged(*network, batch, 1));
    const auto centre = plain_update(nudged(*network, batch, 1, true));
    EXPECT_GT(relative_difference(clamped, centre), 1e-2);  // which is not the same
    for (const double beta : {0.5, 0.01, -0.7, 2.0}) {
      const auto expected = centre + beta * (clamped - centre);
      EXPECT_LT(relative_difference(plain_update(nudged(*network, batch, beta)), expected), 1e-10);
      EXPECT_LT(relative_difference(plain_update(nudged(*network, batch, beta, true)), centre),
                1e-10);
    }
  }
}

// What backpropagation makes of g = (I + H sum_{l<L} J_l J_l^T)^-1 r, one sample after the other,
// all by autograd; g is held fixed.
at::Tensor limit_of(const nn::NetworkImpl& network, const data::Batch& batch) {
  const auto n = network.out_features();
  std::vector<at::Tensor> sums;
  for (std::int64_t b = 0; b < batch.input.size(0); ++b) {
    auto x = batch.input.slice(0, b, b + 1);
    std::vector<at::Tensor> hidden;
    for (std::size_t l = 1; l <= network.size(); ++l) {
      x = network.layer(l).prediction(x);
      if (l < network.size()) hidden.push_back(x);
    }
    const auto target = batch.target.slice(0, b, b + 1);
    const auto r = network.residual(x.detach(), target);
    auto k = at::zeros({n, n}, at::kDouble);
    for (const auto& h : hidden) {
      std::vector<at::Tensor> rows;
      for (std::int64_t i = 0; i < n; ++i) {
        rows.push_back(torch::autograd::grad({x[0][i]}, {h}, {}, /*retain_graph=*/true)[0][0]);
      }
      const auto j = at::stack(rows);
      k = k + j.mm(j.t());
    }
    auto hessian = at::eye(n, at::kDouble);
    if (!network.loss().is_squared_error()) {
      const auto p = at::softmax(x.detach()[0], -1);
      hessian = at::diag(p) - at::outer(p, p);
    }
    const auto g = at::linalg_solve(at::eye(n, at::kDouble) + hessian.mm(k), r[0]);
    const auto found = torch::autograd::grad({(x[0] * g).sum()}, network.parameters());
    std::vector<at::Tensor> flat;
    for (const auto& gradient : found) flat.push_back(gradient.flatten());
    sums.push_back(at::cat(flat));
  }
  return at::stack(sums).mean(0);
}

// Oracle: the limit by autograd; the error falls with beta, and centred with its square.
TEST(Nudging, TendsToBackpropagationOfASharedResidual) {
  auto logits = nn::mlp({5, 9, 6, 4}, Activation::kTanh).with_bias();
  logits.loss(std::make_shared<nn::CrossEntropy>());
  for (const auto& options : {nn::mlp({5, 9, 6, 4}, Activation::kTanh).with_bias(), logits,
                              nn::mlp({5, 9, 4}, Activation::kTanh, Activation::kSigmoid)}) {
    const auto network = random_network(options);
    const auto batch = nudged_labels(*network, 3);
    const auto expected = limit_of(*network, batch);
    const auto error = [&](double beta, bool centred) {
      return relative_difference(plain_update(nudged(*network, batch, beta, centred)), expected);
    };
    EXPECT_LT(error(1e-3, true), 1e-5);
    EXPECT_NEAR(std::log10(error(1e-1, false) / error(1e-2, false)), 1, 0.2);
    EXPECT_NEAR(std::log10(error(1e-1, true) / error(1e-2, true)), 2, 0.1);
  }
  // With one hidden layer below linear outputs the energy is quadratic, and the centre exact.
  const auto network = random_network(nn::mlp({5, 9, 4}, Activation::kTanh).with_bias());
  const auto batch = nudged_labels(*network, 3);
  EXPECT_LT(relative_difference(plain_update(nudged(*network, batch, 0.5, true)),
                                limit_of(*network, batch)),
            1e-10);
}

// Oracle: the half of the sum of both signs.
TEST(Nudging, IsCentredByTheMeanOfBothSigns) {
  for (const auto& network : curved_networks()) {
    SCOPED_TRACE(c10::str(network));
    const auto batch = nudged_labels(*network, 4);
    const auto above = nudged(*network, batch, 0.5);
    const auto below = nudged(*network, batch, -0.5);
    const auto step = nudged(*network, batch, 0.5, true);
    EXPECT_LT(
        relative_difference(plain_update(step), (plain_update(above) + plain_update(below)) / 2),
        1e-12);
    EXPECT_LT(
        relative_difference(plain_update(nudged(*network, batch, -0.5, true)), plain_update(step)),
        1e-12);
    for (const auto& layer : step.layers) EXPECT_EQ(layer.samples, 4);
    const auto& report = *step.report;
    EXPECT_TRUE(at::equal(report.steps, above.report->steps + below.report->steps));
    EXPECT_TRUE(
        at::equal(report.residual, at::maximum(above.report->residual, below.report->residual)));
    EXPECT_TRUE(at::allclose(report.energy * 2, above.report->energy + below.report->energy));
    EXPECT_TRUE(report.all_converged());
  }
}

std::vector<test::RescalingOptions> nudged_rescalings() {
  return {{.name = "none"},
          {.name = "alpha"},
          {.name = "decorrelation", .regularisation = 0.1},
          {.name = "decorrelation", .regularisation = 0.1, .spectrum = optim::Spectrum::kSingular},
          {.name = "decorrelation", .regularisation = 0.1, .as_printed = true},
          {.name = "projection"},
          {.name = "projection", .regularisation = 0.1},
          {.name = "recursive_projection"}};
}

// Theorem: in a linear network both signs make the same errors, and activities whose mean is the
// feed-forward one. So every rescaling, which sees means, makes what it makes of the B rows of
// these errors with presynaptic activity xhat. Batches thinner than the layers, between, and
// thicker.
TEST(Nudging, IsRescaledAsTheMeanOfBothSigns) {
  for (const auto& network : linear_networks()) {
    for (const auto& options : nudged_rescalings()) {
      const auto ours = test::make_rescaling(options);
      const auto theirs = test::make_rescaling(options);
      for (const std::int64_t batch_size : {1, 3, 4, 20}) {
        SCOPED_TRACE(c10::str(network, options.name, " ", options.regularisation, " ", batch_size));
        const auto batch = random_batch(*network, batch_size);
        const auto step = nudged(*network, batch, 0.6, true);
        auto expected = nudged(*network, batch, 0.6).layers;
        for (auto& layer : expected) layer.presynaptic = layer.feedforward;
        EXPECT_LT(relative_difference(rescaled_update(ours->directions(step.layers)),
                                      rescaled_update(theirs->directions(expected))),
                  1e-10);
      }
    }
  }
}

// Closed form: alpha's other denominator is the mean of u.u, of both signs.
TEST(Nudging, HasTheMeanSquareOfBothSigns) {
  const auto network = random_network(nn::mlp({5, 6, 7, 4}).with_bias());
  const auto batch = random_batch(*network, 3);
  optim::Alpha alpha({optim::AlphaDenominator::kPresynaptic, std::nullopt});
  const auto step = nudged(*network, batch, 0.6, true);
  const auto found = alpha.directions(step.layers);
  const auto above = nudged(*network, batch, 0.6).layers;
  const auto below = nudged(*network, batch, -0.6).layers;
  for (std::size_t l = 0; l < found.size(); ++l) {
    const auto squares = above[l].presynaptic.square() + below[l].presynaptic.square();
    const double c = squares.sum().item<double>() / (2 * 3) + 1;
    EXPECT_LT(relative_difference(found[l].weight * c, weight_direction(step.layers[l])), 1e-12);
    EXPECT_LT(relative_difference(found[l].bias * c, bias_direction(step.layers[l])), 1e-12);
  }
}

TEST(Nudging, NeedsAFiniteNumberThatIsNotZero) {
  EXPECT_THROW(PredictiveCoding(nullptr, {.nudging = 0}), c10::Error);
  EXPECT_THROW(PredictiveCoding(nullptr, {.nudging = std::nan("")}), c10::Error);
}

}  // namespace
}  // namespace pcxx::learning
