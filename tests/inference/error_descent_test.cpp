#include <gtest/gtest.h>
#include <pcxx/core/random.h>
#include <pcxx/inference/curvature.h>
#include <pcxx/inference/equilibrium.h>
#include <pcxx/inference/error_descent.h>
#include <pcxx/inference/lbfgs.h>
#include <pcxx/inference/state_descent.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/learning/predictive_coding.h>
#include <pcxx/nn/init.h>

#include <set>

#include "support/networks.h"

namespace pcxx::inference {
namespace {

using test::random_batch;
using test::random_network;
using test::relative_difference;

const DescentOptions kPrecise{.max_steps = 20000,
                              .step_size = 0,
                              .tolerance = 1e-12,
                              .energy_tolerance = 0,
                              .power_iterations = 20};

struct Case {
  std::string name;
  nn::NetworkOptions options;
  std::int64_t batch;
};

std::vector<Case> linear_cases() {
  const auto rectangular = nn::mlp({5, 7, 4, 6});
  return {{"rectangular", rectangular, 3},
          {"rectangular, one sample", rectangular, 1},
          {"bias", rectangular.with_bias(), 3},
          {"residual", nn::linear_residual(6, 4), 3},
          {"residual, bias, ensemble", nn::linear_residual(5, 3).with_bias().ensemble(3), 2},
          {"ensemble", nn::mlp({4, 8, 3}).ensemble(3), 5},
          {"one layer", nn::mlp({4, 3}), 2}};
}

// Oracle: the closed form; state descent, error descent and L-BFGS have the same stationary point.
TEST(Descents, ReachTheClosedFormInLinearNetworks) {
  for (const auto& [name, options, batch_size] : linear_cases()) {
    SCOPED_TRACE(name);
    const auto network = random_network(options);
    const auto batch = random_batch(*network, batch_size);
    const auto exact = ClosedForm().infer(*network, batch);
    auto by_state = kPrecise;
    by_state.step_size = 0.1;
    const auto errors = ErrorDescent(kPrecise).infer(*network, batch);
    const auto states = StateDescent(by_state).infer(*network, batch);
    const auto quasi_newton = Lbfgs(kPrecise).infer(*network, batch);
    EXPECT_TRUE(quasi_newton.report.all_converged()) << quasi_newton.report.brief();
    EXPECT_TRUE(exact.report.all_converged());
    EXPECT_TRUE(errors.report.all_converged()) << errors.report.brief();
    EXPECT_TRUE(states.report.all_converged()) << states.report.brief();
    for (std::size_t l = 1; l <= network->size(); ++l) {
      for (const auto* found : {&errors, &states, &quasi_newton}) {
        EXPECT_LT(relative_difference(found->activities[l], exact.activities[l]), 1e-8);
        EXPECT_LT(relative_difference(found->errors[l], exact.errors[l]), 1e-8);
        EXPECT_LT(relative_difference(found->outputs[l], exact.outputs[l]), 1e-8);
      }
    }
    EXPECT_LT(relative_difference(errors.report.energy, exact.report.energy), 1e-8);
    EXPECT_LT(relative_difference(states.report.energy, exact.report.energy), 1e-8);
    EXPECT_LT(relative_difference(quasi_newton.report.energy, exact.report.energy), 1e-8);
    if (network->size() > 1) {
      EXPECT_LT(quasi_newton.report.max_steps(), errors.report.max_steps());
    }
  }
}

// Oracle: weight directions of the three inferences agree (1e-8).
TEST(Descents, GiveTheSameWeightDirections) {
  for (const auto& [name, options, batch_size] : linear_cases()) {
    SCOPED_TRACE(name);
    const auto network = random_network(options);
    const auto batch = random_batch(*network, batch_size);
    auto by_state = kPrecise;
    by_state.step_size = 0.1;
    const auto exact = learning::PredictiveCoding().factors(*network, batch);
    const auto errors = learning::PredictiveCoding(std::make_shared<ErrorDescent>(kPrecise))
                            .factors(*network, batch);
    const auto states = learning::PredictiveCoding(std::make_shared<StateDescent>(by_state))
                            .factors(*network, batch);
    for (std::size_t l = 0; l < network->size(); ++l) {
      const auto direction = learning::weight_direction(exact.layers[l]);
      EXPECT_LT(relative_difference(learning::weight_direction(errors.layers[l]), direction), 1e-8);
      EXPECT_LT(relative_difference(learning::weight_direction(states.layers[l]), direction), 1e-8);
    }
  }
}

// Energy written with autograd, as a function of the hidden states.
at::Tensor autograd_energy(const nn::NetworkImpl& network, const std::vector<at::Tensor>& x) {
  auto energy = at::zeros({}, at::kDouble);
  for (std::size_t l = 1; l <= network.size(); ++l) {
    energy = energy + 0.5 * (x[l] - network.dense(l).forward(x[l - 1])).square().sum();
  }
  return energy;
}

std::vector<nn::NetworkOptions> nonlinear_networks() {
  using nn::Activation;
  auto mixed = nn::mlp({5, 6, 6, 7, 4}, Activation::kTanh, Activation::kSigmoid).with_bias();
  mixed.layers()[1].residual(true).activation(Activation::kLeakyReLU);
  return {nn::mlp({5, 9, 4, 6}, Activation::kReLU, Activation::kSigmoid),
          nn::mlp({5, 9, 8, 4}, Activation::kSigmoid), mixed, mixed.ensemble(2)};
}

// Oracle: autograd. At the end of a converged descent the gradient of the energy with respect to
// every hidden state vanishes (smooth activations), and the errors are the layers' prediction
// errors.
TEST(Descents, EndAtAStationaryPointOfTheEnergy) {
  for (const auto& options : nonlinear_networks()) {
    if (options.layers().front().activation() == nn::Activation::kReLU) continue;
    const auto network = random_network(options);
    const auto batch = random_batch(*network, 3);
    for (const auto& state :
         {ErrorDescent(kPrecise).infer(*network, batch), Lbfgs(kPrecise).infer(*network, batch),
          StateDescent(
              {.max_steps = 40000, .step_size = 0.1, .tolerance = 1e-12, .energy_tolerance = 0})
              .infer(*network, batch)}) {
      ASSERT_TRUE(state.report.all_converged()) << state.report.brief();
      auto x = state.activities;
      for (std::size_t l = 1; l < network->size(); ++l) {
        x[l] = x[l].detach().clone().requires_grad_(true);
      }
      const auto energy = autograd_energy(*network, x);
      energy.backward();
      for (std::size_t l = 1; l < network->size(); ++l) {
        EXPECT_LT(x[l].grad().abs().max().item<double>(), 1e-10);
      }
      EXPECT_NEAR(energy.item<double>(), state.report.energy.sum().item<double>(), 1e-10);
    }
  }
}

// Of any linear piece of a network whose slopes are at most 1: 1 + sum_l prod_{k > l} ||W_k||^2.
double curvature_bound(const nn::NetworkImpl& network) {
  double bound = 1;
  double product = 1;
  for (std::size_t l = network.size(); l >= 2; --l) {
    product *= std::pow(at::linalg_matrix_norm(network.dense(l).weight, 2).item<double>(), 2);
    bound += product;
  }
  return bound;
}

// dE/deps of every hidden layer at the errors given, by autograd.
std::vector<at::Tensor> autograd_gradients(const nn::NetworkImpl& network, const data::Batch& batch,
                                           const std::vector<at::Tensor>& errors) {
  std::vector<at::Tensor> eps(network.size());
  auto x = network.enter(batch.input, network.in_features());
  auto energy = at::zeros({}, at::kDouble);
  for (std::size_t l = 1; l < network.size(); ++l) {
    eps[l] = errors[l].detach().clone().requires_grad_(true);
    energy = energy + 0.5 * eps[l].square().sum();
    x = network.dense(l).forward(x) + eps[l];
  }
  const auto r = batch.target - network.dense(network.size()).forward(x);
  (energy + 0.5 * r.square().sum()).backward();
  for (std::size_t l = 1; l < network.size(); ++l) eps[l] = eps[l].grad();
  return eps;
}

// Oracle: autograd of E(eps). One step from zero errors leaves -eta times its gradient in the
// errors.
TEST(ErrorDescent, FirstStepIsTheGradientOfTheEnergyInTheErrors) {
  const double eta = 0.05;
  for (const auto& options : nonlinear_networks()) {
    const auto network = random_network(options);
    const auto batch = random_batch(*network, 3);
    const auto zero = ErrorDescent({.max_steps = 0}).infer(*network, batch);
    const auto state = ErrorDescent({.max_steps = 1, .step_size = eta}).infer(*network, batch);
    const auto gradients = autograd_gradients(*network, batch, zero.errors);
    for (std::size_t l = 1; l < network->size(); ++l) {
      EXPECT_LT(relative_difference(state.errors[l], -eta * gradients[l]), 1e-10);
    }
  }
}

// Oracle: autograd. The residual is the gradient's norm at the last pass relative to that of the
// first, and the bound on the gap half its square, where there is one.
TEST(ErrorDescent, ReportsTheGradientRelativeToTheFirst) {
  const double eta = 0.05;
  auto networks = nonlinear_networks();
  networks.push_back(nn::mlp({5, 9, 4, 6}, nn::Activation::kReLU));
  for (const auto& options : networks) {
    const auto network = random_network(options);
    const auto batch = random_batch(*network, 3);
    const auto after = [&](std::int64_t steps) {
      return ErrorDescent({.max_steps = steps, .step_size = eta}).infer(*network, batch);
    };
    const auto squares_at = [&](const std::vector<at::Tensor>& errors) {
      const auto gradients = autograd_gradients(*network, batch, errors);
      auto sum = at::zeros({}, at::kDouble);
      for (std::size_t l = 1; l < network->size(); ++l) {
        sum = sum + gradients[l].square().sum(-1);
      }
      return sum;
    };
    const auto first = squares_at(after(0).errors);
    const auto last = squares_at(after(2).errors);
    const auto report = after(3).report;
    EXPECT_LT(relative_difference(report.residual, (last / first).sqrt()), 1e-10);
    if (network->is_piecewise_linear()) {
      EXPECT_LT(relative_difference(report.gap_bound, last / 2), 1e-10);
    } else {
      EXPECT_TRUE(report.gap_bound.isnan().all().item<bool>());
    }
  }
}

// Oracle: backpropagation. After one step from zero, hidden errors times f' are eta x BP's errors.
TEST(ErrorDescent, OneStepIsBackpropagationScaledByTheStep) {
  const double eta = 0.05;
  for (const auto& options : nonlinear_networks()) {
    const auto network = random_network(options);
    const auto batch = random_batch(*network, 3);
    const auto state = ErrorDescent({.max_steps = 1, .step_size = eta}).infer(*network, batch);
    const auto bp = learning::Backpropagation().factors(*network, batch);
    for (std::size_t l = 1; l < network->size(); ++l) {
      auto error = state.errors[l].clone();
      nn::multiply_slope_(error, state.feedforward.outputs[l],
                          network->dense(l).options.activation());
      EXPECT_LT(relative_difference(error, eta * bp.layers[l - 1].error), 1e-10);
    }
    EXPECT_EQ(state.report.regime(), Regime::kBackpropLike);
  }
}

// Invariant: samples do not interact.
TEST(Inference, ASampleDoesNotDependOnItsBatch) {
  for (const auto& options : nonlinear_networks()) {
    const auto network = random_network(options);
    const auto batch = random_batch(*network, 7);
    const auto whole = ErrorDescent().infer(*network, batch);
    for (std::int64_t b = 0; b < 7; ++b) {
      const data::Batch one(batch.input.slice(-2, b, b + 1), batch.target.slice(-2, b, b + 1));
      const auto alone = ErrorDescent().infer(*network, one);
      for (std::size_t l = 1; l < network->size(); ++l) {
        EXPECT_LT(relative_difference(alone.activities[l], whole.activities[l].slice(-2, b, b + 1)),
                  1e-10);
      }
      EXPECT_TRUE(at::equal(alone.report.steps, whole.report.steps.slice(-1, b, b + 1)));
    }
  }
}

// Invariant: an ensemble member is the same network alone.
TEST(Inference, AMemberIsTheNetworkAlone) {
  const auto single = nn::mlp({5, 9, 4, 6}, nn::Activation::kReLU, nn::Activation::kSigmoid);
  const auto ensemble = random_network(single.ensemble(3));
  const auto batch = random_batch(*ensemble, 4);
  const auto together = ErrorDescent().infer(*ensemble, batch);
  for (std::int64_t r = 0; r < 3; ++r) {
    const auto alone = test::member(*ensemble, r);
    const auto state = ErrorDescent().infer(*alone, data::Batch(batch.input[r], batch.target[r]));
    for (std::size_t l = 1; l <= alone->size(); ++l) {
      EXPECT_LT(relative_difference(state.errors[l], together.errors[l][r]), 1e-10);
    }
  }
}

// Oracle: eigenvalues of S. The power iteration's bound reaches lambda_max(S) from below.
TEST(Curvature, IsTheLargestEigenvalueOfSInLinearNetworks) {
  for (const auto& options : {nn::mlp({6, 8, 7, 5}), nn::linear_residual(5, 4)}) {
    const auto network = random_network(options);
    const auto batch = random_batch(*network, 4);
    const auto largest = at::linalg_eigvalsh(energy_scaling(*network)).max().item<double>();
    const auto found = curvature(*network, batch, 2000);
    EXPECT_LT((found / largest - 1).abs().max().item<double>(), 1e-8);
    EXPECT_LE(curvature(*network, batch, 3).max().item<double>(), largest * (1 + 1e-12));
  }
}

// Oracle: the exact stability limit 2 / lambda_max(S) of a linear network.
TEST(ErrorDescent, IsStableBelowTwoOverTheCurvatureAndDivergesAbove) {
  const auto network = random_network(nn::mlp({6, 8, 7, 5}));
  const auto batch = random_batch(*network, 4);
  const auto limit = 2 / at::linalg_eigvalsh(energy_scaling(*network)).max().item<double>();
  DescentOptions options{
      .max_steps = 5000, .step_size = 0.98 * limit, .tolerance = 1e-9, .energy_tolerance = 0};
  EXPECT_TRUE(ErrorDescent(options).infer(*network, batch).report.all_converged());
  options.step_size = 1.02 * limit;
  const auto state = ErrorDescent(options).infer(*network, batch);
  const auto& report = state.report;
  EXPECT_TRUE(report.unstable.all().item<bool>());
  EXPECT_FALSE(report.converged.any().item<bool>());
  // What it has seen proves the step too large, and is no more than the curvature.
  EXPECT_GT(report.curvature.min().item<double>(), 2 / options.step_size);
  EXPECT_LT(report.curvature.max().item<double>(), 2 / limit * (1 + 1e-9));
  EXPECT_NE(report.brief().find("is unstable for 4 of them"), std::string::npos) << report.brief();
  for (std::size_t l = 1; l <= network->size(); ++l) {
    EXPECT_TRUE(state.errors[l].isnan().all().item<bool>());
  }
}

// Oracle: the exact limit per sample of what a step can do. Only the unstable samples of a batch
// are stopped: in a sigmoid network curvatures differ from sample to sample.
TEST(ErrorDescent, StopsOnlyTheSamplesWhoseStepIsUnstable) {
  const auto network = random_network(nn::mlp({6, 8, 7, 5}, nn::Activation::kSigmoid));
  {
    const at::NoGradGuard no_grad;
    for (auto& weight : network->parameters()) weight.mul_(12);
  }
  const auto batch = random_batch(*network, 40);
  const auto settled =
      Lbfgs({.max_steps = 2000, .tolerance = 1e-9, .energy_tolerance = 0}).infer(*network, batch);
  const auto lambda = curvature(*network, settled, 200);
  const double step = 2 / lambda.median().item<double>();
  const auto report = ErrorDescent({.max_steps = 3000, .step_size = step, .tolerance = 1e-8})
                          .infer(*network, batch)
                          .report;
  EXPECT_TRUE(report.unstable.any().item<bool>());
  EXPECT_TRUE(report.converged.any().item<bool>());
  EXPECT_FALSE(report.converged.logical_and(report.unstable).any().item<bool>());
}

// Oracle: gradient steps by autograd. An unstable step that is kept is reported, and changes
// nothing.
TEST(ErrorDescent, AnUnstableStepMayBeKept) {
  const auto network = random_network(nn::mlp({6, 8, 7, 5}, nn::Activation::kTanh));
  {
    const at::NoGradGuard no_grad;
    for (auto& weight : network->parameters()) weight.mul_(3);
  }
  const auto batch = random_batch(*network, 4);
  const double eta = 1;
  constexpr int kSteps = 12;
  std::vector<at::Tensor> errors{at::zeros({4, 8}, at::kDouble), at::zeros({4, 7}, at::kDouble)};
  for (int t = 0; t < kSteps; ++t) {
    for (auto& eps : errors) eps = eps.detach().requires_grad_(true);
    const auto x_1 = network->dense(1).forward(batch.input) + errors[0];
    const auto x_2 = network->dense(2).forward(x_1) + errors[1];
    const auto r = batch.target - network->dense(3).forward(x_2);
    (0.5 * (errors[0].square().sum() + errors[1].square().sum() + r.square().sum())).backward();
    for (auto& eps : errors) eps = eps.detach() - eta * eps.grad();
  }
  const auto state = ErrorDescent({.max_steps = kSteps,
                                   .step_size = eta,
                                   .tolerance = 0,
                                   .energy_tolerance = 0,
                                   .keep_unstable = true})
                         .infer(*network, batch);
  EXPECT_TRUE(state.report.any_unstable());
  EXPECT_EQ(state.report.steps.min().item<std::int64_t>(), kSteps);
  for (std::size_t l = 1; l <= 2; ++l) {
    EXPECT_LT(relative_difference(state.errors[l], errors[l - 1]), 1e-9);
  }
}

// Oracle: a bound on the curvature of every linear piece. A step below 2 / bound is never called
// unstable, though at kinks of ReLU the energy may rise with it.
TEST(ErrorDescent, AStableStepIsNotAccusedAtKinks) {
  const auto network = random_network(nn::mlp({20, 40, 30, 30, 20}, nn::Activation::kReLU));
  const auto batch = random_batch(*network, 100);
  const DescentOptions options{.max_steps = 3000,
                               .step_size = 1.9 / curvature_bound(*network),
                               .tolerance = 1e-9,
                               .energy_tolerance = 0};
  const auto report = ErrorDescent(options).infer(*network, batch).report;
  EXPECT_FALSE(report.any_unstable()) << report.brief();
  EXPECT_FALSE(report.all_converged()) << "no sample is at a kink";
}

// Oracle: the largest eigenvalue of the Hessian in the activities, whose columns are differences of
// autograd's gradients (they are affine in a linear network).
TEST(StateDescent, IsStableBelowTwoOverTheCurvatureAndDivergesAbove) {
  for (const auto& options : {nn::mlp({6, 8, 7, 5}), nn::linear_residual(5, 3)}) {
    const auto network = random_network(options);
    const auto batch = random_batch(*network, 4);
    const auto pass = nn::feedforward(*network, batch.input.slice(0, 0, 1));
    const auto gradient = [&](const at::Tensor& flat) {
      auto x = pass.activities;
      std::int64_t begin = 0;
      for (std::size_t l = 1; l < network->size(); ++l) {
        const auto end = begin + x[l].size(-1);
        x[l] = flat.slice(0, begin, end).unsqueeze(0).clone().requires_grad_(true);
        begin = end;
      }
      autograd_energy(*network, x).backward();
      std::vector<at::Tensor> parts;
      for (std::size_t l = 1; l < network->size(); ++l) parts.push_back(x[l].grad().flatten());
      return at::cat(parts);
    };
    std::int64_t n = 0;
    for (std::size_t l = 1; l < network->size(); ++l) n += pass.activities[l].size(-1);
    const auto basis = at::eye(n, at::kDouble);
    const auto origin = gradient(at::zeros({n}, at::kDouble));
    std::vector<at::Tensor> columns;
    for (std::int64_t i = 0; i < n; ++i) columns.push_back(gradient(basis[i]) - origin);
    const double limit = 2 / at::linalg_eigvalsh(at::stack(columns)).max().item<double>();

    DescentOptions descent{
        .max_steps = 20000, .step_size = 0.98 * limit, .tolerance = 1e-9, .energy_tolerance = 0};
    EXPECT_TRUE(StateDescent(descent).infer(*network, batch).report.all_converged());
    descent.step_size = 1.02 * limit;
    const auto report = StateDescent(descent).infer(*network, batch).report;
    EXPECT_TRUE(report.unstable.all().item<bool>());
    EXPECT_GT(report.curvature.min().item<double>(), 2 / descent.step_size);
    EXPECT_LT(report.curvature.max().item<double>(), 2 / limit * (1 + 1e-9));
  }
}

// Oracle: the closed form's energy. What is left above the minimum is no more than the bound, after
// any number of passes.
TEST(Inference, TheGapBoundHoldsInLinearNetworks) {
  const auto network = random_network(nn::mlp({6, 8, 7, 5}));
  const auto batch = random_batch(*network, 5);
  const auto least = ClosedForm().infer(*network, batch).report.energy;
  for (const std::int64_t passes : {1, 2, 3, 5, 8}) {
    const DescentOptions options{.max_steps = passes, .tolerance = 0, .energy_tolerance = 0};
    for (const auto& report : {ErrorDescent(options).infer(*network, batch).report,
                               Lbfgs(options).infer(*network, batch).report}) {
      const auto gap = report.energy - least;
      EXPECT_GE(gap.min().item<double>(), -1e-12);
      EXPECT_TRUE(gap.le(report.gap_bound + 1e-12).all().item<bool>()) << report.method << passes;
    }
  }
}

// Oracle: a counterexample written out. E(eps) = eps^2 / 2 + (y - tanh(5 (x + eps)))^2 / 2 is
// nearly flat at the feed-forward pass of x = -1, eps = 0, and has its minimum far away: half the
// squared gradient bounds nothing there, and no report of a network with such an activation says
// so.
TEST(Inference, NoGapBoundWithSmoothActivations) {
  const at::NoGradGuard no_grad;
  nn::Network network(nn::mlp({1, 1, 1}, nn::Activation::kIdentity, nn::Activation::kTanh));
  network->to(at::kDouble);
  network->dense(1).weight.fill_(1);
  network->dense(2).weight.fill_(5);
  const data::Batch batch(at::full({1, 1}, -1.0, at::kDouble), at::full({1, 1}, 0.9, at::kDouble));
  const auto energy = [](double eps) {
    const double r = 0.9 - std::tanh(5 * (eps - 1));
    return (eps * eps + r * r) / 2;
  };
  const double prediction = std::tanh(-5.0);
  const double gradient = 5 * (1 - prediction * prediction) * (0.9 - prediction);
  EXPECT_GT(energy(0) - energy(1.1), 1e5 * gradient * gradient / 2);
  const auto before = ErrorDescent({.max_steps = 0}).infer(*network, batch).report;
  EXPECT_NEAR(before.energy.item<double>(), energy(0), 1e-12);
  EXPECT_TRUE(before.gap_bound.isnan().item<bool>());

  for (const auto output : {nn::Activation::kTanh, nn::Activation::kSigmoid}) {
    const auto smooth = random_network(nn::mlp({3, 4, 2}, nn::Activation::kReLU, output));
    const auto samples = random_batch(*smooth, 4);
    for (const auto& report :
         {ErrorDescent().infer(*smooth, samples).report, Lbfgs().infer(*smooth, samples).report}) {
      EXPECT_TRUE(report.gap_bound.isnan().all().item<bool>());
      EXPECT_FALSE(measurements(report).contains("inference_gap_bound"));
    }
  }
  const auto linear_pieces = random_network(nn::mlp({3, 4, 2}, nn::Activation::kLeakyReLU));
  const auto samples = random_batch(*linear_pieces, 4);
  EXPECT_TRUE(measurements(Lbfgs().infer(*linear_pieces, samples).report)
                  .at("inference_gap_bound")
                  .isfinite()
                  .item<bool>());
  const StateDescent states({.max_steps = 3, .step_size = 0.05});
  EXPECT_FALSE(
      measurements(states.infer(*linear_pieces, samples).report).contains("inference_gap_bound"));
}

// Contract: the regime follows from residuals and convergence, per member of an ensemble and for
// all; the others are reductions of the report.
TEST(Report, IsMeasuredPerMember) {
  const auto reals = [](std::vector<double> values) {
    return at::tensor(values, at::kDouble).view({3, 2});
  };
  const Report report{.method = "made up",
                      .energy = reals({1, 3, 5, 7, 0, 0}),
                      .residual = reals({0.9, 0.3, 0.4, 0.5, 0.1, 0.9}),
                      .gap_bound = reals({2, 4, 0, 0, 0, 0}),
                      .steps = at::tensor({1, 4, 6, 2, 5, 3}).view({3, 2}),
                      .converged = at::tensor({0, 1, 0, 0, 1, 1}).to(at::kBool).view({3, 2}),
                      .unstable = at::tensor({1, 0, 0, 0, 0, 0}).to(at::kBool).view({3, 2}),
                      .step_size = reals({0, 0, 0, 0, 0, 0}),
                      .curvature = reals({1, 8, 2, 1, 1, 1})};
  const std::map<std::string, std::vector<double>> expected{
      {"inference_passes", {4, 6, 5}},      {"inference_mean_passes", {2.5, 4, 4}},
      {"inference_energy", {2, 6, 0}},      {"inference_residual", {0.9, 0.5, 0.9}},
      {"inference_gap_bound", {3, 0, 0}},   {"inference_curvature", {8, 2, 1}},
      {"inference_converged", {0.5, 0, 1}}, {"inference_unstable", {0.5, 0, 0}},
      {"inference_regime", {0, 1, 2}}};
  const auto found = measurements(report);
  ASSERT_EQ(found.size(), expected.size());
  for (const auto& [name, values] : expected) {
    EXPECT_TRUE(at::allclose(found.at(name), at::tensor(values, at::kDouble))) << name;
  }
  EXPECT_EQ(report.regime(), Regime::kBackpropLike);
}

// Invariant: a sample ends where it would alone, also when those that have finished leave the
// batch, and the energy is that of its activities.
TEST(Lbfgs, ASampleDoesNotDependOnTheOthersThatLeave) {
  for (const auto& options : nonlinear_networks()) {
    if (options.layers().front().members()) continue;
    const auto network = random_network(options);
    const auto batch = random_batch(*network, 33);
    const auto whole = Lbfgs().infer(*network, batch);
    std::set<std::int64_t> passes;
    for (std::int64_t b = 0; b < 33; ++b) {
      const data::Batch one(batch.input.slice(0, b, b + 1), batch.target.slice(0, b, b + 1));
      const auto alone = Lbfgs().infer(*network, one);
      passes.insert(alone.report.max_steps());
      EXPECT_EQ(alone.report.max_steps(), whole.report.steps[b].item<std::int64_t>());
      for (std::size_t l = 1; l <= network->size(); ++l) {
        EXPECT_LT(relative_difference(alone.errors[l], whole.errors[l].slice(0, b, b + 1)), 1e-8);
        EXPECT_LT(relative_difference(alone.activities[l], whole.activities[l].slice(0, b, b + 1)),
                  1e-8);
        EXPECT_LT(relative_difference(alone.outputs[l], whole.outputs[l].output.slice(0, b, b + 1)),
                  1e-8);
      }
    }
    EXPECT_GT(passes.size(), 2U);
    EXPECT_NEAR(autograd_energy(*network, whole.activities).item<double>(),
                whole.report.energy.sum().item<double>(), 1e-10);
  }
}

// Invariant: at kinks of ReLU and at any curvature a sample ends no higher than it began, and
// converges without a step size.
TEST(Lbfgs, ConvergesWhateverTheCurvature) {
  for (const double scale : {0.3, 1.0, 3.0, 10.0}) {
    for (const auto dtype : {at::kDouble, at::kFloat}) {
      auto network = random_network(nn::mlp({20, 30, 10, 30, 20}, nn::Activation::kReLU));
      {
        const at::NoGradGuard no_grad;
        for (auto& weight : network->parameters()) weight.mul_(scale);
      }
      network->to(dtype);
      const auto batch = random_batch(*network, 16);
      const auto start = Lbfgs({.max_steps = 0}).infer(*network, batch).report.energy;
      const auto report = Lbfgs({.max_steps = 500}).infer(*network, batch).report;
      EXPECT_TRUE(report.energy.le(start).all().item<bool>());
      EXPECT_TRUE(report.all_converged()) << scale << " " << report.brief();
    }
  }
}

// Oracle: the closed form, whatever the solver remembers. With more pairs than passes a larger memory
// changes nothing, and with one pair it is slower than with eight.
TEST(Lbfgs, RemembersAsManyPairsAsItIsTold) {
  const auto network = test::random_network(nn::mlp({6, 8, 8, 8, 5}));
  const auto batch = test::random_batch(*network, 7);
  const auto exact = ClosedForm().infer(*network, batch);
  const auto settled = [&](std::int64_t memory, std::int64_t max_steps) {
    const Lbfgs solver(
        {.max_steps = max_steps, .tolerance = 1e-12, .energy_tolerance = 0, .memory = memory});
    const auto found = solver.infer(*network, batch);
    if (max_steps > 100) {
      for (std::size_t l = 1; l < exact.activities.size(); ++l) {
        EXPECT_LT(test::relative_difference(found.activities[l], exact.activities[l]), 1e-10);
      }
    }
    return found;
  };
  const auto mean_passes = [&](std::int64_t memory) {
    return settled(memory, 1000).report.steps.to(at::kDouble).mean().item<double>();
  };
  EXPECT_GT(mean_passes(1), mean_passes(8));
  EXPECT_LT(mean_passes(100), 60);
  const auto eight = settled(8, 7);
  const auto hundred = settled(100, 7);
  for (std::size_t l = 1; l < eight.activities.size(); ++l) {
    EXPECT_TRUE(eight.activities[l].equal(hundred.activities[l]));
  }
  EXPECT_THROW(Lbfgs({.memory = 0}), c10::Error);
  EXPECT_THROW(Lbfgs({.memory = 101}), c10::Error);
}

// Oracle: brute force. S as a sum of explicit products, lower triangle from blocks included.
TEST(ClosedForm, ScalingMatrixIsTheSumOfProducts) {
  for (const auto& options : {nn::mlp({9, 300, 280}), nn::mlp({3, 4, 300, 300}),
                              nn::linear_residual(20, 3), nn::mlp({4, 5, 6}).ensemble(2)}) {
    const auto network = random_network(options);
    const auto n = network->out_features();
    at::Tensor p = at::eye(n, at::kDouble);
    at::Tensor s = p.clone();
    for (std::size_t l = network->size(); l >= 2; --l) {
      const auto& layer = network->dense(l);
      p = at::matmul(p, layer.weight) +
          (layer.options.residual() ? p : at::zeros({1}, at::kDouble));
      s = s + at::matmul(p, p.mT());
    }
    EXPECT_LT(relative_difference(energy_scaling(*network), s), 1e-12);
    EXPECT_LT(relative_difference(at::tril(energy_scaling(*network, true)), at::tril(s)), 1e-12);
  }
}

// Invariant: a broken member (NaN weights) is reported and leaves the others as they were.
TEST(ClosedForm, ReportsAFailedMemberAndKeepsTheOthers) {
  const auto network = random_network(nn::mlp({4, 5, 6}).ensemble(3));
  const auto batch = random_batch(*network, 2);
  const auto before = ClosedForm().infer(*network, batch);
  {
    const at::NoGradGuard no_grad;
    network->dense(2).weight[1].fill_(std::nan(""));
  }
  const auto after = ClosedForm().infer(*network, batch);
  EXPECT_FALSE(after.report.converged[1].any().item<bool>());
  for (const std::int64_t r : {0, 2}) {
    EXPECT_TRUE(after.report.converged[r].all().item<bool>());
    EXPECT_TRUE(at::equal(after.errors[1][r], before.errors[1][r]));
  }
}

}  // namespace
}  // namespace pcxx::inference
