#include <gtest/gtest.h>
#include <pcxx/inference/curvature.h>
#include <pcxx/inference/equilibrium.h>
#include <pcxx/inference/error_descent.h>
#include <pcxx/inference/lbfgs.h>
#include <pcxx/inference/state_descent.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/learning/predictive_coding.h>
#include <pcxx/metrics/target_alignment.h>
#include <pcxx/nn/binary_cross_entropy.h>
#include <pcxx/nn/cross_entropy.h>

#include "support/networks.h"

namespace pcxx::learning {
namespace {

using inference::DescentOptions;
using nn::Activation;
using test::random_network;
using test::relative_difference;

const DescentOptions kToTheEnd{.max_steps = 20000, .tolerance = 1e-12, .energy_tolerance = 0};

nn::NetworkOptions classifier(Activation hidden, std::shared_ptr<const nn::Loss> loss =
                                                     std::make_shared<nn::CrossEntropy>()) {
  return nn::mlp({6, 8, 7, 4}, hidden).with_bias().loss(std::move(loss));
}

data::Batch labelled(std::int64_t samples) {
  return {at::randn({samples, 6}, at::kDouble),
          at::one_hot(at::randint(4, {samples}), 4).to(at::kDouble), samples};
}

at::Tensor mean_loss(const at::Tensor& prediction, const at::Tensor& target) {
  return -(target * at::log_softmax(prediction, -1)).sum() / static_cast<double>(target.size(0));
}

void expect_minus_gradients(const nn::NetworkImpl& network, const Step& step, double tolerance) {
  for (std::size_t l = 1; l <= network.size(); ++l) {
    const auto& layer = network.dense(l);
    EXPECT_LT(relative_difference(weight_direction(step.layers[l - 1]), -layer.weight.grad()),
              tolerance)
        << l;
    EXPECT_LT(relative_difference(bias_direction(step.layers[l - 1]), -layer.bias.grad()),
              tolerance)
        << l;
  }
}

// Oracle: autograd.
TEST(CrossEntropyRules, BackpropagationIsAutograd) {
  const auto network = random_network(classifier(Activation::kTanh));
  const auto batch = labelled(9);
  mean_loss(network->forward(batch.input), batch.target).backward();
  expect_minus_gradients(*network, Backpropagation().factors(*network, batch), 1e-12);
}

// Oracle: autograd of LibTorch's loss of logits.
TEST(BinaryCrossEntropyRules, BackpropagationIsAutograd) {
  const auto network =
      random_network(classifier(Activation::kTanh, std::make_shared<nn::BinaryCrossEntropy>()));
  const data::Batch batch{at::randn({9, 6}, at::kDouble), at::rand({9, 4}, at::kDouble), 9};
  (at::binary_cross_entropy_with_logits(network->forward(batch.input), batch.target) * 4)
      .backward();
  expect_minus_gradients(*network, Backpropagation().factors(*network, batch), 1e-12);
}

// Oracle: autograd of the energy at the equilibrium's activities, held fixed, which are stationary.
TEST(CrossEntropyRules, PredictiveCodingIsTheGradientOfTheEnergy) {
  const auto network = random_network(classifier(Activation::kTanh));
  const auto batch = labelled(9);
  PredictiveCoding rule(std::make_shared<inference::Lbfgs>(kToTheEnd));
  const auto step = rule.factors(*network, batch);
  ASSERT_TRUE(step.report && step.report->all_converged());
  const auto state = inference::Lbfgs(kToTheEnd).infer(*network, batch);
  std::vector<at::Tensor> x;
  for (const auto& activity : state.activities) {
    x.push_back(activity.detach().clone().requires_grad_());
  }
  auto energy = 9 * mean_loss(network->layer(3).prediction(x[2]), batch.target);
  for (std::size_t l = 1; l < 3; ++l) {
    energy = energy + (x[l] - network->layer(l).prediction(x[l - 1])).square().sum() / 2;
  }
  EXPECT_LT(relative_difference(state.report.energy.sum(), energy.detach()), 1e-12);
  (energy / 9).backward();
  expect_minus_gradients(*network, step, 1e-9);
  for (std::size_t l = 1; l < 3; ++l) EXPECT_LT(x[l].grad().abs().max().item<double>(), 1e-9);
}

// Oracle: each other. Three methods, two kinds of variables, one minimum.
TEST(CrossEntropyRules, EveryInferenceFindsTheMinimum) {
  const std::shared_ptr<const nn::Loss> binary = std::make_shared<nn::BinaryCrossEntropy>();
  for (const auto& options : {classifier(Activation::kIdentity), classifier(Activation::kTanh),
                              classifier(Activation::kTanh, binary)}) {
    const auto network = random_network(options);
    const auto batch = labelled(10);
    const auto expected = inference::Lbfgs(kToTheEnd).infer(*network, batch);
    const inference::ErrorDescent errors(kToTheEnd);
    auto small = kToTheEnd;
    small.step_size = 0.1;
    const inference::StateDescent states(small);
    for (const auto* method : std::vector<const inference::Inference*>{&errors, &states}) {
      const auto state = method->infer(*network, batch);
      EXPECT_TRUE(state.report.all_converged()) << method->name();
      EXPECT_LT(relative_difference(state.report.energy, expected.report.energy), 1e-10);
      for (std::size_t l = 1; l <= 3; ++l) {
        EXPECT_LT(relative_difference(state.errors[l], expected.errors[l]), 1e-6) << method->name();
      }
    }
  }
}

// Oracle: the largest eigenvalue of I + J^T H J, with J by autograd and H by its formula. One
// hidden layer, so that J is the last weight.
TEST(CrossEntropyRules, CurvatureIsTheLargestEigenvalue) {
  const auto network =
      random_network(nn::mlp({6, 8, 4}).loss(std::make_shared<nn::CrossEntropy>()));
  const auto batch = labelled(5);
  const auto found = inference::curvature(*network, batch, 500);
  const auto p = at::softmax(nn::feedforward(*network, batch.input).prediction(), -1);
  const auto w = network->dense(2).weight.detach();
  for (std::int64_t b = 0; b < 5; ++b) {
    const auto h = at::diag(p[b]) - at::outer(p[b], p[b]);
    const auto hessian = at::eye(8, at::kDouble) + w.t().matmul(h).matmul(w);
    EXPECT_LT(relative_difference(found[b], at::linalg_eigvalsh(hessian)[-1]), 1e-8);
  }
}

// Oracle: cos(-dL/dyhat, change) by hand.
TEST(CrossEntropyRules, AlignmentIsWithMinusTheGradientOfTheLoss) {
  const auto network = random_network(classifier(Activation::kTanh));
  const auto batch = labelled(5);
  const auto step = Backpropagation().factors(*network, batch);
  metrics::Update update;
  for (const auto& layer : step.layers) {
    update.weights.push_back(weight_direction(layer));
    update.biases.push_back(bias_direction(layer));
  }
  const auto pass = nn::feedforward(*network, batch.input);
  const auto residual = batch.target - at::softmax(pass.prediction(), -1);
  const auto expected =
      metrics::target_alignment(residual, metrics::first_order_change(*network, pass, update));
  EXPECT_LT(relative_difference(metrics::target_alignment(*network, batch, update).per_sample,
                                expected.per_sample),
            1e-12);
}

// Contract: closed forms are of the squared error.
TEST(CrossEntropyRules, ClosedFormsRefuseIt) {
  const auto network = random_network(classifier(Activation::kIdentity));
  const auto batch = labelled(3);
  EXPECT_THROW(inference::ClosedForm().infer(*network, batch), c10::Error);
  EXPECT_TRUE(PredictiveCoding().factors(*network, batch).report->method == "lbfgs");
}

}  // namespace
}  // namespace pcxx::learning
