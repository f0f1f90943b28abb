#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <hwy/highway.h>
#include <pcxx/core/error.h>
#include <pcxx/core/precision.h>
#include <pcxx/core/random.h>
#include <pcxx/data/linear_teacher.h>
#include <pcxx/ensemble/ensemble.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/learning/predictive_coding.h>
#include <pcxx/metrics/map_error.h>
#include <pcxx/metrics/sample_efficiency.h>
#include <pcxx/metrics/target_alignment.h>
#include <pcxx/nn/network.h>
#include <pcxx/optim/member_sgd.h>
#include <pcxx/optim/optimizers.h>
#include <pcxx/optim/recursive_projection.h>
#include <pcxx/optim/rescaled.h>

#include <map>
#include <random>
#include <set>

#include "ensemble/block.h"
#include "support/networks.h"
#include "support/rescalings.h"

namespace pcxx::ensemble {
namespace {

using test::relative_difference;

// A problem with everything that a run of it needs.
struct Trial {
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
Trial draw(const Problem& problem, const Draw& d) {
  auto generator = make_generator(d.seed, Purpose::kWeights);
  const auto normal = [&](std::vector<std::int64_t> shape) {
    return at::empty(shape, at::kDouble).normal_(0, 1, generator);
  };
  const auto uniform = [&](double from, double to) {
    return at::empty({d.members}, at::kDouble).uniform_(from, to, generator);
  };
  Trial setup{.problem = problem, .members = {}, .maps = {}, .batches = {}};
  const auto& n = problem.widths;
  for (std::size_t l = 1; l < n.size(); ++l) {
    const double deviation =
        (problem.residual ? 0.3 : 1.0) / std::sqrt(static_cast<double>(n[l - 1]));
    setup.members.weights.push_back((deviation * normal({d.members, n[l], n[l - 1]})).to(d.dtype));
  }
  setup.members.rates = uniform(0.5, 1) * d.rate;
  setup.members.regularisation = uniform(0.5, 1) * d.regularisation;
  setup.members.streams = at::arange(d.members, at::kLong).remainder(d.streams);
  setup.maps = normal({d.streams, n.back(), n.front()}) / std::sqrt(static_cast<double>(n.front()));
  for (std::int64_t step = 0; step <= d.steps; ++step) {
    const auto x = normal({d.streams, d.batch, n.front()});
    const auto y =
        d.teacher ? at::matmul(x, setup.maps.mT()) : normal({d.streams, d.batch, n.back()});
    setup.batches.push_back({x, y});
  }
  return setup;
}

// The same run on tensors, by the packages nn, learning and optim.
class TensorPath {
 public:
  explicit TensorPath(const Trial& setup)
      : setup_(setup), network_(options(setup)), optimizer_(optimizer()) {
    const at::NoGradGuard no_grad;
    for (std::size_t l = 1; l <= network_->size(); ++l) {
      network_->dense(l).weight.copy_(setup.members.weights[l - 1]);
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
      update.weights.push_back(-network_->dense(l).weight.grad());
    }
    alignment_ = metrics::target_alignment(*network_, batch, update).mean;
    optimizer_.inner().step();
  }

  at::Tensor weight(std::size_t l) const { return network_->dense(l + 1).weight.detach(); }
  at::Tensor direction(std::size_t l) const { return -network_->dense(l + 1).weight.grad(); }
  const at::Tensor& alignment() const { return alignment_; }
  at::Tensor memory(std::size_t l) {
    return dynamic_cast<const Rescalings&>(optimizer_.rescaling()).memory(l);
  }
  at::Tensor map_error() const {
    return metrics::map_error(*network_, setup_.maps.index_select(0, setup_.members.streams));
  }
  at::Tensor training_error(std::int64_t t) const {
    const auto batch = batch_at(t);
    return (batch.target - network_->forward(batch.input)).detach().square().mean({-2, -1});
  }

 private:
  static nn::Network options(const Trial& setup) {
    const auto& p = setup.problem;
    const auto single =
        p.residual
            ? nn::linear_residual(p.widths[0], static_cast<std::int64_t>(p.widths.size() - 1))
            : nn::mlp(p.widths);
    nn::Network network(single.ensemble(setup.members.rates.numel()));
    network->to(at::kDouble);
    return network;
  }

