// The theorems of the paper and of the projection, in float64: what one update does to the
// predictions, for all layers together.

#include <gtest/gtest.h>
#include <pcxx/data/batch.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/learning/predictive_coding.h>
#include <pcxx/nn/conditioning.h>
#include <pcxx/nn/init.h>
#include <pcxx/optim/alpha.h>
#include <pcxx/optim/decorrelation.h>
#include <pcxx/optim/optimizers.h>
#include <pcxx/optim/projection.h>

#include "support/networks.h"
#include "support/rescalings.h"

namespace pcxx::optim {
namespace {

using nn::DrawWeight;
using test::random_batch;
using test::relative_difference;

// First-order change of the predictions of a linear network, sum_l P_l D_l xhat_{l-1} (eq. 6 and
// 8), written out with explicit products of the layers' maps.
at::Tensor change(const nn::NetworkImpl& network, const learning::Step& step,
                  const std::vector<Direction>& directions) {
  at::Tensor p = at::eye(network.out_features(), at::kDouble);
  at::Tensor sum = at::zeros_like(step.prediction);
  for (std::size_t l = network.size(); l >= 1; --l) {
    auto local = at::matmul(step.layers[l - 1].feedforward, directions[l - 1].weight.mT());
    if (directions[l - 1].bias.defined()) local = local + directions[l - 1].bias.unsqueeze(-2);
    sum = sum + at::matmul(local, p.mT());
    const auto& layer = network.dense(l);
    p = at::matmul(p, layer.weight) + (layer.options.residual() ? p : at::zeros_like(p[0][0]));
  }
  return sum;
}

nn::Network draw(const nn::NetworkOptions& options, const DrawWeight& weight, std::uint64_t seed,
                 double kappa = 0) {
  nn::Network network(options);
  network->to(torch::kDouble);
  nn::init::draw_(*network, weight, make_generator(seed, Purpose::kWeights));
  if (kappa > 0) nn::set_condition_number_(*network, kappa);
  return network;
}

// Inputs N(0, I) and y = W x with W ~ N(0, 1/n_0).
data::Batch teacher_batch(const nn::NetworkImpl& network, std::int64_t batch_size,
                          std::uint64_t seed) {
  auto generator = make_generator(seed, Purpose::kTeacher);
  const auto n = network.in_features();
  const auto map = at::empty({network.out_features(), n}, at::kDouble)
                       .normal_(0, 1 / std::sqrt(static_cast<double>(n)), generator);
  const auto x = at::empty({batch_size, n}, at::kDouble).normal_(0, 1, generator);
  return {x, at::matmul(x, map.mT())};
}

std::vector<nn::NetworkOptions> architectures() {
  return {nn::mlp({20, 20, 20}),
          nn::mlp({12, 30, 7, 9}),
          nn::mlp({5, 8, 8, 8, 8, 8, 3}),
          nn::mlp(std::vector<std::int64_t>(10, 20)),
          nn::mlp({9, 6}),
          nn::mlp({6, 9, 4}).with_bias(),
          nn::linear_residual(16, 8),
          nn::linear_residual(10, 3).with_bias()};
}

// Oracle: Theorem 1. With alpha at B = 1, predictive coding changes the prediction by the residual
// itself, whatever the architecture, initialisation and condition number.
TEST(Theorem1, AlphaMovesThePredictionByTheResidual) {
  for (const double kappa : {0.0, 1.0, 1e3, 1e6, 1e12}) {
    for (const auto weight : {nn::init::kaiming, nn::init::norm_preserving}) {
      for (const auto& options : architectures()) {
        for (const std::uint64_t seed : {0, 1, 2}) {
          const auto network = draw(options, weight, seed, kappa);
          SCOPED_TRACE(c10::str(network, " kappa ", kappa, " seed ", seed));
          const auto batch = random_batch(*network, 1, seed);
          const auto step = learning::PredictiveCoding().factors(*network, batch);
          const auto made = change(*network, step, Alpha().directions(step.layers));
          EXPECT_LT(relative_difference(made, batch.target - step.prediction), 1e-8);
        }
      }
    }
  }
}

// Oracle: Theorem 1 holds for predictive coding's factors only.
TEST(Theorem1, FailsForBackpropagation) {
  const auto network = draw(nn::mlp({20, 20, 20}), nn::init::kaiming, 0);
  const auto batch = random_batch(*network, 1);
  const auto step = learning::Backpropagation().factors(*network, batch);
  const auto made = change(*network, step, Alpha().directions(step.layers));
  EXPECT_GT(relative_difference(made, batch.target - step.prediction), 1e-2);
}

struct Scope {
  std::string name;
  nn::NetworkOptions options;
  std::int64_t batch;
  bool teacher;
};

std::vector<Scope> scope_of_theorem_2() {
  return {{"one hidden layer", nn::mlp({20, 20, 20}), 18, false},
          {"narrow output", nn::mlp({20, 30, 20, 3}), 18, false},
          {"deep", nn::mlp(std::vector<std::int64_t>(10, 32)), 16, false},
          {"one sample", nn::mlp({8, 6, 7, 8}), 1, false},
          {"residual", nn::linear_residual(24, 6), 20, false},
          {"bias", nn::mlp({12, 14, 6}).with_bias(), 10, false},
          {"teacher, large batch", nn::mlp({20, 20, 20}), 64, true},
          {"teacher, wide hidden layers", nn::mlp({10, 16, 12, 4}), 50, true}};
}

// Oracle: Theorem 2 in its scope: any targets while the batch is no larger than any presynaptic
// layer, or any batch when the targets are a linear map of the inputs. The factor as printed (the
// transpose) fails the same test for every batch but a single sample.
TEST(Theorem2, DecorrelationMovesEveryPredictionByItsResidual) {
  for (const auto& [name, options, batch_size, teacher] : scope_of_theorem_2()) {
    for (const std::uint64_t seed : {0, 1, 2}) {
      SCOPED_TRACE(c10::str(name, ", seed ", seed));
      const auto network = draw(options, nn::init::norm_preserving, seed);
      const auto batch = teacher ? teacher_batch(*network, batch_size, seed)
                                 : random_batch(*network, batch_size, seed);
      const auto step = learning::PredictiveCoding().factors(*network, batch);
      const auto r = batch.target - step.prediction;
      const auto made = change(*network, step, Decorrelation().directions(step.layers));
      EXPECT_LT(relative_difference(made, r), 1e-7);

      Decorrelation printed({.as_printed = true});
      const auto by_print = change(*network, step, printed.directions(step.layers));
      if (batch_size > 1) {
        EXPECT_GT(relative_difference(by_print, r), 1e-2);
      }
    }
  }
}

// Oracle: backpropagation's factors make the matrix symmetric, where both readings are one.
TEST(Theorem2, BothReadingsCoincideForBackpropagation) {
  for (const double a : {0.0, 1e-3}) {
    for (const std::int64_t batch_size : {6, 30}) {
      const auto network = draw(nn::mlp({10, 12, 8}), nn::init::kaiming, 3);
      const auto step =
          learning::Backpropagation().factors(*network, random_batch(*network, batch_size));
      const auto one = Decorrelation({.regularisation = a}).directions(step.layers);
      const auto other =
          Decorrelation({.regularisation = a, .as_printed = true}).directions(step.layers);
      for (std::size_t l = 0; l < one.size(); ++l) {
        EXPECT_LT(relative_difference(one[l].weight, other[l].weight), 1e-8);
      }
    }
  }
}

// Oracle: linear least squares. Without a bottleneck the change of the predictions with the
// projection is R X^+ X (samples as columns), for any targets and any batch size.
TEST(Projection, MovesThePredictionsByTheLeastSquaresBest) {
  for (const auto& options : {nn::mlp({20, 20, 20}), nn::mlp({12, 14, 20, 7}),
                              nn::linear_residual(16, 4), nn::mlp({9, 9, 9, 9, 9, 9, 9, 9, 9})}) {
    for (const std::int64_t batch_size : {1, 5, 20, 64}) {
      const auto network = draw(options, nn::init::norm_preserving, 2);
      SCOPED_TRACE(c10::str(network, batch_size));
      const auto batch = random_batch(*network, batch_size);
      const auto step = learning::PredictiveCoding().factors(*network, batch);
      const auto r = batch.target - step.prediction;
      const auto& x = batch.input;
      const auto best = at::matmul(x, at::matmul(at::linalg_pinv(x), r));
      const auto made = change(*network, step, Projection().directions(step.layers));
      EXPECT_LT(relative_difference(made, best), 1e-8);
    }
  }
}

// Invariant: in a linear network every update depends on the batch only through its second moments,
// so the compressed batch gives the same directions for all rules and rescalings.
TEST(CompressedBatch, GivesTheSameDirections) {
  struct Model {
    test::RescalingOptions rescaling;
    bool teacher;
  };
  std::vector<Model> models;
  for (const bool teacher : {true, false}) {
    for (const double a : {0.0, 1e-4}) {
      for (const std::string name : {"none", "alpha", "decorrelation", "projection"}) {
        // On independent targets the pseudo-inverse of a nearly singular matrix amplifies rounding.
        models.push_back({{.name = name, .regularisation = a}, teacher});
      }
    }
  }
  for (const auto& options : {nn::mlp({10, 10, 10}), nn::mlp({8, 12, 9, 6}),
                              nn::linear_residual(7, 3), nn::mlp({10, 10, 10}).ensemble(3)}) {
    for (const auto& [rescaling, teacher] : models) {
      const auto network = test::random_network(options);
      const auto batch = teacher ? teacher_batch(*network, 50, 4) : random_batch(*network, 50, 4);
      const auto small = data::compress(batch);
      SCOPED_TRACE(
          c10::str(network, rescaling.name, " a ", rescaling.regularisation, " teacher ", teacher));
      ASSERT_LE(small.input.size(-2), network->in_features() + network->out_features());
      learning::Backpropagation bp;
      learning::PredictiveCoding pc;
      for (auto* rule : std::initializer_list<learning::LearningRule*>{&bp, &pc}) {
        const auto whole =
            test::make_rescaling(rescaling)->directions(rule->factors(*network, batch).layers);
        const auto thin =
            test::make_rescaling(rescaling)->directions(rule->factors(*network, small).layers);
        for (std::size_t l = 0; l < whole.size(); ++l) {
          EXPECT_LT(relative_difference(thin[l].weight, whole[l].weight), 1e-10) << rule->name();
        }
      }
    }
  }
}

}  // namespace
}  // namespace pcxx::optim
