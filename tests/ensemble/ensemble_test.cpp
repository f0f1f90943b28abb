#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <hwy/highway.h>
#include <pcxx/core/error.h>
#include <pcxx/core/random.h>
#include <pcxx/data/linear_teacher.h>
#include <pcxx/ensemble/ensemble.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/learning/predictive_coding.h>
#include <pcxx/metrics/map_error.h>
#include <pcxx/metrics/sample_efficiency.h>
#include <pcxx/metrics/target_alignment.h>
#include <pcxx/nn/network.h>
#include <pcxx/optim/factory.h>
#include <pcxx/optim/member_sgd.h>
#include <pcxx/optim/rescaled.h>

#include <map>
#include <random>
#include <set>

#include "support/networks.h"

namespace pcxx::ensemble {
namespace {

using test::relative_difference;

// A problem with everything that a run of it needs.
struct Setup {
  Problem problem;
  Members members;
  at::Tensor maps;                   // [S, n_L, n_0]
  std::vector<data::Batch> batches;  // of all streams, one a step

  Streams streams() const {
    return {.maps = maps, .batch = [this](std::int64_t step) {
              return batches.at(static_cast<std::size_t>(step));
            }};
  }
  std::int64_t steps() const { return static_cast<std::int64_t>(batches.size()) - 1; }
  Result run(const RunOptions& options = {.threads = 1}) const {
    return ensemble::run(problem, members, streams(), steps(), options);
  }
};

struct Draw {
  std::int64_t members = 11;
  std::int64_t streams = 3;
  std::int64_t batch = 30;
  std::int64_t steps = 1;
  double rate = 1;
  double regularisation = 0.1;
  bool teacher = true;
  at::ScalarType dtype = at::kDouble;
  std::uint64_t seed = 1;
};

// Weights N(0, 1/n_in) (a third of that where a layer adds to its input), rates and regularisations
// that differ from member to member.
Setup draw(const Problem& problem, const Draw& d) {
  auto generator = make_generator(d.seed, Purpose::kWeights);
  const auto normal = [&](std::vector<std::int64_t> shape) {
    return at::empty(shape, at::kDouble).normal_(0, 1, generator);
  };
  const auto uniform = [&](double from, double to) {
    return at::empty({d.members}, at::kDouble).uniform_(from, to, generator);
  };
  Setup setup{.problem = problem, .members = {}, .maps = {}, .batches = {}};
  const auto& n = problem.widths;
  for (std::size_t l = 1; l < n.size(); ++l) {
    const double deviation = (problem.residual ? 0.3 : 1.0) / std::sqrt(static_cast<double>(n[l - 1]));
    setup.members.weights.push_back((deviation * normal({d.members, n[l], n[l - 1]})).to(d.dtype));
  }
  setup.members.rates = uniform(0.5, 1) * d.rate;
  setup.members.regularisation = uniform(0.5, 1) * d.regularisation;
  setup.members.streams = at::arange(d.members, at::kLong).remainder(d.streams);
  setup.maps = normal({d.streams, n.back(), n.front()}) / std::sqrt(static_cast<double>(n.front()));
  for (std::int64_t step = 0; step <= d.steps; ++step) {
    const auto x = normal({d.streams, d.batch, n.front()});
    const auto y = d.teacher ? at::matmul(x, setup.maps.mT()) : normal({d.streams, d.batch, n.back()});
    setup.batches.push_back({x, y});
  }
  return setup;
}

// The same run on tensors, by the packages nn, learning and optim.
class TensorPath {
 public:
  explicit TensorPath(const Setup& setup)
      : setup_(setup), network_(options(setup)), optimizer_(optimizer()) {
    const at::NoGradGuard no_grad;
    for (std::size_t l = 1; l <= network_->size(); ++l) {
      network_->layer(l).weight.copy_(setup.members.weights[l - 1]);
    }
  }