  // Members of one ensemble share the regularisation on tensors, hence one rescaling a member.
  class Rescalings final : public optim::Rescaling {
   public:
    explicit Rescalings(const Trial& setup) {
      const auto& p = setup.problem;
      static const std::map<ensemble::Rescaling, std::string> kNames = {
          {ensemble::Rescaling::kNone, "none"},
          {ensemble::Rescaling::kAlpha, "alpha"},
          {ensemble::Rescaling::kDecorrelation, "decorrelation"},
          {ensemble::Rescaling::kProjection, "projection"},
          {ensemble::Rescaling::kRecursiveProjection, "recursive_projection"}};
      for (std::int64_t r = 0; r < setup.members.rates.numel(); ++r) {
        test::RescalingOptions options;
        options.name = kNames.at(p.rescaling);
        options.regularisation = setup.members.regularisation[r].item<double>();
        options.as_printed = p.as_printed;
        if (p.presynaptic_denominator) options.denominator = optim::AlphaDenominator::kPresynaptic;
        options.floor = p.floor;
        options.forgetting = p.forgetting;
        options.delta = p.delta;
        members_.push_back(test::make_rescaling(options));
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
      for (const auto& weights : found)
        result.push_back({.weight = at::stack(weights), .bias = {}});
      return result;
    }
    std::string_view name() const override { return "one a member"; }

    at::Tensor memory(std::size_t l) const {
      std::vector<at::Tensor> found;
      for (const auto& member : members_) {
        found.push_back(dynamic_cast<const optim::RecursiveProjection&>(*member).memory()[l]);
      }
      return at::stack(found);
    }

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

  const Trial& setup_;
  nn::Network network_;
  optim::Rescaled optimizer_;
  at::Tensor alignment_;
};

const std::vector<std::vector<std::int64_t>> kShapes = {
    {4, 3},          {5, 5, 5}, {20, 20, 20}, {6, 9, 4, 7},
    {9, 7, 5, 3, 2}, {1, 1, 1}, {3, 11, 2},   {7, 7, 7, 7, 7, 7}};

std::string describe(const Trial& s, const Draw& d) {
  std::string text = c10::str("widths ", at::IntArrayRef(s.problem.widths), " B ", d.batch,
                              " rule ", static_cast<int>(s.problem.rule), " rescaling ",
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
    problem.widths.assign(std::size_t{2} + static_cast<std::size_t>(pick(4)), 1 + pick(12));
    problem.residual = true;
  }
  problem.rule = pick(2) != 0 ? Rule::kPredictiveCoding : Rule::kBackpropagation;
  problem.rescaling = static_cast<Rescaling>(pick(5));
  problem.presynaptic_denominator = pick(3) == 0;
  if (pick(3) == 0) problem.floor = 0.5;
  problem.as_printed = pick(3) == 0;
  problem.forgetting = pick(3) != 0 ? 0.95 : 1;
  problem.delta = pick(2) != 0 ? 1 : 0.1;
  problem.alignment = pick(2) != 0;
  problem.error = pick(3) != 0 ? Error::kMap : Error::kTraining;
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
    const auto start =
        problem.error == Error::kMap ? reference.map_error() : reference.training_error(0);
    reference.step(0);
    const auto end =
        problem.error == Error::kMap ? reference.map_error() : reference.training_error(1);
    const auto found = setup.run();
    for (std::size_t l = 0; l < found.weights.size(); ++l) {
      const auto& before = setup.members.weights[l];
      EXPECT_LT(worst(found.weights[l] - before, reference.weight(l) - before), 1e-12)
          << "layer " << l + 1;
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

// Every rule with every rescaling, printed form included.
std::vector<Problem> all_models(const std::vector<std::int64_t>& widths) {
  std::vector<Problem> models;
  for (const auto rule : {Rule::kBackpropagation, Rule::kPredictiveCoding}) {
    for (const auto rescaling : {Rescaling::kNone, Rescaling::kAlpha, Rescaling::kDecorrelation,
                                 Rescaling::kProjection, Rescaling::kRecursiveProjection}) {
      Problem problem{.widths = widths};
      problem.rule = rule;
      problem.rescaling = rescaling;
      models.push_back(problem);
    }
  }
  return models;
}

// Oracle: the tensor path. The batches of one stream are 0, and of some members the first weight
// is, so that the layers above have no active input, beside members that learn in the same vector.
TEST(Engine, DeadLayersAreTheTensorPaths) {
  for (const auto& widths : kShapes) {
    for (auto problem : all_models(widths)) {
      if (problem.rescaling == Rescaling::kNone) continue;
      for (const int batch : {1, 3, 30}) {
        for (const bool printed : {false, true}) {
          for (const bool alignment : {false, true}) {
            problem.as_printed = printed;
            problem.alignment = alignment;
            const Draw d{.batch = batch};
            auto setup = draw(problem, d);
            SCOPED_TRACE(describe(setup, d));
            for (auto& one : setup.batches) {
              one.input[1].zero_();
              one.target[1].zero_();
            }
            for (const std::int64_t member : {0, 5, 10}) setup.members.weights[0][member].zero_();
            TensorPath reference(setup);
            reference.step(0);
            const auto found = setup.run();
            for (std::size_t l = 0; l < found.weights.size(); ++l) {
              const auto& before = setup.members.weights[l];
              EXPECT_TRUE(found.weights[l].isfinite().all().item<bool>()) << "layer " << l + 1;
              EXPECT_LT(worst(found.weights[l] - before, reference.weight(l) - before), 1e-11)
                  << "layer " << l + 1;
            }
            if (testing::Test::HasFailure()) return;
          }
        }
      }
    }
  }
}

// Oracle: the least regularisation that the dtype resolves, which takes the place of any smaller
// one, to the bit.
TEST(Engine, HasAFloorUnderTheRegularisation) {
  for (const auto dtype : {at::kDouble, at::kFloat}) {
    for (const auto& problem : all_models({20, 20, 20})) {
      if (problem.rescaling != Rescaling::kDecorrelation &&
          problem.rescaling != Rescaling::kProjection) {
        continue;
      }
      for (const int batch : {1, 8, 64}) {
        const Draw d{.batch = batch, .steps = 5, .rate = 0.1, .dtype = dtype};
        auto setup = draw(problem, d);
        SCOPED_TRACE(describe(setup, d));
        const double least = dtype == at::kDouble ? kLeastRatio<double> : kLeastRatio<float>;
        setup.members.regularisation.fill_(least);
        const auto expected = setup.run();
        setup.members.regularisation.fill_(least / 1000);
        const auto found = setup.run();
        for (std::size_t l = 0; l < found.weights.size(); ++l) {
          EXPECT_TRUE(at::equal(found.weights[l], expected.weights[l])) << "layer " << l + 1;
        }
        if (batch > 20) continue;  // nothing to regularise
        EXPECT_TRUE(found.errors.isfinite().all().item<bool>());
        setup.members.regularisation.fill_(least * 1000);
        EXPECT_FALSE(at::equal(setup.run().weights[0], expected.weights[0]));
      }
    }
  }
}

// Oracle: the tensor path in float64. Rounding of float32, times the condition that a
// regularisation of 0.1 leaves, separates the updates.
TEST(Engine, OneStepInFloat32IsTheTensorPathsToItsRounding) {
  std::mt19937_64 random(11);
  for (int i = 0; i < 150; ++i) {
    auto [problem, d] = random_case(random);
    problem.residual = false;
    d.dtype = at::kFloat;
    // A single u.xhat may all but cancel, which no regularisation undoes.
    if (problem.widths.front() == 1 && problem.rescaling == Rescaling::kDecorrelation) continue;
    auto setup = draw(problem, d);
    SCOPED_TRACE(describe(setup, d));
    const auto found = setup.run();
    for (auto& weight : setup.members.weights) weight = weight.to(at::kDouble);
    TensorPath reference(setup);
    reference.step(0);
    for (std::size_t l = 0; l < found.weights.size(); ++l) {
      EXPECT_EQ(found.weights[l].scalar_type(), at::kFloat);
      const auto& before = setup.members.weights[l];
      EXPECT_LT(worst(found.weights[l] - before, reference.weight(l) - before), 2e-4)
          << "layer " << l + 1;
    }
  }
}

// Oracle: the tensor path, step by step. Rates at which learning contracts keep the two runs
// together for 500 steps.
TEST(Engine, FiveHundredStepsAreTheTensorPaths) {
  for (auto problem : all_models({6, 8, 7, 6})) {
    for (const bool residual : {false, true}) {
      if (residual && problem.rule == Rule::kBackpropagation) continue;
      if (residual) problem.widths = {6, 6, 6};
      if (problem.rescaling == Rescaling::kAlpha) problem.floor = 0.5;
      problem.residual = residual;
      const bool online = problem.rescaling == Rescaling::kRecursiveProjection ||
                          problem.rescaling == Rescaling::kAlpha;
      Draw d;
      d.members = 3;
      d.batch = online ? 1 : 20;
      d.steps = 500;
      d.rate = online ? 0.02 : 0.1;
      const auto setup = draw(problem, d);
      SCOPED_TRACE(describe(setup, d));
      TensorPath reference(setup);
      for (std::int64_t t = 0; t < d.steps; ++t) reference.step(t);
      const auto found = setup.run();
      for (std::size_t l = 0; l < found.weights.size(); ++l) {
        EXPECT_LT(worst(found.weights[l], reference.weight(l)), 1e-9) << "layer " << l + 1;
      }
      EXPECT_TRUE(found.left_at.eq(-1).all().item<bool>());
      EXPECT_TRUE(found.finished.all().item<bool>());
      EXPECT_LT(found.errors[500].max().item<double>(), found.errors[0].min().item<double>());
    }
  }
}

// Oracle: the tensor path. Inputs that leave a direction out let Q grow up to its bound, where it
// stops forgetting.
TEST(Engine, RecursiveProjectionStopsForgettingAsTheTensorPathDoes) {
  Problem problem{.widths = {5, 6, 4}};
  problem.rescaling = Rescaling::kRecursiveProjection;
  problem.forgetting = 0.5;
  for (const std::int64_t batch : {1, 3}) {
    Draw d;
    d.members = 3;
    d.batch = batch;
    d.steps = 60;
    d.rate = 0.2;
    auto setup = draw(problem, d);
    for (auto& b : setup.batches) {
      b.input.select(-1, 4).zero_();
      b.target = at::matmul(b.input, setup.maps.mT());
    }
    TensorPath reference(setup);
    for (std::int64_t t = 0; t < d.steps; ++t) reference.step(t);
    const auto found = setup.run();
    for (std::size_t l = 0; l < found.weights.size(); ++l) {
      EXPECT_LT(worst(found.weights[l], reference.weight(l)), 1e-8);
      EXPECT_LT(worst(found.memory[l], reference.memory(l)), 1e-8);
    }
  }
}

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  if (!a.defined()) return !b.defined();
  return at::equal(a.isnan(), b.isnan()) && at::equal(a.nan_to_num(), b.nan_to_num());
}

void expect_same_bits(const Result& a, const Result& b) {
  EXPECT_TRUE(same_bits(a.errors, b.errors));
  EXPECT_TRUE(same_bits(a.alignments, b.alignments));
  EXPECT_TRUE(at::equal(a.left_at, b.left_at));
  for (std::size_t l = 0; l < a.weights.size(); ++l) {
    EXPECT_TRUE(same_bits(a.weights[l], b.weights[l]));
  }
}

// The members of `index` alone.
Trial selected(const Trial& setup, const at::Tensor& index) {
  auto part = setup;
  for (auto& weight : part.members.weights) weight = weight.index_select(0, index);
  part.members.rates = part.members.rates.index_select(0, index);
  part.members.regularisation = part.members.regularisation.index_select(0, index);
  part.members.streams = part.members.streams.index_select(0, index);
  return part;
}

Result selected(const Result& result, const at::Tensor& index) {
  auto part = result;
  part.errors = part.errors.index_select(1, index);
  if (part.alignments.defined()) part.alignments = part.alignments.index_select(1, index);
  for (auto& weight : part.weights) weight = weight.index_select(0, index);
  part.left_at = part.left_at.index_select(0, index);
  return part;
}

// Models whose batches are thinner and thicker than layers, with an alignment to measure.
std::vector<Trial> invariance_setups() {
  std::vector<Trial> setups;
  for (auto problem : all_models({5, 7, 6})) {
    problem.alignment = setups.size() % 3 == 0;
    for (const std::int64_t batch : {2, 20}) {
      Draw d;
      d.members = 37;
      d.batch = batch;
      d.steps = 6;
      d.rate = 0.3;
      d.dtype = setups.size() % 4 == 3 ? at::kFloat : at::kDouble;
      setups.push_back(draw(problem, d));
    }
  }
  return setups;
}

// Invariant: nothing depends, to the last bit, on threads, on the block, or on how many steps of
// data are held at a time.
TEST(Engine, ResultsDependNeitherOnThreadsNorOnBlocks) {
  for (const auto& setup : invariance_setups()) {
    SCOPED_TRACE(describe(setup, {}));
    const auto expected = setup.run();
    for (const int threads : {1, 3}) {
      for (const std::int64_t block : {1, 2, 100}) {
        for (const std::int64_t bytes : {1, 1 << 29}) {
          RunOptions options;
          options.threads = threads;
          options.block = block;
          options.data_bytes = bytes;
          expect_same_bits(setup.run(options), expected);
        }
      }
    }
  }
}

// Invariant: a member's result does not depend, to the last bit, on its place or on who else is
// there.
TEST(Engine, AMemberDoesNotDependOnTheOthers) {
  for (const auto& setup : invariance_setups()) {
    SCOPED_TRACE(describe(setup, {}));
    const auto whole = setup.run();
    for (const auto& index : {at::arange(37, at::kLong).flip(0), at::arange(3, 37, 5, at::kLong),
                              at::tensor({7}, at::kLong)}) {
      expect_same_bits(selected(setup, index).run(), selected(whole, index));
    }
  }
}

// Oracle: metrics::diverged, and the curve's definition. Diverging members, and some that are not
// even finite at the start, leave; their neighbours do not notice.
TEST(Engine, DivergedMembersLeaveAndDisturbNobody) {
  for (const auto& problem : all_models({5, 7, 6})) {
    Draw d;
    d.members = 24;
    d.batch = 20;
    d.steps = 40;
    d.rate = 0.1;
    auto setup = draw(problem, d);
    SCOPED_TRACE(describe(setup, d));
    const auto calm = setup.run();
    const auto bad = at::arange(24, at::kLong).remainder(3).eq(1);
    setup.members.rates = at::where(bad, setup.members.rates * 1e4, setup.members.rates);
    setup.members.weights[0][4].fill_(std::numeric_limits<double>::quiet_NaN());
    setup.members.weights[1][13].fill_(std::numeric_limits<double>::infinity());
    const auto found = setup.run();
    const auto good = bad.logical_not().nonzero().squeeze(-1);
    expect_same_bits(selected(found, good), selected(calm, good));

    for (std::int64_t r = 0; r < d.members; ++r) {
      const auto row = found.errors.select(1, r).contiguous();
      const metrics::Curve curve(row.const_data_ptr<double>(),
                                 row.const_data_ptr<double>() + row.numel());
      const auto left = found.left_at[r].item<std::int64_t>();
      EXPECT_EQ(metrics::diverged(curve), left >= 0);
      EXPECT_EQ(left >= 0, bad[r].item<bool>()) << "member " << r;
      if (left < 0) continue;
      EXPECT_TRUE(row.slice(0, left + 1).isnan().all().item<bool>());
      const metrics::Curve before(curve.begin(), curve.begin() + left);
      EXPECT_TRUE(left == 0 || !metrics::diverged(before));
    }
    EXPECT_EQ(found.left_at[4].item<std::int64_t>(), 0);
    // The weights of a member that left are those it left with.
    auto shorter = setup;
    const auto left = found.left_at[7].item<std::int64_t>();
    shorter.batches.erase(shorter.batches.begin() + left + 1, shorter.batches.end());
    EXPECT_TRUE(same_bits(shorter.run().weights[0][7], found.weights[0][7]));
  }
}

// Oracle: the same run under the best instruction set. The others differ by rounding only.
TEST(Engine, InstructionSetsAgreeToRounding) {
  for (const auto& problem : all_models({6, 9, 7, 6})) {
    Draw d;
    d.batch = 12;
    d.steps = 20;
    d.rate = 0.1;
    const auto setup = draw(problem, d);
    SCOPED_TRACE(describe(setup, d));
    hwy::SetSupportedTargetsForTest(0);
    const auto expected = setup.run();
    for (const auto target : hwy::SupportedAndGeneratedTargets()) {
      SCOPED_TRACE(hwy::TargetName(target));
      hwy::SetSupportedTargetsForTest(0);
      hwy::SetSupportedTargetsForTest(target);
      const auto found = setup.run();
      hwy::SetSupportedTargetsForTest(0);
      for (std::size_t l = 0; l < found.weights.size(); ++l) {
        EXPECT_LT(worst(found.weights[l], expected.weights[l]), 1e-12);
      }
      EXPECT_LT(relative_difference(found.errors, expected.errors), 1e-11);
    }
  }
}

// Oracle: the definition. Without input every c_l is 0: two layers and three steps make six.
TEST(Engine, AlphaCountsZeroDenominators) {
  Problem problem{.widths = {4, 5, 3}};
  problem.rescaling = Rescaling::kAlpha;
  Draw d;
  d.steps = 3;
  d.batch = 1;
  auto setup = draw(problem, d);
  for (auto& batch : setup.batches) batch.input.zero_();
  problem.rule = Rule::kBackpropagation;
  setup.problem = problem;
  const auto found = setup.run();
  EXPECT_TRUE(found.zero_denominators.eq(6).all().item<bool>());
  for (std::size_t l = 0; l < 2; ++l) {
    EXPECT_TRUE(at::equal(found.weights[l], setup.members.weights[l]));
  }
}

// Oracle: data::compress: as many columns, and the second moments of the batch, for every stream.
TEST(Engine, CompressesAsDataDoes) {
  auto generator = make_generator(3, Purpose::kInputs);
  const auto normal = [&](std::vector<std::int64_t> shape) {
    return at::empty(shape, at::kDouble).normal_(0, 1, generator);
  };
  for (const std::int64_t rows : {1, 4, 5, 7, 8, 9, 64, 300}) {
    for (const std::int64_t followers : {0, 10, 11}) {
      // The targets of the first streams are a map of the inputs, those of the others are not.
      const auto x = normal({11, rows, 5});
      auto y = normal({11, rows, 3});
      y.slice(0, 0, followers)
          .copy_(at::matmul(x.slice(0, 0, followers), normal({followers, 5, 3})));
      const auto expected = data::compress({x, y});
      const auto found = compress({.input = x.const_data_ptr<double>(),
                                   .target = y.const_data_ptr<double>(),
                                   .streams = 11,
                                   .rows = rows,
                                   .inputs = 5,
                                   .outputs = 3});
      ASSERT_EQ(found.columns, expected.input.size(1)) << rows << " " << followers;
      const auto tensor = [&](const std::vector<double>& numbers, std::int64_t n) {
        return at::tensor(numbers, at::kDouble).view({11, n, found.columns});
      };
      const auto pairs = at::cat({tensor(found.input, 5), tensor(found.target, 3)}, 1);
      const auto samples = at::cat({x, y}, 2);
      EXPECT_LT(worst(at::matmul(pairs, pairs.mT()), at::matmul(samples.mT(), samples)), 1e-14);
    }
  }
}

// Contract: progress adds up, every member is told finished once, with its curve complete.
TEST(Engine, ProgressTellsWhoHasFinished) {
  Draw d;
  d.members = 21;
  d.steps = 4;
  const auto setup = draw({.widths = {4, 5, 3}}, d);
  std::multiset<std::int64_t> finished;
  std::int64_t done = 0;
  RunOptions options;
  options.threads = 2;
  options.block = 1;
  options.on_progress = [&](const Progress& progress, const Result& result) {
    EXPECT_EQ(progress.total, 84);
    EXPECT_GT(progress.done, done);
    done = progress.done;
    for (const auto r : progress.finished) {
      finished.insert(r);
      EXPECT_TRUE(result.errors.select(1, r).isfinite().all().item<bool>());
    }
    return true;
  };
  setup.run(options);
  EXPECT_EQ(done, 84);
  std::multiset<std::int64_t> everyone;
  for (std::int64_t r = 0; r < 21; ++r) everyone.insert(r);
  EXPECT_EQ(finished, everyone);
}

// Contract: a run that is stopped keeps what has finished and says what has not.
TEST(Engine, StopsWhenToldTo) {
  Draw d;
  d.members = 200;
  d.steps = 3;
  const auto setup = draw({.widths = {4, 5, 3}}, d);
  const auto whole = setup.run();
  RunOptions options;
  options.threads = 1;
  options.block = 1;
  options.on_progress = [](const Progress&, const Result&) { return false; };
  const auto part = setup.run(options);
  const auto count = part.finished.sum().item<std::int64_t>();
  EXPECT_GT(count, 0);
  EXPECT_LT(count, 200);
  EXPECT_TRUE(same_bits(part.errors.index_select(1, part.finished.nonzero().squeeze(-1)),
                        whole.errors.index_select(1, part.finished.nonzero().squeeze(-1))));
  const auto rest = part.finished.logical_not().nonzero().squeeze(-1);
  EXPECT_TRUE(part.errors.index_select(1, rest).isnan().all().item<bool>());

  options.on_progress = [](const Progress&, const Result&) -> bool {
    throw UserError("the disk is full");
  };
  EXPECT_THROW(setup.run(options), UserError);
}

// Oracle: the definition. No steps leave weights and the first errors.
TEST(Engine, NoStepsMeasureOnly) {
  Draw d;
  d.steps = 0;
  for (const bool residual : {false, true}) {
    Problem problem{.widths = {4, 4, 4}};
    problem.residual = residual;
    const auto setup = draw(problem, d);
    const auto found = setup.run();
    EXPECT_EQ(found.errors.size(0), 1);
    EXPECT_LT(relative_difference(found.errors[0], TensorPath(setup).map_error()), 1e-14);
    EXPECT_LT(relative_difference(found.weights[1], setup.members.weights[1]), 1e-15);
  }
}

// Contract: what stays on the tensor path is refused in a sentence, a caller's mistakes are errors.
TEST(Engine, RefusesWhatItDoesNotDo) {
  Problem problem{.widths = {4, 5, 3}};
  problem.rescaling = Rescaling::kDecorrelation;
  auto setup = draw(problem, {});
  EXPECT_FALSE(unsupported(setup.problem, setup.members));
  setup.problem.spectrum = "lower";
  EXPECT_NE(unsupported(setup.problem, setup.members)->find("'lower'"), std::string::npos);
  EXPECT_THROW(setup.run(), UserError);
  setup.problem.spectrum = "symmetric";
  setup.members.regularisation[3] = 0;
  EXPECT_NE(unsupported(setup.problem, setup.members)->find("pseudo-inverse"), std::string::npos);
  EXPECT_THROW(setup.run(), UserError);
  setup.problem.rescaling = Rescaling::kNone;
  EXPECT_FALSE(unsupported(setup.problem, setup.members));
  setup.members.weights[1] = setup.members.weights[1].to(at::kFloat);
  EXPECT_THROW(setup.run(), UserError);

  const auto good = draw({.widths = {4, 5, 3}}, {});
  const auto expect_refused = [&](const auto& spoil) {
    auto bad = good;
    spoil(bad);
    EXPECT_THROW(bad.run(), c10::Error);
  };
  expect_refused([](Trial& s) { s.problem.widths = {4, 5, 5, 3}; });
  expect_refused([](Trial& s) { s.problem.widths = {4}; });
  expect_refused([](Trial& s) { s.problem.residual = true; });
  expect_refused([](Trial& s) { s.problem.forgetting = 1.5; });
  expect_refused([](Trial& s) { s.problem.delta = 0; });
  expect_refused([](Trial& s) { s.members.weights[0] = at::zeros({11, 5, 3}, at::kDouble); });
  expect_refused([](Trial& s) { s.members.streams = at::full({11}, 3, at::kLong); });
  expect_refused([](Trial& s) { s.members.streams = at::full({11}, -1, at::kLong); });
  expect_refused([](Trial& s) { s.members.streams = at::zeros({4}, at::kLong); });
  expect_refused([](Trial& s) { s.maps = at::zeros({3, 4, 4}, at::kDouble); });
  expect_refused([](Trial& s) { s.batches[0].target = at::zeros({3, 30, 4}, at::kDouble); });
  expect_refused([](Trial& s) {
    s.problem.rescaling = Rescaling::kProjection;
    s.members.regularisation = at::Tensor();
  });
}

// The paper's regression task: norm-preserving weights, one linear teacher a seed, ten seeds.
Trial regression(Problem problem, std::int64_t hidden, std::int64_t batch, std::int64_t steps,
                 const std::vector<double>& rates, double regularisation) {
  constexpr std::int64_t kWidth = 20;
  constexpr std::int64_t kSeeds = 10;
  problem.widths.assign(static_cast<std::size_t>(hidden + 2), kWidth);
  const auto count = static_cast<std::int64_t>(rates.size());
  Trial trial{.problem = problem, .members = {}, .maps = {}, .batches = {}};
  auto generator = make_generator(0, Purpose::kWeights);
  for (std::int64_t l = 0; l <= hidden; ++l) {
    const auto seeds = at::empty({kSeeds, kWidth, kWidth}, at::kDouble)
                           .normal_(0, 1 / std::sqrt(double{kWidth}), generator);
    trial.members.weights.push_back(seeds.repeat({count, 1, 1}));
  }
  trial.members.rates = at::tensor(rates, at::kDouble).repeat_interleave(kSeeds);
  trial.members.regularisation = at::full({count * kSeeds}, regularisation, at::kDouble);
  trial.members.streams = at::arange(kSeeds, at::kLong).repeat({count});
  auto teachers = data::linear_teachers(data::LinearTeacherOptions(kWidth, kWidth), 0, kSeeds);
  trial.maps = data::stack_maps(teachers);
  for (std::int64_t t = 0; t <= steps; ++t) {
    trial.batches.push_back(data::next_batch(teachers, batch));
  }
  return trial;
}

// Oracle: independent programs, in float64: with decorrelation, predictive coding through eight
// hidden layers reaches a map error below 1e-20 by step 300 from 10 of 10 seeds, at rates 0.5 and
// 0.7.
TEST(Engine, DecorrelationReachesTheFloorInDeepNetworks) {
  Problem problem;
  problem.rescaling = Rescaling::kDecorrelation;
  const auto found = regression(problem, 8, 64, 300, {0.5, 0.7}, 1e-4).run();
  EXPECT_LT(found.errors[300].max().item<double>(), 1e-20);
}

// Oracle: independent programs: mean map error over ten seeds after 500 samples, one at a time,
// with rate 1: 1.1e-22 through one hidden layer, 3.4e-16 through eight, to a factor that seeds
// explain.
TEST(Engine, RecursiveProjectionLearnsOnlineToTheKnownErrors) {
  Problem problem;
  problem.rescaling = Rescaling::kRecursiveProjection;
  const auto shallow = regression(problem, 1, 1, 500, {1}, 0).run();
  EXPECT_LT(shallow.errors[500].mean().item<double>(), 1e-20);
  problem.delta = 100;
  const auto deep = regression(problem, 8, 1, 500, {1}, 0).run();
  EXPECT_LT(deep.errors[500].mean().item<double>(), 1e-13);
}

}  // namespace
}  // namespace pcxx::ensemble
