#include <gtest/gtest.h>
#include <pcxx/core/random.h>
#include <pcxx/learning/kalman.h>
#include <pcxx/nn/binary_cross_entropy.h>
#include <pcxx/nn/block.h>
#include <pcxx/nn/conv2d.h>
#include <pcxx/nn/cross_entropy.h>
#include <pcxx/nn/init.h>
#include <pcxx/nn/pool2d.h>
#include <torch/csrc/autograd/autograd.h>

#include "support/networks.h"
#include "support/thread_peers.h"

namespace pcxx::learning {
namespace {

using nn::Activation;
using test::random_batch;
using test::random_network;
using test::relative_difference;

nn::LayerMaker made(std::function<std::shared_ptr<nn::Layer>()> make) {
  return [make](std::int64_t, std::int64_t) { return make(); };
}

// Images of 1 x 6 x 6, 2 x 3 x 3 after pooling, 4 x 2 x 2, 5 units, 3 outputs.
nn::NetworkOptions convolutions() {
  const auto first =
      nn::Conv2dOptions(1, 2, 3).size(6, 6).padding(1).activation(Activation::kReLU).bias(true);
  const auto second = nn::Conv2dOptions(2, 4, 2).size(3, 3).activation(Activation::kTanh);
  return nn::mlp({36, 18, 16, 5, 3}, Activation::kTanh)
      .with_bias()
      .with_layer(1, made([first] {
                    using Layers = std::vector<std::shared_ptr<nn::Layer>>;
                    const auto pool = nn::Pool2dOptions(2, 2).size(6, 6);
                    return std::make_shared<nn::Block>(Layers{std::make_shared<nn::Conv2d>(first),
                                                              std::make_shared<nn::Pool2d>(pool)},
                                                       /*residual=*/false);
                  }))
      .with_layer(2, made([second] { return std::make_shared<nn::Conv2d>(second); }));
}

nn::Network drawn(const nn::NetworkOptions& options) {
  const at::NoGradGuard no_grad;
  nn::Network network(options);
  network->to(torch::kDouble);
  auto generator = make_generator(5, Purpose::kWeights);
  nn::init::lecun_(*network, generator);
  for (auto& parameter : network->parameters()) {
    if (parameter.dim() == 1) parameter.normal_(0, 0.3, generator);
  }
  return network;
}

data::Batch labelled(const nn::NetworkImpl& network, std::int64_t samples, std::uint64_t seed) {
  auto batch = random_batch(network, samples, seed);
  batch.target = at::softmax(3 * batch.target, -1);
  return batch;
}

// ---- The rule as it is defined, by autograd and inverses ----------------------------------------

// Of every output, in the rows of each weight and its bias: [n_L, n_l, n] for each layer.
std::vector<at::Tensor> weight_gradients(const nn::NetworkImpl& network, const at::Tensor& input) {
  const auto prediction = network.forward(input.unsqueeze(0)).squeeze(0);
  std::vector<at::Tensor> found;
  for (std::size_t l = 1; l <= network.size(); ++l) {
    const auto [weight, bias] = network.layer(l).affine();
    std::vector<at::Tensor> of_outputs;
    for (std::int64_t k = 0; k < prediction.size(0); ++k) {
      auto rows = torch::autograd::grad({prediction[k]}, {weight}, {}, true)[0].flatten(1);
      if (bias.defined()) {
        const auto last = torch::autograd::grad({prediction[k]}, {bias}, {}, true)[0];
        rows = at::cat({rows, last.unsqueeze(-1)}, -1);
      }
      of_outputs.push_back(rows);
    }
    found.push_back(at::stack(of_outputs));
  }
  return found;
}

at::Tensor root_of(const at::Tensor& matrix) {
  const auto [values, vectors] = at::linalg_eigh(matrix);
  return at::matmul(vectors * values.clamp_min(0).sqrt(), vectors.t());
}

struct Told {
  std::vector<at::Tensor> information;  // Lambda of each layer [n, n], and
  std::vector<at::Tensor> vector;       // its information vector [n_l, n]
};

// H in place of I / R where it is defined.
Told told_by(const std::vector<at::Tensor>& gradients, const at::Tensor& residual,
             const std::vector<at::Tensor>& covariances, double noise, const at::Tensor& bound,
             const std::vector<double>& ranks) {
  const auto one = at::eye(residual.size(0), at::kDouble);
  auto gamma = at::zeros_like(one);
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    gamma += at::einsum("kcn,nm,jcm->kj", {gradients[i], covariances[i], gradients[i]});
  }
  const auto h = bound.defined() ? bound : one / noise;
  const auto root = root_of(h);
  const auto inner = at::linalg_inv(one + at::matmul(at::matmul(root, gamma), root));
  const auto information = at::matmul(at::matmul(root, inner), root);
  const auto v = at::matmul(at::linalg_inv(one + at::matmul(h, gamma)),
                            bound.defined() ? residual : residual / noise);
  Told told;
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    const auto& g = gradients[i];
    const auto& q = covariances[i];
    const auto a = at::einsum("kcn,kj,jcm->nm", {g, information, g}) / ranks[i];
    const auto alone = q - at::matmul(at::matmul(q, a), q);
    const auto step = at::matmul(at::einsum("k,kcn->cn", {v, g}), q);
    told.information.push_back(at::linalg_inv(alone) - at::linalg_inv(q));
    told.vector.push_back(at::matmul(step, at::linalg_inv(alone)));
  }
  return told;
}

