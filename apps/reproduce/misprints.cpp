#include "reproduce/misprints.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <pcxx/core/random.h>
#include <pcxx/data/linear_teacher.h>
#include <pcxx/inference/equilibrium.h>
#include <pcxx/inference/state_descent.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/learning/predictive_coding.h>
#include <pcxx/metrics/map_error.h>
#include <pcxx/metrics/target_alignment.h>
#include <pcxx/nn/conditioning.h>
#include <pcxx/nn/init.h>
#include <pcxx/optim/alpha.h>
#include <pcxx/optim/decorrelation.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <ranges>

namespace pcxx::reproduce {
namespace {

using nn::DrawWeight;

nn::Network draw(const nn::NetworkOptions& options, const DrawWeight& weight,
                 std::uint64_t seed = 0) {
  nn::Network network(options);
  network->to(at::kDouble);
  nn::init::draw_(*network, weight, make_generator(seed, Purpose::kWeights));
  return network;
}

nn::NetworkOptions square(std::int64_t width, std::size_t hidden_layers,
                          nn::Activation hidden = nn::Activation::kIdentity) {
  return nn::mlp(std::vector<std::int64_t>(hidden_layers + 2, width), hidden);
}

data::Batch draw_batch(std::int64_t width, std::int64_t samples, std::uint64_t seed = 0,
                       data::Targets targets = data::Targets::kTeacher) {
  return data::LinearTeacher(data::LinearTeacherOptions(width, width).targets(targets), seed)
      .next(samples);
}

std::vector<learning::LayerFactors> pc_factors(const nn::NetworkImpl& network,
                                               const data::Batch& batch) {
  return learning::PredictiveCoding().factors(network, batch).layers;
}

double alignment(const nn::NetworkImpl& network, const data::Batch& batch,
                 const std::vector<optim::Direction>& directions) {
  const auto update = metrics::make_update(directions);
  return metrics::target_alignment(network, batch, update).mean.item<double>();
}

// W_to ... W_from; the identity where there is none.
at::Tensor product(const nn::NetworkImpl& network, std::size_t to, std::size_t from) {
  auto result = at::eye(network.in_features(), at::kDouble);
  for (std::size_t l = from; l <= to; ++l) result = network.dense(l).weight.matmul(result);
  return result;
}

// S^-1 r in rows.
at::Tensor scaled_residual(const nn::NetworkImpl& network, const data::Batch& batch) {
  const auto residual = batch.target - nn::feedforward(network, batch.input).prediction();
  return at::linalg_solve(inference::energy_scaling(network), residual.t()).t();
}

// ||dE/dx|| over the hidden activities.
double energy_gradient(const nn::NetworkImpl& network, const std::vector<at::Tensor>& x) {
  const auto error = [&](std::size_t l) {
    return x[l] - x[l - 1].matmul(network.dense(l).weight.t());
  };
  double squares = 0;
  for (std::size_t l = 1; l < network.size(); ++l) {
    const auto gradient = error(l) - error(l + 1).matmul(network.dense(l + 1).weight);
    squares += gradient.square().sum().item<double>();
  }
  return std::sqrt(squares);
}

Misprint conditioning() {
  const auto weight = draw(square(20, 0), nn::init::kaiming)->dense(1).weight;
  const auto right = nn::with_condition_number(weight, 100);
  const auto u = std::get<0>(at::linalg_svd(weight));
  const auto spectrum = std::get<1>(at::linalg_svd(right));
  const auto printed = u.matmul(spectrum.diag()).matmul(weight.t());
  return {"eq. 30",
          "W = U Sigma W^T",
          "W = U Sigma V^T",
          "condition number of a 20 x 20 matrix that is to have 100",
          nn::condition_number(printed).item<double>(),
          nn::condition_number(right).item<double>()};
}

Misprint theorem_2() {
  const auto network = draw(square(64, 2), nn::init::kaiming);
  const auto batch = draw_batch(64, 32);
  const auto layers = pc_factors(*network, batch);
  const auto measure = [&](bool as_printed) {
    return alignment(*network, batch,
                     optim::Decorrelation({.as_printed = as_printed}).directions(layers));
  };
  return {"Theorem 2, eq. 27 and 50",
          "A_l = (E[x* xhat^T])^-1",
          "A_l = (E[xhat x*^T])^-1, the transpose",
          "target alignment of PC + decorrelation (2 hidden layers x 64, 32 samples)",
          measure(true),
          measure(false)};
}

Misprint two_countings() {
  const auto network = draw(square(64, 2), nn::init::kaiming);
  const auto batch = draw_batch(64, 1);
  const auto layers = pc_factors(*network, batch);
  const auto right = optim::Alpha().directions(layers);
  auto printed = right;
  printed.back() = optim::Plain().directions(layers).back();
  return {
      "sections 2.2 and 3, appendices E to I",
      "two countings are mixed: L activities and L-1 weights (eq. 2 and 33, Theorems 1 and 2), "
      "and L weights (eq. 1 and 4 to 8)",
      "one counting: with the L weights of eq. 8, all of l = 1, ..., L are rescaled",
      "target alignment of PC + alpha where l = 1, ..., L-1 of eq. 8's weights are rescaled, and "
      "where all are (2 hidden layers x 64, 1 sample)",
      alignment(*network, batch, printed),
      alignment(*network, batch, right)};
}

Misprint change_of_prediction() {
  const auto network = draw(square(64, 2), nn::init::kaiming);
  const auto batch = draw_batch(64, 32);
  const auto pass = nn::feedforward(*network, batch.input);
  const auto residual = batch.target - pass.prediction();
  const auto update =
      metrics::make_update(optim::Decorrelation().directions(pc_factors(*network, batch)));
  const auto right = metrics::first_order_change(*network, pass, update);
  const auto v = scaled_residual(*network, batch);
  const auto printed = v.matmul(inference::energy_scaling(*network)) / batch.samples;
  const auto scale = residual.norm().item<double>();
  return {"eq. 47 to 49",
          "the change of the predictions is R / B",
          "it is R, as Theorem 2 says: the 1/B belongs to the mean in eq. 50",
          "|change of the predictions| / |R| of PC + decorrelation (2 hidden layers x 64, 32 "
          "samples)",
          printed.norm().item<double>() / scale,
          right.norm().item<double>() / scale};
}

Misprint batch_update() {
  const auto network = draw(square(20, 2), nn::init::norm_preserving);
  const auto batch = draw_batch(20, 16);
  auto mean = at::zeros({20, 20}, at::kDouble);
  for (std::int64_t b = 0; b < batch.samples; ++b) {
    const data::Batch one(batch.input.narrow(0, b, 1), batch.target.narrow(0, b, 1));
    mean += learning::weight_direction(pc_factors(*network, one)[1]) / batch.samples;
  }
  const auto x = inference::ClosedForm().infer(*network, batch).activities[1];
  const auto printed =
      product(*network, 3, 3).t().matmul(scaled_residual(*network, batch).t().matmul(x));
  const auto right = learning::weight_direction(pc_factors(*network, batch)[1]);
  const auto scale = mean.norm().item<double>();
  return {"eq. 44",
          "W_{L:l+1}^T S^-1 R X*^T",
          "(1/B) W_{L:l+1}^T S^-1 R X*^T",
          "|update of W_2| / |mean of the samples' updates| (2 hidden layers x 20, 16 samples)",
          printed.norm().item<double>() / scale,
          right.norm().item<double>() / scale};
}

// dE/dW_l of eq. 62, E = 1/2 r^T S^-1 r, of a linear residual network.
std::vector<at::Tensor> energy_gradients(const nn::NetworkImpl& network, const data::Batch& batch) {
  const at::AutoGradMode on(true);
  std::vector<at::Tensor> weights;
  for (std::size_t l = 1; l <= network.size(); ++l) {
    weights.push_back(network.dense(l).weight.detach().clone().set_requires_grad(true));
  }
  const auto identity = at::eye(network.in_features(), at::kDouble);
  auto scaling = at::zeros_like(identity);
  auto downstream = identity;
  for (const auto& weight : std::views::reverse(weights)) {
    scaling = scaling + downstream.matmul(downstream.t());
    downstream = downstream.matmul(identity + weight);
  }
  const auto residual = batch.target.t() - downstream.matmul(batch.input.t());
  (0.5 * (residual * at::linalg_solve(scaling, residual)).sum()).backward();
  std::vector<at::Tensor> gradients;
  for (const auto& weight : weights) gradients.push_back(weight.grad());
  return gradients;
}

Misprint residual_networks() {
  const auto network = draw(nn::linear_residual(20, 4), nn::init::kaiming);
  const auto batch = draw_batch(20, 1);
  const auto gradients = energy_gradients(*network, batch);
  const auto settled = inference::ClosedForm().infer(*network, batch);
  // Of all layers but the first, below whose presynaptic activity there is none.
  const auto difference = [&](std::size_t below) {
    double squares = 0;
    double all = 0;
    for (std::size_t l = 2; l <= network->size(); ++l) {
      const auto gradient = -settled.errors[l].t().matmul(settled.activities[l - below]);
      squares += (gradient - gradients[l - 1]).square().sum().item<double>();
      all += gradients[l - 1].square().sum().item<double>();
    }
    return std::sqrt(squares / all);
  };
  return {"eq. 63 to 66",
          "x*_{l-1}, with x_{l+1} = (I + W_l) x_l in eq. 55",
          "x*_l: the activity that W_l is applied to",
          "relative error of the gradient of eq. 62 (linear residual network, 4 layers x 20)",
          difference(2),
          difference(1)};
}

Misprint alpha_of_appendix_i() {
  const auto network = draw(square(64, 4), nn::init::kaiming);
  const auto batch = draw_batch(64, 1);
  const auto layers = pc_factors(*network, batch);
  const auto measure = [&](optim::AlphaDenominator denominator) {
    return alignment(
        *network, batch,
        optim::Alpha({.denominator = denominator, .floor = std::nullopt}).directions(layers));
  };
  return {"appendix I, figure 6",
          "alpha_l = 1 / (x*_{l-1}.x*_{l-1}) gives target alignment 1",
          "alpha_l = 1 / (x*_{l-1}.xhat_{l-1}) does, Theorem 1",
          "target alignment of PC + alpha (4 hidden layers x 64, 1 sample)",
          measure(optim::AlphaDenominator::kPresynaptic),
          measure(optim::AlphaDenominator::kPreAndPost)};
}

Misprint map_error() {
  const auto network = draw(square(20, 1), nn::init::kaiming);
  const data::LinearTeacher teacher(data::LinearTeacherOptions(20, 20), 0);
  return {"section 3.1.3",
          "the error of the map is ||W_data - W_{L:1}||_2^2",
          "it is the mean over the entries, as in appendix A.3",
          "error of the map before training (1 hidden layer x 20)",
          metrics::map_error_squared_frobenius(*network, teacher.map()).item<double>(),
          metrics::map_error(*network, teacher.map()).item<double>()};
}

Misprint targets() {
  const auto network = draw(square(64, 1), nn::init::kaiming);
  const auto measure = [&](data::Targets kind) {
    const auto batch = draw_batch(64, 128, 0, kind);
    return alignment(*network, batch,
                     optim::Decorrelation().directions(pc_factors(*network, batch)));
  };
  return {"section 3.1.3",
          "inputs and targets are sampled independently",
          "y = W_data x, as in appendix A.1: only then is figure 4A what it shows above the width",
          "target alignment of PC + decorrelation (1 hidden layer x 64, 128 samples)",
          measure(data::Targets::kIndependent),
          measure(data::Targets::kTeacher)};
}

Misprint small_steps() {
  const auto network = draw(square(512, 8), nn::init::norm_preserving);
  const auto batch = draw_batch(512, 1);
  const auto update = metrics::make_update(
      optim::Plain().directions(learning::Backpropagation().factors(*network, batch).layers));
  const auto measure = [&](std::optional<double> rate) {
    return metrics::target_alignment(*network, batch, update, rate).mean.item<double>();
  };
  return {"appendices B.1 and B.2",
          "varying the learning rate does not affect the results of one training step at 1e-4",
          "it does in deep and wide networks, where 1e-4 is not yet small",
          "target alignment of BP after one step at 1e-4, and to first order (8 hidden layers x "
          "512, norm-preserving, 1 sample)",
          measure(1e-4),
          measure(std::nullopt)};
}

// ---- What looks like a misprint, and is none

Confirmation equilibrium() {
  const auto network = draw(square(20, 3), nn::init::norm_preserving);
  const auto batch = draw_batch(20, 8);
  const auto start = [&] {
    auto x = nn::feedforward(*network, batch.input).activities;
    x.back() = batch.target;
    return x;
  }();
  // As printed: x_1 is the input and W_l leads from x_l to x_{l+1}, l = 1, ..., L-1.
  const auto v = scaled_residual(*network, batch);
  const auto layers = network->size() + 1;
  auto printed = start;
  for (std::size_t l = 2; l < layers; ++l) {
    auto factor = at::eye(20, at::kDouble);
    for (std::size_t k = 2; k < l; ++k) {
      const auto weights = product(*network, l - 1, k);
      factor += weights.matmul(weights.t());
    }
    auto& activity = printed[l - 1];
    activity = activity + v.matmul(product(*network, layers - 1, l)).matmul(factor.t());
  }
  return {"eq. 33", "x*_l = xhat_l + (I + sum_{k=2..l-1} W_{l-1:k} W_{l-1:k}^T) W_{L-1:l}^T S^-1 r",
          "right for L activities and L-1 weights, with xhat_l = W_{l-1:1} x",
          "gradient of the energy there, relative to the feed-forward pass (3 hidden layers x 20)",
          energy_gradient(*network, printed) / energy_gradient(*network, start)};
}

// The smallest c_l / c_1 that alpha divides a layer's update by.
double smallest_denominator(const nn::NetworkImpl& network, const data::Batch& batch) {
  const auto layers = pc_factors(network, batch);
  const auto denominator = [&](std::size_t l) {
    return (layers[l].presynaptic * layers[l].feedforward).sum().item<double>();
  };
  double smallest = 1;
  for (std::size_t l = 1; l < layers.size(); ++l) {
    smallest = std::min(smallest, denominator(l) / denominator(0));
  }
  return smallest;
}

Confirmation negative_denominators() {
  double largest = 0;
  int negative = 0;
  constexpr std::uint64_t kDraws = 50;
  for (std::uint64_t seed = 0; seed < kDraws; ++seed) {
    const auto network = draw(square(20, 8), nn::init::norm_preserving, seed);
    const auto batch = draw_batch(20, 1, seed);
    if (smallest_denominator(*network, batch) >= 0) continue;
    ++negative;
    const auto update =
        metrics::make_update(optim::Alpha().directions(pc_factors(*network, batch)));
    const auto pass = nn::feedforward(*network, batch.input);
    const auto residual = batch.target - pass.prediction();
    const auto change = metrics::first_order_change(*network, pass, update);
    largest = std::max(largest, ((change - residual).norm() / residual.norm()).item<double>());
  }
  return {
      "Theorem 1, section 3.2", "optimal alignment irrespective of neural activities",
      "right where x*.xhat is negative too; only training with it is unsafe there: such a layer "
      "moves uphill, and a small one far",
      fmt::format("largest |change of the prediction - r| / |r| over the {} of {} networks with "
                  "a negative x*.xhat (8 hidden layers x 20, 1 sample)",
                  negative, kDraws),
      largest};
}

Confirmation inference_step() {
  const auto network = draw(square(20, 1, nn::Activation::kReLU), nn::init::kaiming);
  const auto batch = draw_batch(20, 64);
  const inference::StateDescent descent({.max_steps = 10'000,
                                         .step_size = 0.05 / static_cast<double>(batch.samples),
                                         .tolerance = 0,
                                         .energy_tolerance = 0});
  return {"appendix B.2",
          "inference descends E = (1/B) sum_b sum_l 1/2 ||eps_l,b||^2, 10,000 steps of 0.05",
          "it gets there at B = 64; the sum over the batch, taken here, needs a 64th of the steps",
          "largest residual after 10,000 steps of 0.05 on E / B, relative to the feed-forward pass "
          "(1 hidden ReLU layer x 20, 64 samples)",
          descent.infer(*network, batch).report.max_residual()};
}

}  // namespace

std::vector<Misprint> misprints() {
  const at::NoGradGuard no_grad;
  return {two_countings(), conditioning(),      theorem_2(),           change_of_prediction(),
          batch_update(),  residual_networks(), alpha_of_appendix_i(), map_error(),
          targets(),       small_steps()};
}

std::vector<Confirmation> confirmations() {
  const at::NoGradGuard no_grad;
  return {equilibrium(), negative_denominators(), inference_step()};
}

}  // namespace pcxx::reproduce
