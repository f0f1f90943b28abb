#include <gtest/gtest.h>
#include <pcxx/inference/lbfgs.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/learning/predictive_coding.h>
#include <pcxx/metrics/layer_diagnostics.h>
#include <pcxx/metrics/prediction_change.h>
#include <pcxx/nn/block.h>
#include <pcxx/nn/conditioning.h>
#include <pcxx/nn/conv2d.h>
#include <pcxx/nn/init.h>
#include <pcxx/nn/pool2d.h>
#include <pcxx/optim/rescaled.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/optim/sgd.h>

#include "support/networks.h"
#include "support/rescalings.h"

namespace pcxx::learning {
namespace {

using nn::Activation;
using test::random_batch;
using test::relative_difference;

constexpr std::int64_t kBatch = 6;
constexpr std::int64_t kLocations = 9;  // of the second layer

// Images of 6 x 6, 72 units, 27 units, 4 outputs.
nn::Conv2dOptions lower() {
  return nn::Conv2dOptions(1, 2, 3).size(6, 6).padding(1).activation(Activation::kTanh).bias(true);
}
nn::Conv2dOptions upper() {
  return nn::Conv2dOptions(2, 3, 3)
      .size(6, 6)
      .stride(2)
      .padding(1)
      .activation(Activation::kTanh)
      .bias(true);
}

nn::NetworkOptions dense_options() {
  return nn::mlp({36, 72, 27, 4}, Activation::kTanh).with_bias();
}

nn::Network convolutional_network(std::optional<std::int64_t> members = std::nullopt) {
  const at::NoGradGuard no_grad;
  auto options =
      dense_options()
          .with_layer(1, [](auto, auto) { return std::make_shared<nn::Conv2d>(lower()); })
          .with_layer(2, [](auto, auto) { return std::make_shared<nn::Conv2d>(upper()); });
  nn::Network network(members ? options.ensemble(*members) : options);
  network->to(torch::kDouble);
  auto generator = make_generator(2, Purpose::kWeights);
  nn::init::lecun_(*network, generator);
  for (std::size_t l = 1; l <= 3; ++l) {
    network->layer(l).affine().bias.normal_(0, 0.3, generator);
  }
  return network;
}

// The matrix of a convolution as a map of flat images: what it makes of each unit alone.
at::Tensor matrix_of(const nn::Conv2d& layer, const at::Tensor& weight) {
  const auto& o = layer.options;
  const auto units =
      at::eye(layer.in_features(), at::kDouble).view({-1, o.in_channels(), o.height(), o.width()});
  return at::conv2d(units, weight, {}, o.stride(), o.padding()).flatten(1).t();
}

const nn::Conv2d& convolution(const nn::NetworkImpl& network, std::size_t l) {
  return dynamic_cast<const nn::Conv2d&>(network.layer(l));
}

// The same network of Dense layers.
nn::Network unrolled(const nn::NetworkImpl& network) {
  const at::NoGradGuard no_grad;
  nn::Network dense(dense_options());
  dense->to(torch::kDouble);
  for (std::size_t l = 1; l <= 2; ++l) {
    const auto& layer = convolution(network, l);
    dense->dense(l).weight.copy_(matrix_of(layer, layer.weight));
    const auto locations = layer.out_features() / layer.bias.numel();
    dense->dense(l).bias.copy_(layer.bias.repeat_interleave(locations));
  }
  dense->dense(3).weight.copy_(network.dense(3).weight);
  dense->dense(3).bias.copy_(network.dense(3).bias);
  return dense;
}

// A direction of the big matrix, summed over the places where each weight stands.
at::Tensor folded(const at::Tensor& direction, const nn::Conv2d& layer) {
  const at::AutoGradMode with_grad(true);
  const auto weight = layer.weight.detach().requires_grad_();
  const auto sum = (matrix_of(layer, weight) * direction).sum();
  return torch::autograd::grad({sum}, {weight})[0].flatten(1);
}

void expect_folded(const nn::NetworkImpl& network, const Step& step, const Step& expected,
                   double tolerance) {
  ASSERT_EQ(step.layers.size(), 3U);
  ASSERT_TRUE(step.own.empty());
  EXPECT_LT(relative_difference(step.prediction, expected.prediction), 1e-13);
  for (std::size_t l = 1; l <= 2; ++l) {
    const auto& found = step.layers[l - 1];
    const auto& big = expected.layers[l - 1];
    const auto& layer = convolution(network, l);
    EXPECT_EQ(found.locations, l == 1 ? 36 : kLocations);
    EXPECT_LT(relative_difference(weight_direction(found), folded(weight_direction(big), layer)),
              tolerance);
    EXPECT_LT(relative_difference(bias_direction(found),
                                  bias_direction(big).view({layer.bias.numel(), -1}).sum(-1)),
              tolerance);
  }
  EXPECT_LT(
      relative_difference(weight_direction(step.layers[2]), weight_direction(expected.layers[2])),
      tolerance);
}

const inference::DescentOptions kExact{
    .max_steps = 5000, .tolerance = 1e-12, .energy_tolerance = 0};

// Oracle: the network of Dense layers with the matrices of the convolutions.
TEST(Convolutions, LearnLikeTheirMatrices) {
  const auto network = convolutional_network();
  const auto dense = unrolled(*network);
  const auto batch = random_batch(*dense, kBatch);
  expect_folded(*network, Backpropagation().factors(*network, batch),
                Backpropagation().factors(*dense, batch), 1e-12);
  const auto lbfgs = std::make_shared<inference::Lbfgs>(kExact);
  const auto found = lbfgs->infer(*network, batch);
  const auto expected = lbfgs->infer(*dense, batch);
  ASSERT_TRUE(found.report.all_converged());
  for (std::size_t l = 1; l <= 3; ++l) {
    EXPECT_LT(relative_difference(found.activities[l], expected.activities[l]), 1e-9) << l;
  }
  expect_folded(*network, PredictiveCoding(lbfgs).factors(*network, batch),
                PredictiveCoding(lbfgs).factors(*dense, batch), 1e-8);
}

at::Tensor with_ones(const at::Tensor& x) {
  return at::cat({x, at::ones({x.size(0), 1}, x.options())}, -1);
}

struct Rescaling {
  const char* name;
  double regularisation = 0;
};

// The direction by its formula, of rows of all locations and the mean over samples.
at::Tensor by_formula(const Rescaling& rescaling, const at::Tensor& e, const at::Tensor& u,
                      const at::Tensor& x) {
  const std::string name = rescaling.name;
  const auto d = at::matmul(e.t(), u) / kBatch;
  if (name == "none") return d;
  if (name == "alpha") return d / ((u * x).sum() / kBatch);
  if (name == "recursive_projection") {
    const auto gram = at::matmul(x, x.t()) + 0.95 * at::eye(x.size(0), at::kDouble);
    return at::matmul(e.t(), at::linalg_solve(gram, x));
  }
  const auto& right = name == "decorrelation" ? u : x;
  const auto c = at::matmul(x.t(), right) / kBatch;
  const auto learnt = at::matmul(e.t(), right) / kBatch;
  const auto eigenvalues = at::linalg_eigvalsh((c + c.t()) / 2);
  const auto eps = (rescaling.regularisation * eigenvalues[-1] - eigenvalues[0]).clamp_min(0);
  const auto system = c + eps * at::eye(c.size(0), at::kDouble);
  return at::matmul(learnt, at::linalg_inv(rescaling.regularisation > 0 ? system : c));
}

// Oracle: each rescaling's formula on the unfolded factors; what stands in `.grad`.
TEST(Convolutions, AreRescaledByTheirPatches) {
  const auto batch = random_batch(*unrolled(*convolutional_network()), kBatch);
  for (const auto& rescaling : {Rescaling{"none"}, Rescaling{"alpha"}, Rescaling{"decorrelation"},
                                Rescaling{"decorrelation", 0.1}, Rescaling{"projection"},
                                Rescaling{"projection", 0.1}, Rescaling{"recursive_projection"}}) {
    auto network = convolutional_network();
    const auto step =
        PredictiveCoding(std::make_shared<inference::Lbfgs>(kExact)).factors(*network, batch);
    optim::Rescaled optimizer(
        std::make_unique<torch::optim::SGD>(network->parameters(), torch::optim::SGDOptions(1)),
        test::make_rescaling({.name = rescaling.name, .regularisation = rescaling.regularisation}));
    optimizer.write_gradients(step);
    const auto& layer = step.layers[1];
    const auto expected = by_formula(rescaling, layer.error, with_ones(layer.presynaptic),
                                     with_ones(layer.feedforward));
    const auto& made = convolution(*network, 2);
    ASSERT_EQ(made.weight.grad().sizes(), made.weight.sizes());
    const auto found =
        at::cat({made.weight.grad().flatten(1), made.bias.grad().unsqueeze(-1)}, -1).neg();
    EXPECT_LT(relative_difference(found, expected), 1e-9)
        << rescaling.name << " " << rescaling.regularisation;
  }
}

// Oracle: the single network.
TEST(Convolutions, LearnInAnEnsembleOfOne) {
  auto single = convolutional_network();
  auto ensemble = convolutional_network(1);
  const auto batch = random_batch(*single, kBatch);
  for (const char* name :
       {"none", "alpha", "decorrelation", "projection", "recursive_projection"}) {
    std::vector<at::Tensor> found;
    for (auto* network : {&single, &ensemble}) {
      optim::Rescaled optimizer(std::make_unique<torch::optim::SGD>((*network)->parameters(),
                                                                    torch::optim::SGDOptions(1)),
                                test::make_rescaling({.name = name, .floor = 0.5}));
      optimizer.write_gradients(Backpropagation().factors(**network, batch));
      found.push_back((*network)->layer(2).affine().weight.grad().clone());
      found.push_back((*network)->layer(2).affine().bias.grad().clone());
    }
    EXPECT_LT(relative_difference(found[2], found[0]), 1e-10) << name;
    EXPECT_LT(relative_difference(found[3], found[1]), 1e-10) << name;
  }
}

// Oracle: the finite change of the predictions, of directions as matrices and as `.grad` has them.
TEST(Convolutions, MoveThePredictionAsTheirTangentsSay) {
  for (const bool ensemble : {false, true}) {
    auto network = convolutional_network(ensemble ? std::optional<std::int64_t>(1) : std::nullopt);
    const auto batch = random_batch(*network, kBatch);
    const auto step = Backpropagation().factors(*network, batch);
    optim::Plain plain;
    const auto update = metrics::make_update(*network, step, plain.directions(step.layers));
    const auto pass = nn::feedforward(*network, batch.input);
    const auto change = metrics::first_order_change(*network, pass, update);
    EXPECT_LT(relative_difference(metrics::finite_change(*network, pass, update, 1e-6), change),
              1e-5);
    plain.write_gradients(step.layers);
    const auto again =
        metrics::first_order_change(*network, pass, metrics::update_of_gradients(*network));
    EXPECT_LT(relative_difference(again, change), 1e-13);
  }
}

// Oracle: a sample's product of all its patches, and alpha's denominator without the bias.
TEST(Convolutions, AreDiagnosedBySample) {
  const auto network = convolutional_network();
  const auto step = Backpropagation().factors(*network, random_batch(*network, kBatch));
  const auto& layer = step.layers[1];
  const auto found = metrics::diagnose(step.layers)[1];
  const auto mean = layer.presynaptic.square().sum() / kBatch + kLocations;
  EXPECT_NEAR(found.alignment.item<double>(), mean.item<double>(), 1e-10);
  EXPECT_NEAR(found.condition_number.item<double>(),
              nn::condition_number(layer.weight.flatten(1)).item<double>(), 1e-10);
}

// Images of 6 x 6; convolution and pool as one layer, a pool of its own, a Dense layer.
nn::Network pooled_network() {
  const at::NoGradGuard no_grad;
  const auto pooled_convolution = [](auto, auto) {
    return std::make_shared<nn::Block>(
        std::vector<std::shared_ptr<nn::Layer>>{
            std::make_shared<nn::Conv2d>(lower().activation(Activation::kSiLU)),
            std::make_shared<nn::Pool2d>(nn::Pool2dOptions(2, 2).size(6, 6))},
        /*residual=*/false);
  };
  const auto average = [](auto, auto) {
    return std::make_shared<nn::Pool2d>(
        nn::Pool2dOptions(2, 2).size(3, 3).stride(1).pooling(nn::Pooling::kAverage));
  };
  nn::Network network(nn::mlp({36, 18, 8, 4}, Activation::kTanh)
                          .with_bias()
                          .with_layer(1, pooled_convolution)
                          .with_layer(2, average));
  network->to(torch::kDouble);
  nn::init::lecun_(*network, make_generator(2, Purpose::kWeights));
  return network;
}

// Oracle: autograd of the mean loss. Three layers, two of them with a weight.
TEST(Pools, BackpropagationIsAutograd) {
  const auto network = pooled_network();
  const auto batch = random_batch(*network, kBatch);
  ((batch.target - network->forward(batch.input)).square().sum() / (2 * kBatch)).backward();
  const auto step = Backpropagation().factors(*network, batch);
  ASSERT_EQ(step.layers.size(), 2U);
  for (const auto& layer : step.layers) {
    EXPECT_LT(relative_difference(weight_direction(layer),
                                  -layer.weight.grad().view({layer.weight.size(0), -1})),
              1e-12);
    EXPECT_LT(relative_difference(bias_direction(layer), -layer.bias.grad()), 1e-12);
  }
}

// Oracle: autograd of the energy at the equilibrium, where the hidden activities are stationary.
TEST(Pools, PredictiveCodingIsTheGradientOfTheEnergy) {
  const auto network = pooled_network();
  const auto batch = random_batch(*network, kBatch);
  const auto lbfgs = std::make_shared<inference::Lbfgs>(kExact);
  const auto step = PredictiveCoding(lbfgs).factors(*network, batch);
  ASSERT_TRUE(step.report && step.report->all_converged());
  const auto state = lbfgs->infer(*network, batch);
  std::vector<at::Tensor> x;
  for (const auto& activity : state.activities) {
    x.push_back(activity.detach().clone().requires_grad_());
  }
  auto energy = at::zeros({}, at::kDouble);
  for (std::size_t l = 1; l <= 3; ++l) {
    energy = energy + (x[l] - network->layer(l).prediction(x[l - 1])).square().sum() / 2;
  }
  EXPECT_LT(relative_difference(state.report.energy.sum(), energy.detach()), 1e-12);
  (energy / kBatch).backward();
  for (std::size_t l = 1; l < 3; ++l) EXPECT_LT(x[l].grad().abs().max().item<double>(), 1e-9);
  for (const auto& layer : step.layers) {
    EXPECT_LT(relative_difference(weight_direction(layer),
                                  -layer.weight.grad().view({layer.weight.size(0), -1})),
              1e-8);
  }
}

}  // namespace
}  // namespace pcxx::learning