// m_l: n_l of convolutions are their channels.
std::vector<double> ranks_of(const nn::NetworkImpl& network) {
  std::vector<double> ranks;
  for (std::size_t l = 1; l <= network.size(); ++l) {
    auto least = network.layer(l).affine().weight.size(0);
    for (auto above = l + 1; above <= network.size(); ++above) {
      least = std::min(least, network.layer(above).out_features());
    }
    ranks.push_back(static_cast<double>(least));
  }
  return ranks;
}

// A variance of 0: those of losses of logits.
std::vector<at::Tensor> first_covariances(const nn::NetworkImpl& network, double variance) {
  std::vector<at::Tensor> found;
  for (std::size_t l = 1; l <= network.size(); ++l) {
    const auto [weight, bias] = network.layer(l).affine();
    const auto inputs = weight[0].numel();
    const double of_logits = weight.dim() == 4 ? 16 : 64;
    found.push_back(at::eye(inputs + (bias.defined() ? 1 : 0), at::kDouble) *
                    ((variance > 0 ? variance : of_logits) / static_cast<double>(inputs)));
  }
  return found;
}

at::Tensor joined(const OwnDirections& own) {
  const auto rows = own.directions[0].flatten(1);
  return own.directions.size() == 1 ? rows : at::cat({rows, own.directions[1].unsqueeze(-1)}, -1);
}

// Several batches, so that narrowed covariances count; the network stays.
void expect_definition(const nn::NetworkImpl& network, const at::Tensor& bound, double variance,
                       const std::vector<data::Batch>& batches) {
  KalmanPredictiveCoding rule;
  auto covariances = first_covariances(network, variance);
  const auto ranks = ranks_of(network);
  for (const auto& batch : batches) {
    const auto step = rule.factors(network, batch);
    const double noise = rule.report().noise.item<double>();
    std::vector<at::Tensor> information(covariances.size());
    std::vector<at::Tensor> vector(covariances.size());
    const auto residual = network.residual(step.prediction, batch.target);
    for (std::int64_t b = 0; b < batch.samples; ++b) {
      const auto told = told_by(weight_gradients(network, batch.input[b]), residual[b], covariances,
                                noise, bound, ranks);
      for (std::size_t i = 0; i < covariances.size(); ++i) {
        information[i] = b == 0 ? told.information[i] : information[i] + told.information[i];
        vector[i] = b == 0 ? told.vector[i] : vector[i] + told.vector[i];
      }
    }
    ASSERT_EQ(step.own.size(), covariances.size());
    const double scale = rule.report().scale.item<double>();
    for (std::size_t i = 0; i < covariances.size(); ++i) {
      auto& q = covariances[i];
      const auto known = at::linalg_inv(at::linalg_inv(q) + information[i]);
      const auto found = joined(step.own[i]);
      EXPECT_LT(relative_difference(found, scale * at::matmul(vector[i], known)), 1e-8);
      q = at::lerp(q, known, ranks[i] / static_cast<double>(found.size(0)));
      EXPECT_LT(relative_difference(rule.covariances()[i], q), 1e-8);
    }
  }
}

std::vector<data::Batch> batches_of(const nn::NetworkImpl& network, std::int64_t samples) {
  return {labelled(network, samples, 1), labelled(network, samples, 2),
          labelled(network, samples, 3)};
}

// Oracle: the definition, by autograd and inverses.
TEST(KalmanLayers, IsItsDefinitionInConvolutions) {
  const auto network = drawn(convolutions());
  for (const std::int64_t samples : {1, 4}) {
    expect_definition(*network, {}, 1, batches_of(*network, samples));
  }
}

TEST(KalmanLayers, IsItsDefinitionByTheBoundOfTheLoss) {
  const auto bound = (at::eye(3, at::kDouble) - 1.0 / 3) / 2;
  for (auto options : {convolutions(), nn::mlp({5, 6, 4, 3}, Activation::kTanh).with_bias()}) {
    const auto network = drawn(options.loss(std::make_shared<nn::CrossEntropy>()));
    for (const std::int64_t samples : {1, 4}) {
      expect_definition(*network, bound, 0, batches_of(*network, samples));
    }
  }
  auto options = nn::mlp({5, 6, 3}, Activation::kTanh);
  const auto network = drawn(options.loss(std::make_shared<nn::BinaryCrossEntropy>()));
  expect_definition(*network, at::eye(3, at::kDouble) / 4, 0, batches_of(*network, 4));
}

