// Time per member and training step of an ensemble of small linear networks: lane engine, one
// LibTorch ensemble, and member by member. ENSEMBLES.md has the table and the commands.

#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>
#include <hwy/targets.h>
#include <pcxx/core/random.h>
#include <pcxx/data/linear_teacher.h>
#include <pcxx/ensemble/ensemble.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/learning/predictive_coding.h>
#include <pcxx/linalg/products.h>
#include <pcxx/metrics/map_error.h>
#include <pcxx/nn/init.h>
#include <pcxx/optim/decorrelation.h>
#include <pcxx/optim/optimizers.h>
#include <pcxx/optim/projection.h>
#include <pcxx/optim/recursive_projection.h>
#include <pcxx/optim/rescaled.h>
#include <torch/optim/sgd.h>

#include <filesystem>
#include <fstream>
#include <functional>

namespace {

using namespace pcxx;
using ensemble::Rescaling;
using ensemble::Rule;

constexpr std::int64_t kSeeds = 10;
constexpr double kRegularisation = 1e-4;

struct Model {
  Rule rule;
  Rescaling rescaling;
  std::int64_t hidden;
  std::int64_t width = 20;

  std::int64_t batch() const { return rescaling == Rescaling::kRecursiveProjection ? 1 : 64; }
  std::string rescaling_name() const {
    switch (rescaling) {
      case Rescaling::kDecorrelation:
        return "decorrelation";
      case Rescaling::kProjection:
        return "projection";
      case Rescaling::kRecursiveProjection:
        return "recursive_projection";
      default:
        return "none";
    }
  }
  std::string name() const {
    return fmt::format("{} {}, {} hidden", rule == Rule::kPredictiveCoding ? "pc" : "bp",
                       rescaling_name(), hidden);
  }
  nn::NetworkOptions network() const {
    return nn::mlp(std::vector<std::int64_t>(static_cast<std::size_t>(hidden) + 2, width));
  }
  std::unique_ptr<learning::LearningRule> learning_rule() const {
    if (rule == Rule::kBackpropagation) return std::make_unique<learning::Backpropagation>();
    return std::make_unique<learning::PredictiveCoding>();
  }
  std::unique_ptr<optim::Rescaling> tensor_rescaling() const {
    const std::string name = rescaling_name();
    if (name == "projection") {
      return std::make_unique<optim::Projection>(
          optim::ProjectionOptions{.regularisation = kRegularisation});
    }
    if (name == "decorrelation") {
      return std::make_unique<optim::Decorrelation>(
          optim::DecorrelationOptions{.regularisation = kRegularisation});
    }
    if (name == "recursive_projection") return std::make_unique<optim::RecursiveProjection>();
    return std::make_unique<optim::Plain>();
  }
};

nn::Network draw_network(const nn::NetworkOptions& options, at::ScalarType dtype) {
  nn::Network network(options);
  network->to(dtype);
  nn::init::norm_preserving_(*network, make_generator(0, Purpose::kWeights));
  return network;
}

// The batches of `steps` steps, drawn beforehand: what is timed is training.
struct Data {
  at::Tensor maps;
  std::vector<data::Batch> batches;
};

Data draw_data(const Model& model, std::int64_t steps) {
  auto teachers =
      data::linear_teachers(data::LinearTeacherOptions(model.width, model.width), 0, kSeeds);
  Data result{.maps = data::stack_maps(teachers), .batches = {}};
  for (std::int64_t t = 0; t < steps; ++t) {
    result.batches.push_back(data::compress(data::next_batch(teachers, model.batch())));
  }
  return result;
}

void per_member_and_step(benchmark::State& state, std::int64_t members, std::int64_t steps) {
  const auto done = static_cast<double>(members * steps);
  state.counters["us"] = benchmark::Counter(
      done * 1e-6, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

void lanes(benchmark::State& state, const Model& model, std::int64_t members, int threads,
           at::ScalarType dtype) {
  const std::int64_t steps = members > 1000 ? 20 : 100;
  const auto data = draw_data(model, steps);
  const auto network = draw_network(model.network().ensemble(members), dtype);
  ensemble::Problem problem{
      .widths = std::vector<std::int64_t>(static_cast<std::size_t>(model.hidden) + 2, model.width)};
  problem.rule = model.rule;
  problem.rescaling = model.rescaling;
  // Rate 0: the step costs the same, and the networks stay those that are measured.
  ensemble::Members ensemble{.weights = {},
                             .rates = at::zeros({members}, at::kDouble),
                             .regularisation = at::full({members}, kRegularisation, at::kDouble),
                             .streams = at::arange(members, at::kLong).remainder(kSeeds)};
  for (std::size_t l = 1; l <= network->size(); ++l) {
    ensemble.weights.push_back(network->dense(l).weight.detach());
  }
  const ensemble::Streams streams{.maps = data.maps, .batch = [&](std::int64_t t) {
                                    return data.batches[static_cast<std::size_t>(t)];
                                  }};
  ensemble::RunOptions options;
  options.threads = threads;
  for (auto _ : state) {
    benchmark::DoNotOptimize(ensemble::run(problem, ensemble, streams, steps, options));
  }
  per_member_and_step(state, members, steps);
}

// One ensemble of `members` tensors, with the map error of every step as the engine has it.
void tensors(benchmark::State& state, const Model& model, std::optional<std::int64_t> members,
             int threads) {
  const std::int64_t steps = 4;
  at::set_num_threads(threads);
  const auto data = draw_data(model, steps);
  const auto options = members ? model.network().ensemble(*members) : model.network();
  const auto network = draw_network(options, at::kDouble);
  const auto rule = model.learning_rule();
  std::unique_ptr<torch::optim::Optimizer> sgd =
      std::make_unique<torch::optim::SGD>(network->parameters(), torch::optim::SGDOptions(0.0));
  optim::Rescaled optimizer(std::move(sgd), model.tensor_rescaling());
  const auto index = at::arange(members.value_or(1), at::kLong).remainder(kSeeds);
  const auto expand = [&](const at::Tensor& t) {
    return members ? t.index_select(0, index) : t.select(0, 0);
  };
  const auto map = expand(data.maps);
  std::vector<data::Batch> batches;
  for (const auto& batch : data.batches) {
    batches.emplace_back(expand(batch.input), expand(batch.target), batch.samples);
  }
  for (auto _ : state) {
    for (const auto& batch : batches) {
      benchmark::DoNotOptimize(metrics::map_error(*network, map));
      optimizer.step(rule->factors(*network, batch).layers);
    }
  }
  per_member_and_step(state, members.value_or(1), steps);
  at::set_num_threads(1);
}

// ---- The task of peers/ensembles.py -------------------------------------------------------------

void write_numbers(const std::filesystem::path& path, const at::Tensor& values) {
  const auto plain = values.to(at::kDouble).contiguous();
  std::ofstream file(path, std::ios::binary);
  file.write(static_cast<const char*>(plain.const_data_ptr()),
             static_cast<std::streamsize>(plain.nbytes()));
}

// Teachers, inputs, first weights and learning rates as raw float64, and the error of every member
// at every step as the engine finds it: members are seed after seed, each at all rates.
void export_task(const std::filesystem::path& folder, std::int64_t rates, std::int64_t steps) {
  std::filesystem::create_directories(folder);
  const auto rate = at::logspace(-4, -2.5, rates, 10, at::kDouble);
  write_numbers(folder / "rates", rate);
  for (const std::int64_t hidden : {1, 8}) {
    const Model shape{Rule::kBackpropagation, Rescaling::kNone, hidden};
    auto teachers =
        data::linear_teachers(data::LinearTeacherOptions(shape.width, shape.width), 0, kSeeds);
    const auto maps = data::stack_maps(teachers);
    std::vector<data::Batch> batches;
    std::vector<at::Tensor> inputs;
    for (std::int64_t t = 0; t < steps; ++t) {
      batches.push_back(data::next_batch(teachers, shape.batch()));
      inputs.push_back(batches.back().input);
    }
    const auto network = draw_network(shape.network(), at::kDouble);
    std::vector<at::Tensor> weights;
    ensemble::Members members{
        .weights = {},
        .rates = rate.repeat({kSeeds}),
        .regularisation = at::full({kSeeds * rates}, kRegularisation, at::kDouble),
        .streams = at::arange(kSeeds).repeat_interleave(rates)};
    for (std::size_t l = 1; l <= network->size(); ++l) {
      weights.push_back(network->dense(l).weight.detach());
      members.weights.push_back(weights.back().unsqueeze(0).repeat({kSeeds * rates, 1, 1}));
    }
    write_numbers(folder / fmt::format("maps-{}", hidden), maps);
    write_numbers(folder / fmt::format("inputs-{}", hidden), at::stack(inputs));
    write_numbers(folder / fmt::format("weights-{}", hidden), at::stack(weights));
    const ensemble::Streams streams{.maps = maps, .batch = [&](std::int64_t t) {
                                      return batches[static_cast<std::size_t>(t)];
                                    }};
    for (const auto rule : {Rule::kBackpropagation, Rule::kPredictiveCoding}) {
      for (const auto rescaling : {Rescaling::kNone, Rescaling::kDecorrelation}) {
        ensemble::Problem problem{
            .widths = std::vector<std::int64_t>(static_cast<std::size_t>(hidden) + 2, shape.width)};
        problem.rule = rule;
        problem.rescaling = rescaling;
        const auto result = ensemble::run(problem, members, streams, steps);
        const Model model{rule, rescaling, hidden};
        write_numbers(folder / ("errors-" + model.name()), result.errors);
      }
    }
  }
}

// What one core can do: a product of 512 x 512 matrices.
void peak(benchmark::State& state, at::ScalarType dtype, bool ours) {
  at::set_num_threads(1);
  const auto a = at::randn({512, 512}, dtype);
  const auto b = at::randn({512, 512}, dtype);
  auto c = at::empty({512, 512}, dtype);
  for (auto _ : state) {
    if (ours) {
      linalg::product_out(c, a, b);
    } else {
      at::mm_out(c, a, b);
    }
  }
  state.counters["GFLOP/s"] =
      benchmark::Counter(2e-9 * 512 * 512 * 512, benchmark::Counter::kIsIterationInvariantRate);
}

// On one core by the time of all threads of the process, which other programs do not disturb; on
// several by the clock.
void add(const std::string& name, const std::function<void(benchmark::State&)>& body,
         int threads = 1) {
  auto* added = benchmark::RegisterBenchmark(name.c_str(), body)->Unit(benchmark::kMillisecond);
  if (threads == 1) {
    added->MeasureProcessCPUTime();
  } else {
    added->UseRealTime();
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 5 && std::string(argv[1]) == "--export") {
    export_task(argv[2], std::stoll(argv[3]), std::stoll(argv[4]));
    return 0;
  }
  benchmark::Initialize(&argc, argv);
  at::set_num_threads(1);
  for (const bool ours : {true, false}) {
    const auto* whose = ours ? "pcxx" : "LibTorch";
    add(fmt::format("peak/float64, {}", whose),
        [=](auto& state) { peak(state, at::kDouble, ours); });
    add(fmt::format("peak/float32, {}", whose),
        [=](auto& state) { peak(state, at::kFloat, ours); });
  }
  for (const auto rescaling : {Rescaling::kNone, Rescaling::kDecorrelation, Rescaling::kProjection,
                               Rescaling::kRecursiveProjection}) {
    for (const auto rule : {Rule::kBackpropagation, Rule::kPredictiveCoding}) {
      for (const std::int64_t hidden : {1, 8}) {
        const Model model{rule, rescaling, hidden};
        for (const int threads : {1, 2}) {
          add(
              fmt::format("{}/lanes, {} threads", model.name(), threads),
              [=](auto& state) { lanes(state, model, 1000, threads, at::kDouble); }, threads);
        }
        add(model.name() + "/lanes, float32",
            [=](auto& state) { lanes(state, model, 1000, 1, at::kFloat); });
        add(model.name() + "/tensors, ensemble of 1000",
            [=](auto& state) { tensors(state, model, 1000, 1); });
        add(model.name() + "/tensors, member by member",
            [=](auto& state) { tensors(state, model, std::nullopt, 1); });
      }
    }
  }
  const Model model{Rule::kPredictiveCoding, Rescaling::kNone, 1};
  for (const std::int64_t members : {8, 100, 1000, 10000}) {
    add(fmt::format("{}/lanes, {} members", model.name(), members),
        [=](auto& state) { lanes(state, model, members, 1, at::kDouble); });
  }
  for (const std::int64_t width : {15, 20, 40, 64, 128, 256}) {
    const Model wide{Rule::kPredictiveCoding, Rescaling::kNone, 1, width};
    const std::int64_t members = width > 64 ? 32 : 256;
    add(fmt::format("pc none, 1 hidden, width {}/lanes, {} members", width, members),
        [=](auto& state) { lanes(state, wide, members, 1, at::kDouble); });
    add(fmt::format("pc none, 1 hidden, width {}/tensors, ensemble of {}", width, members),
        [=](auto& state) { tensors(state, wide, members, 1); });
  }
  for (const auto target : hwy::SupportedAndGeneratedTargets()) {
    for (const std::int64_t hidden : {1, 8}) {
      const Model deep{Rule::kPredictiveCoding, Rescaling::kNone, hidden};
      add(fmt::format("{}/lanes, {}", deep.name(), hwy::TargetName(target)), [=](auto& state) {
        hwy::SetSupportedTargetsForTest(0);
        hwy::SetSupportedTargetsForTest(target);
        lanes(state, deep, 1000, 1, at::kDouble);
        hwy::SetSupportedTargetsForTest(0);
      });
    }
  }
  benchmark::RunSpecifiedBenchmarks();
}