  void step(std::int64_t t) {
    const auto batch = batch_at(t);
    if (setup_.problem.rule == Rule::kPredictiveCoding) {
      optimizer_.write_gradients(learning::PredictiveCoding().factors(*network_, batch).layers);
    } else {
      optimizer_.write_gradients(learning::Backpropagation().factors(*network_, batch).layers);
    }
    metrics::Update update;
    for (std::size_t l = 1; l <= network_->size(); ++l) {
      update.weights.push_back(-network_->layer(l).weight.grad());
    }
    alignment_ = metrics::target_alignment(*network_, batch, update).mean;
    optimizer_.inner().step();
  }

  at::Tensor weight(std::size_t l) const { return network_->layer(l + 1).weight.detach(); }
  at::Tensor direction(std::size_t l) const { return -network_->layer(l + 1).weight.grad(); }
  const at::Tensor& alignment() const { return alignment_; }
  at::Tensor map_error() const {
    return metrics::map_error(*network_, setup_.maps.index_select(0, setup_.members.streams));
  }
  at::Tensor training_error(std::int64_t t) const {
    const auto batch = batch_at(t);
    return (batch.target - network_->forward(batch.input)).detach().square().mean({-2, -1});
  }

 private:
  static nn::Network options(const Setup& setup) {
    const auto& p = setup.problem;
    const auto single = p.residual ? nn::linear_residual(p.widths[0], static_cast<std::int64_t>(
                                                                          p.widths.size() - 1))
                                   : nn::mlp(p.widths);
    nn::Network network(single.ensemble(setup.members.rates.numel()));
    network->to(at::kDouble);
    return network;
  }

  // Members of one ensemble share the regularisation on tensors, hence one rescaling a member.
  class Rescalings final : public optim::Rescaling {
   public:
    explicit Rescalings(const Setup& setup) {
      const auto& p = setup.problem;
      static const std::map<ensemble::Rescaling, std::string> kNames = {
          {ensemble::Rescaling::kNone, "none"},
          {ensemble::Rescaling::kAlpha, "alpha"},
          {ensemble::Rescaling::kDecorrelation, "decorrelation"},
          {ensemble::Rescaling::kProjection, "projection"},
          {ensemble::Rescaling::kRecursiveProjection, "recursive_projection"}};
      for (std::int64_t r = 0; r < setup.members.rates.numel(); ++r) {
        optim::RescalingOptions options;
        options.name = kNames.at(p.rescaling);
        options.regularisation = setup.members.regularisation[r].item<double>();
        options.as_printed = p.as_printed;
        if (p.presynaptic_denominator) options.denominator = optim::AlphaDenominator::kPresynaptic;
        options.floor = p.floor;
        options.forgetting = p.forgetting;
        options.delta = p.delta;
        members_.push_back(optim::make_rescaling(options));
      }
    }
    std::vector<optim::Direction> directions(
        const std::vector<learning::LayerFactors>& layers) override {
      std::vector<std::vector<at::Tensor>> found(layers.size());
      for (std::size_t r = 0; r < members_.size(); ++r) {
        auto mine = layers;
        const auto index = static_cast<std::int64_t>(r);
        for (auto& layer : mine) {
          const bool same = layer.presynaptic.is_same(layer.feedforward);
          layer.error = layer.error[index];
          layer.feedforward = layer.feedforward[index];
          layer.presynaptic = same ? layer.feedforward : layer.presynaptic[index];
        }
        const auto directions = members_[r]->directions(mine);
        for (std::size_t l = 0; l < layers.size(); ++l) found[l].push_back(directions[l].weight);
      }
      std::vector<optim::Direction> result;
      for (const auto& weights : found) result.push_back({.weight = at::stack(weights), .bias = {}});
      return result;
    }
    std::string_view name() const override { return "one a member"; }

   private:
    std::vector<std::unique_ptr<optim::Rescaling>> members_;
  };

  optim::Rescaled optimizer() {
    return {std::make_unique<optim::MemberSGD>(network_->parameters(), setup_.members.rates),
            std::make_unique<Rescalings>(setup_)};
  }

  data::Batch batch_at(std::int64_t t) const {
    const auto& batch = setup_.batches.at(static_cast<std::size_t>(t));
    return {batch.input.index_select(0, setup_.members.streams),
            batch.target.index_select(0, setup_.members.streams)};
  }