// Oracle: steps of samples that agree overshoot together: of the predicted change d, scale times d
// is the minimum of the loss's bound along it, <r, d> = <d, H d>.
TEST(KalmanLayers, ShortensByTheBound) {
  auto options = nn::mlp({5, 3});
  const auto network = drawn(options.loss(std::make_shared<nn::CrossEntropy>()));
  auto batch = labelled(*network, 1, 1);
  batch = {batch.input.expand({8, -1}).contiguous(), batch.target.expand({8, -1}).contiguous()};
  KalmanPredictiveCoding rule;
  const auto step = rule.factors(*network, batch);
  ASSERT_LT(rule.report().scale.item<double>(), 1);
  const auto& d = rule.report().change;
  const auto residual = network->residual(step.prediction, batch.target);
  const auto bound = (at::eye(3, at::kDouble) - 1.0 / 3) / 2;
  EXPECT_NEAR((d * residual).sum().item<double>(), (d * at::matmul(d, bound)).sum().item<double>(),
              1e-10);
}

// Oracle: the same network of Dense layers, whose shorter ways have tests of their own. A group of
// one Dense layer is that layer.
TEST(KalmanLayers, LearnsDenseLayersAlike) {
  for (const auto& options :
       {nn::mlp({5, 6, 4, 3}, Activation::kTanh).with_bias(), nn::mlp({4, 5, 7}, Activation::kReLU),
        nn::mlp({5, 6, 3}, Activation::kTanh).with_bias().ensemble(1)}) {
    const auto dense = random_network(options);
    const auto last = options.layers().size();
    const auto in_group = [&](std::int64_t, std::int64_t) {
      auto inner = options.layers()[last - 1];
      inner.members(std::nullopt);
      return std::make_shared<nn::Block>(
          std::vector<std::shared_ptr<nn::Layer>>{std::make_shared<nn::DenseImpl>(inner)},
          /*residual=*/false);
    };
    nn::Network grouped(options.with_layer(last, in_group));
    grouped->to(torch::kDouble);
    {
      const at::NoGradGuard no_grad;
      auto from = dense->parameters();
      auto to = grouped->parameters();
      for (std::size_t i = 0; i < to.size(); ++i) to[i].copy_(from[i].view_as(to[i]));
    }
    for (const std::int64_t samples : {1, 5}) {
      KalmanPredictiveCoding expected;
      KalmanPredictiveCoding found;
      for (std::uint64_t seed = 1; seed <= 3; ++seed) {
        const auto batch = random_batch(*dense, samples, seed);
        const auto known = expected.factors(*dense, batch);
        const auto step = found.factors(*grouped, batch);
        for (std::size_t l = 0; l < last; ++l) {
          for (std::size_t i = 0; i < known.own[l].directions.size(); ++i) {
            const auto& wanted = known.own[l].directions[i];
            EXPECT_LT(relative_difference(step.own[l].directions[i].view_as(wanted), wanted),
                      1e-10);
          }
          EXPECT_LT(relative_difference(found.covariances()[l], expected.covariances()[l]), 1e-10);
        }
        const auto wanted = expected.measurements();
        for (const auto& [name, value] : found.measurements()) {
          EXPECT_LT(relative_difference(value, wanted.at(name)), 1e-9) << name;
        }
      }
    }
  }
}

// Oracle: a convolution whose kernel is the whole image is a dense layer.
TEST(KalmanLayers, OfOneLocationIsDense) {
  const auto options = nn::mlp({18, 4, 3}, Activation::kTanh).with_bias();
  const auto whole = nn::Conv2dOptions(2, 4, 3).size(3, 3).activation(Activation::kTanh).bias(true);
  const auto dense = random_network(options);
  nn::Network network(
      options.with_layer(1, made([whole] { return std::make_shared<nn::Conv2d>(whole); })));
  network->to(torch::kDouble);
  {
    const at::NoGradGuard no_grad;
    auto from = dense->parameters();
    auto to = network->parameters();
    for (std::size_t i = 0; i < to.size(); ++i) to[i].copy_(from[i].view_as(to[i]));
  }
  const auto batch = random_batch(*dense, 5);
  KalmanPredictiveCoding expected;
  KalmanPredictiveCoding found;
  const auto known = expected.factors(*dense, batch);
  const auto step = found.factors(*network, batch);
  for (std::size_t l = 0; l < 2; ++l) {
    EXPECT_LT(relative_difference(joined(step.own[l]), joined(known.own[l])), 1e-10);
  }
}

// Oracle: eigenvalues of the difference, at predictions far and near.
TEST(KalmanLayers, NoCurvatureExceedsItsBound) {
  const std::shared_ptr<nn::Loss> losses[] = {std::make_shared<nn::CrossEntropy>(),
                                              std::make_shared<nn::BinaryCrossEntropy>()};
  const auto one = at::eye(5, at::kDouble);
  for (const auto& loss : losses) {
    const auto bound = loss->curvature_bound(5, at::kDouble);
    double nearest = 1;
    for (const double size : {0.0, 0.5, 3.0, 30.0}) {
      auto generator = make_generator(static_cast<std::uint64_t>(10 * size), Purpose::kInputs);
      const auto prediction = size * at::empty({1, 5}, at::kDouble).normal_(0, 1, generator);
      const auto target = at::softmax(at::empty({1, 5}, at::kDouble).normal_(0, 1, generator), -1);
      const auto residual = loss->residual(prediction, target);
      const auto hessian = loss->curve(residual.expand({5, 5}), target.expand({5, 5}), one);
      const auto least = at::linalg_eigvalsh(bound - hessian).min().item<double>();
      EXPECT_GT(least, -1e-12) << loss->name();
      nearest = std::min(nearest, least);
    }
    EXPECT_LT(nearest, 1e-12) << "no smaller matrix of the kind would do";
  }
}

// Oracle: one process with all samples.
TEST(KalmanLayers, PeersMakeTheStepOfOneProcess) {
  constexpr int kPeers = 2;
  constexpr std::int64_t kSamples = 5;
  auto options = convolutions();
  const auto network = drawn(options.loss(std::make_shared<nn::CrossEntropy>()));
  std::vector<KalmanPredictiveCoding> rules(kPeers);
  KalmanPredictiveCoding alone;
  for (std::uint64_t seed = 1; seed <= 2; ++seed) {
    const auto batch = labelled(*network, kSamples, seed);
    std::vector<Step> steps(kPeers);
    test::ThreadPeers(kPeers).run([&](int place, Peers& peers) {
      const auto first = std::int64_t{3} * place;
      const auto count = std::min<std::int64_t>(3, kSamples - first);
      const data::Batch mine{batch.input.narrow(0, first, count),
                             batch.target.narrow(0, first, count), kSamples};
      const auto i = static_cast<std::size_t>(place);
      steps[i] = rules[i].shared_factors(*network, mine, peers);
    });
    const auto expected = alone.factors(*network, batch);
    for (std::size_t i = 0; i < steps.size(); ++i) {
      for (std::size_t l = 0; l < expected.own.size(); ++l) {
        EXPECT_LT(relative_difference(joined(steps[i].own[l]), joined(expected.own[l])), 1e-11);
        EXPECT_LT(relative_difference(rules[i].covariances()[l], alone.covariances()[l]), 1e-11);
      }
      const auto wanted = alone.measurements();
      for (const auto& [name, value] : rules[i].measurements()) {
        EXPECT_LT(relative_difference(value, wanted.at(name)), 1e-11) << name;
      }
    }
  }
}

void expect_refused(KalmanPredictiveCoding rule, const nn::NetworkImpl& network,
                    const std::string& why) {
  try {
    rule.factors(network, random_batch(network, 2));
    FAIL() << why;
  } catch (const c10::Error& error) {
    EXPECT_NE(std::string(error.what_without_backtrace()).find(why), std::string::npos)
        << error.what_without_backtrace();
  }
}

// Contract: one sentence, which names what does not fit.
TEST(KalmanLayers, RefusesWhatDoesNotFit) {
  const auto layer = nn::DenseOptions(5, 5);
  const auto two = nn::mlp({5, 5, 3}).with_layer(
      1, made([layer] {
        return std::make_shared<nn::Block>(std::vector<std::shared_ptr<nn::Layer>>{
            std::make_shared<nn::DenseImpl>(layer), std::make_shared<nn::DenseImpl>(layer)});
      }));
  expect_refused(KalmanPredictiveCoding(), *random_network(two), "kpc cannot learn layer 1");
  const auto network = drawn(convolutions());
  expect_refused(KalmanPredictiveCoding({.narrowing = Narrowing::kConstancy}), *network,
                 "narrowing = constancy is for Dense layers");
  auto options = nn::mlp({5, 3});
  const auto classifier = random_network(options.loss(std::make_shared<nn::CrossEntropy>()));
  expect_refused(KalmanPredictiveCoding({.noise_fraction = 1}), *classifier,
                 "noise_fraction is of the squared error");
}

}  // namespace
}  // namespace pcxx::learning