  const Setup& setup_;
  nn::Network network_;
  optim::Rescaled optimizer_;
  at::Tensor alignment_;
};

const std::vector<std::vector<std::int64_t>> kShapes = {
    {4, 3}, {5, 5, 5}, {20, 20, 20}, {6, 9, 4, 7}, {9, 7, 5, 3, 2}, {1, 1, 1}, {3, 11, 2}, {7, 7, 7, 7, 7, 7}};

std::string describe(const Setup& s, const Draw& d) {
  std::string text = c10::str("widths ", at::IntArrayRef(s.problem.widths), " B ", d.batch, " rule ",
                              static_cast<int>(s.problem.rule), " rescaling ",
                              static_cast<int>(s.problem.rescaling));
  if (s.problem.residual) text += " residual";
  if (s.problem.as_printed) text += " as printed";
  if (s.problem.presynaptic_denominator) text += " xx";
  if (s.problem.floor) text += " floor";
  if (!d.teacher) text += " independent targets";
  return text;
}

// A problem drawn at random from everything the engine does.
std::pair<Problem, Draw> random_case(std::mt19937_64& random) {
  const auto pick = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  Problem problem;
  problem.widths = kShapes[static_cast<std::size_t>(pick(static_cast<int>(kShapes.size())))];
  if (pick(4) == 0) {
    problem.widths.assign(static_cast<std::size_t>(2 + pick(4)), 1 + pick(12));
    problem.residual = true;
  }
  problem.rule = pick(2) ? Rule::kPredictiveCoding : Rule::kBackpropagation;
  problem.rescaling = static_cast<Rescaling>(pick(5));
  problem.presynaptic_denominator = pick(3) == 0;
  if (pick(3) == 0) problem.floor = 0.5;
  problem.as_printed = pick(3) == 0;
  problem.forgetting = pick(3) ? 0.95 : 1;
  problem.delta = pick(2) ? 1 : 0.1;
  problem.alignment = pick(2);
  problem.error = pick(3) ? Error::kMap : Error::kTraining;
  Draw d;
  d.batch = std::vector<int>{1, 2, 3, 8, 30, 64}[static_cast<std::size_t>(pick(6))];
  d.teacher = pick(3) > 0;
  d.seed = random();
  return {problem, d};
}

// Per member: ||a - b|| / ||b||, the largest.
double worst(const at::Tensor& a, const at::Tensor& b) {
  const auto difference = (a.to(at::kDouble) - b.to(at::kDouble)).norm(2, {-2, -1});
  const auto norm = b.to(at::kDouble).norm(2, {-2, -1});
  return at::where(norm.gt(0), difference / norm, difference).max().item<double>();
}

// Oracle: the tensor path. One step from the same weights moves them by the same update: rates of
// order 1 leave it large enough to be read off the weights.
TEST(Engine, OneStepIsTheTensorPaths) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 400; ++i) {
    const auto [problem, d] = random_case(random);
    const auto setup = draw(problem, d);
    SCOPED_TRACE(describe(setup, d));
    TensorPath reference(setup);
    const auto start = problem.error == Error::kMap ? reference.map_error() : reference.training_error(0);
    reference.step(0);
    const auto end = problem.error == Error::kMap ? reference.map_error() : reference.training_error(1);
    const auto found = setup.run();
    for (std::size_t l = 0; l < found.weights.size(); ++l) {
      const auto& before = setup.members.weights[l];
      EXPECT_LT(worst(found.weights[l] - before, reference.weight(l) - before), 1e-12) << "layer " << l + 1;
    }
    EXPECT_LT(relative_difference(found.errors[0], start), 1e-12);
    EXPECT_LT(relative_difference(found.errors[1], end), 1e-12);
    if (problem.alignment) {
      EXPECT_LT(relative_difference(found.alignments[0], reference.alignment()), 1e-12);
      EXPECT_TRUE(found.alignments[1].isnan().all().item<bool>());
    }
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace pcxx::ensemble
