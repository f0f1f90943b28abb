#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <pcxx/catalog/experiment.h>
#include <pcxx/catalog/model.h>
#include <pcxx/catalog/vocabulary.h>
#include <pcxx/learning/incremental.h>
#include <pcxx/learning/kalman.h>
#include <pcxx/learning/predictive_coding.h>
#include <pcxx/metrics/map_error.h>
#include <pcxx/metrics/reconstruction.h>
#include <pcxx/metrics/sample_efficiency.h>
#include <pcxx/metrics/target_alignment.h>
#include <pcxx/optim/rescaled.h>
#include <pcxx/run/records.h>
#include <pcxx/train/sweep.h>
#include <torch/optim/sgd.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <set>
#include <thread>

#include "support/user_error.h"

namespace pcxx::train {
namespace {

config::Config config(const std::vector<std::string>& assignments, const std::string& toml = "") {
  const auto schema =
      catalog::schema({"rule", "rescaling", catalog::kNetwork, "collapsed", "batch_size",
                       "learning_rate", "steps", "dtype", "seeds", "optimizer", "schedule",
                       "engine", catalog::kTeacher, catalog::kInference, catalog::kOptions});
  std::vector<std::string> all{"width=6", "batch_size=16", "init=norm_preserving",
                               "seeds=3", "steps=12",      "regularisation=1e-3"};
  all.insert(all.end(), assignments.begin(), assignments.end());
  return config::Config::parse(schema, toml, "", all);
}

std::vector<config::Config> all_models(const config::Config& config) {
  std::vector<config::Config> models;
  for (const auto& cell : config.cells()) {
    for (auto& model : cell.models()) models.push_back(std::move(model));
  }
  return models;
}

using MaybeParts = std::vector<std::optional<run::Part>>;

MaybeParts run_all(const SweepPlan& plan) {
  const auto work = plan.work("");
  MaybeParts parts(work.jobs.size());
  for (std::size_t job = 0; job < parts.size(); ++job) parts[job] = work.run(job, [](auto) {});
  return parts;
}

const std::vector<std::string> kMeasure{"target_alignment", "excess_map_error",
                                        "map_error_squared_frobenius"};

// Two rates that learn and one that diverges.
const std::string kRates = "learning_rate=[0.02,0.05,1e5]";

// Largest |a - b| / max(|b|, floor) where b is finite; infinite when they are finite elsewhere.
double difference(const at::Tensor& a, const at::Tensor& b, double floor) {
  if (!a.isfinite().equal(b.isfinite())) return std::numeric_limits<double>::infinity();
  const auto finite = b.isfinite();
  const auto x = a.masked_select(finite);
  const auto y = b.masked_select(finite);
  return x.numel() == 0 ? 0 : ((x - y).abs() / y.abs().clamp_min(floor)).max().item<double>();
}

// Oracle: the tensor engine. Errors, alignments and the step at which a run diverges agree for
// every rule, rescaling, architecture, target and batch.
TEST(Engines, MeasureTheSame) {
  const std::vector<std::vector<std::string>> tasks{
      {"batch_size=16"},
      {"batch_size=1", "hidden_layers=2"},
      {"batch_size=4", "architecture=residual", "hidden_layers=2"},
      {"inputs=3", "outputs=9", "hidden_layers=2", "noise=[0,0.3]"},
      {"targets=independent"},
      {"rank=[0,2]", "noise=0.1"},
      {"collapsed=true", "architecture=residual", "hidden_layers=2"},
      {"condition_number=[0,5]", "regularisation=[1e-3,1e-1]"},
      {"alpha_floor=0.5", "alpha_denominator=presynaptic", "as_printed=true"},
      {"dtype=float32"}};
  for (const auto& task : tasks) {
    SCOPED_TRACE(task.front());
    std::vector<std::string> assignments{
        "rule=[bp,pc]", "rescaling=[none,alpha,decorrelation,projection,recursive_projection]",
        kRates};
    assignments.insert(assignments.end(), task.begin(), task.end());
    auto with = [&](const std::string& engine) {
      auto all = assignments;
      all.push_back("engine=" + engine);
      const SweepPlan plan(all_models(config(all)), kMeasure, at::kCPU);
      return plan.collect(run_all(plan));
    };
    const bool single = task.front() == "dtype=float32";
    const auto lanes = with("lanes");
    const auto tensors = with("tensor");
    ASSERT_EQ(lanes.size(), tensors.size());
    for (std::size_t m = 0; m < lanes.size(); ++m) {
      SCOPED_TRACE(m);
      EXPECT_TRUE(lanes[m].left_at.equal(tensors[m].left_at)) << lanes[m].left_at;
      ASSERT_EQ(lanes[m].curves.size(), tensors[m].curves.size());
      for (const auto& [name, curve] : tensors[m].curves) {
        const bool wild = name != "target_alignment";
        // The diverging rate multiplies rounding by its own size.
        const auto calm = [&](const at::Tensor& values) { return values.slice(1, 0, 2); };
        EXPECT_LT(difference(calm(lanes[m].curves.at(name)), calm(curve), 1e-3),
                  single ? 2e-3 : 1e-9)
            << name;
        if (wild) {
          EXPECT_TRUE(lanes[m].curves.at(name).isnan().equal(curve.isnan())) << name;
        }
      }
    }
  }
}

// Invariant: however the jobs are ordered and shared out, to the last bit.
TEST(SweepPlan, ItsResultsDependOnNothingButTheModels) {
  const auto models =
      all_models(config({"rule=[bp,pc]", "rescaling=[none,projection]", "architecture=[dln,relu]",
                         "learning_rate={from=0.01,to=0.3,points=40}", "condition_number=[0,3]"}));
  const SweepPlan plan(models, {"target_alignment"}, at::kCPU);
  const auto expected = plan.collect(run_all(plan));
  const SweepPlan again(models, {"target_alignment"}, at::kCPU);
  const auto work = again.work("");
  ASSERT_GT(work.jobs.size(), 10U);
  std::vector<std::size_t> order(work.jobs.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::shuffle(order.begin(), order.end(), std::mt19937(1));
  MaybeParts parts(order.size());
  std::vector<std::thread> workers;
  for (std::size_t worker = 0; worker < 3; ++worker) {
    workers.emplace_back([&, worker] {
      for (auto i = worker; i < order.size(); i += 3) {
        parts[order[i]] = work.run(order[i], [](auto) {});
      }
    });
  }
  for (auto& worker : workers) worker.join();
  const auto found = plan.collect(parts);
  for (std::size_t m = 0; m < models.size(); ++m) {
    for (const auto& [name, curve] : expected[m].curves) {
      EXPECT_TRUE(at::allclose(found[m].curves.at(name), curve, 0, 0, true)) << name;
    }
  }
}

// Invariant: in lanes a run is the same to the last bit whatever trains beside it.
TEST(SweepPlan, AModelAmongOthersIsTheModelAlone) {
  const auto models = all_models(
      config({"rule=pc", "rescaling=decorrelation", "engine=lanes",
              "learning_rate=[0.02,0.1,0.3,0.5]", "noise=[0,0.1]", "condition_number=[0,4]",
              "init=[kaiming,orthogonal]", "regularisation=[1e-4,1e-2]"}));
  ASSERT_EQ(models.size(), 16U);
  const SweepPlan plan(models, {}, at::kCPU);
  EXPECT_LT(plan.work("").jobs.size(), 4U) << "they train side by side";
  const auto together = plan.collect(run_all(plan));
  for (std::size_t m = 0; m < models.size(); ++m) {
    const auto alone = run_sweep(models[m], {}, at::kCPU);
    const auto& a = together[m].curves.at("map_error");
    const auto& b = alone.curves.at("map_error");
    const bool noisy = models[m].real("noise") > 0;
    // Noise-free batches compress further when no noisy one is beside them.
    EXPECT_LT(difference(a, b, 1e-6), 1e-9);
    EXPECT_TRUE(!noisy || a.equal(b));
  }
}

// Oracle: metrics::diverged. A diverged run has its last error at the step at which it left.
TEST(SweepPlan, RecordsWhereARunDiverged) {
  for (const std::string engine : {"lanes", "tensor"}) {
    for (const std::string rule : {"bp", "pc"}) {
      const auto sweep = run_sweep(
          config({"rule=" + rule, "learning_rate=[0.05,3,1e5,1e200]", "engine=" + engine}),
          {"target_alignment"}, at::kCPU);
      const auto& errors = sweep.curves.at("map_error");
      for (std::int64_t k = 0; k < 4; ++k) {
        for (std::int64_t s = 0; s < 3; ++s) {
          const auto curve = errors.select(1, k).select(1, s).contiguous();
          const auto* values = curve.const_data_ptr<double>();
          const auto left = sweep.left_at[k][s].item<std::int64_t>();
          EXPECT_EQ(metrics::diverged({values, values + curve.numel()}), left >= 0);
          if (k != 1) {
            EXPECT_EQ(left >= 0, k >= 2);
          }
          if (left < 0) continue;
          EXPECT_FALSE(metrics::diverged({values, values + left}));
          EXPECT_TRUE(curve.slice(0, left + 1).isnan().all().item<bool>());
          const auto alignment = sweep.curves.at("target_alignment").select(1, k).select(1, s);
          EXPECT_TRUE(alignment.slice(0, left).isnan().all().item<bool>());
          EXPECT_TRUE(std::isfinite(alignment[0].item<double>()));
        }
      }
    }
  }
}

// Oracle: the jobs' own members. What is missing takes away its seeds, of all models.
TEST(SweepPlan, CollectsTheSeedsThatAreFinished) {
  const SweepPlan plan(all_models(config({"rule=[bp,pc]", "seeds=[4,9,2]", "optimizer=adam",
                                          "learning_rate=[0.01,0.1]"})),
                       {}, at::kCPU);
  auto parts = run_all(plan);
  const auto work = plan.work("");
  const auto whole = plan.collect(parts);
  EXPECT_EQ(whole[0].seeds, (std::vector<std::int64_t>{4, 9, 2}));
  for (std::size_t job = 0; job < parts.size(); ++job) {
    auto some = parts;
    some[job].reset();
    const auto found = plan.collect(some);
    EXPECT_TRUE(found[0].seeds.empty()) << "a job of this sweep has all seeds of a rate";
    EXPECT_EQ(found[1].curves.at("map_error").size(2), 0);
  }
}

TEST(SweepPlan, SeedsComeOneAfterTheOther) {
  const SweepPlan plan(
      all_models(config({"rule=[bp,pc]", "seeds=[4,9,2]", "steps=500", "width=20",
                         "learning_rate={from=0.001,to=0.002,points=300}", "hidden_layers=8"})),
      {}, at::kCPU);
  const auto jobs = plan.work("").jobs;
  EXPECT_GT(jobs.size(), 6U);
  std::int64_t steps = 0;
  std::set<std::string> names;
  for (const auto& job : jobs) {
    steps += job.steps;
    names.insert(job.name);
  }
  EXPECT_EQ(steps, 2 * 3 * 300 * 500);
  EXPECT_EQ(names.size(), jobs.size()) << "names tell jobs apart";
  EXPECT_TRUE(jobs.front().name.starts_with("bp, seed 4, learning_rate 0.001 to"))
      << jobs.front().name;
  EXPECT_NE(jobs.back().name.find("seed 2"), std::string::npos) << jobs.back().name;
}

TEST(Engine, IsChosenAndNamed) {
  const auto engine = [](const std::vector<std::string>& assignments) {
    const SweepPlan plan(all_models(config(assignments)), {}, at::kCPU);
    return plan.engines().front();
  };
  EXPECT_EQ(engine({}), "engine: lanes, one SIMD lane a network");
  EXPECT_EQ(engine({"engine=tensor"}), "engine: tensor (engine = 'tensor')");
  EXPECT_EQ(engine({"architecture=relu"}), "engine: tensor (layer 1 is not linear)");
  EXPECT_EQ(engine({"optimizer=adam"}), "engine: tensor (the optimizer is adam)");
  EXPECT_EQ(engine({"momentum=0.9"}),
            "engine: tensor (the optimizer is sgd with momentum or weight decay)");
  EXPECT_EQ(engine({"schedule=linear"}), "engine: tensor (the learning rate follows a schedule)");
  EXPECT_EQ(engine({"width=60", "learning_rate=1", "seeds=2"}),
            "engine: tensor (there are only a few networks)");
  EXPECT_EQ(engine({"width=2000"}), "engine: tensor (the networks are large)");

  const SweepPlan both(
      all_models(config({"rule=pc", "rescaling=[none,projection]", "regularisation=0"})), {},
      at::kCPU);
  const auto lines = both.engines();
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_TRUE(lines[0].ends_with(", for pc")) << lines[0];
  EXPECT_NE(lines[1].find("pseudo-inverse"), std::string::npos) << lines[1];
  EXPECT_TRUE(lines[1].ends_with("), for pc + projection")) << lines[1];
}

// Contract: the lane engine runs on the CPU only, and any other device trains all members of a
// model at once.
TEST(Engine, OtherDevicesTrainAllMembersByTensors) {
  const auto models = all_models(config({"rule=bp", "engine=auto", "seeds=300"}));
  for (const auto device : {at::kCUDA, at::kXPU, at::kMeta}) {
    const SweepPlan plan(models, {}, at::Device(device));
    EXPECT_EQ(plan.engines().front(), "engine: tensor (the lane engine runs on the CPU only)");
    EXPECT_EQ(plan.work("").jobs.size(), 1U);
  }
  EXPECT_GT(SweepPlan(models, {}, at::kCPU).work("").jobs.size(), 1U);
}

TEST(Engine, LanesAreRefusedWithTheReason) {
  const auto refuses = [](std::vector<std::string> assignments, const std::string& part) {
    assignments.insert(assignments.end(), {"engine=lanes", "rule=pc"});
    test::expect_user_error([&] { SweepPlan(all_models(config(assignments)), {}, at::kCPU); },
                            part);
  };
  refuses({"architecture=relu"}, "engine = 'lanes' cannot train pc: layer 1 is not linear");
  refuses({"bias=true"}, "there are biases");
  refuses({"targets=relu_teacher"}, "the teacher is not linear");
  refuses({"optimizer=rmsprop"}, "the optimizer is rmsprop");
  refuses({"inference=state_descent", "inference_step_size=0.05"}, "inference is by state_descent");
  refuses({"rescaling=projection", "regularisation=0"}, "pseudo-inverse");
  refuses({"rescaling=decorrelation", "spectrum=singular"}, "singular");
  refuses({"nudging=0.5"}, "engine = 'lanes' cannot train pc: outputs are nudged");
  refuses({"centred=true"}, "nudging is centred");
  test::expect_user_error([] { SweepPlan({config({"engine=lanes", "rule=ipc"})}, {}, at::kCPU); },
                          "ipc moves activities and weights together");
  test::expect_user_error(
      [] { SweepPlan({config({"engine=lanes", "rule=pc"})}, {"held_out_alignment"}, at::kCPU); },
      "held_out_alignment is measured");
}

// Oracle: the first update by hand, and its alignment with the errors of the first 64 of the
// teacher's held-out samples.
TEST(HeldOutAlignment, IsThatOfTheFirstUpdateByHand) {
  for (const auto* task : {"architecture=relu", "architecture=dln", "targets=independent"}) {
    for (const auto* rescaling : {"rescaling=none", "rescaling=projection"}) {
      SCOPED_TRACE(fmt::format("{} {}", task, rescaling));
      const auto model = config({"rule=pc", task, rescaling, "hidden_layers=2", "noise=0.2",
                                 "learning_rate=[0.01,0.1]", "seeds=[5,7]", "steps=3"});
      const auto curve =
          run_sweep(model, {"held_out_alignment"}, at::kCPU).curves.at("held_out_alignment");
      ASSERT_EQ(curve.sizes(), (std::vector<std::int64_t>{4, 2, 2}));
      EXPECT_TRUE(curve[3].isnan().all().item<bool>());
      for (std::int64_t s = 0; s < 2; ++s) {
        const std::int64_t seed = s == 0 ? 5 : 7;
        const auto network = catalog::draw_network(model, seed, at::kCPU);
        auto teacher = catalog::make_teacher(model, seed, at::kCPU);
        const auto factors = catalog::make_rule(model)->factors(*network, teacher.next(16));
        const auto update =
            metrics::make_update(catalog::make_rescaling(model)->directions(factors.layers));
        const auto all = teacher.held_out(1000);
        const data::Batch samples{all.input.slice(0, 0, 64), all.target.slice(0, 0, 64)};
        const auto expected = metrics::target_alignment(*network, samples, update).mean;
        for (std::int64_t k = 0; k < 2; ++k) {
          EXPECT_NEAR(curve[0][k][s].item<double>(), expected.item<double>(), 1e-9);
        }
      }
    }
  }
}

// Oracle: rate * ||D|| / ||W|| of the first update by hand. Two rates and seeds, so that members of
// one ensemble are told apart.
TEST(UpdateSize, IsTheRateTimesTheDirectionOfTheFirstUpdate) {
  const auto model = config({"rule=bp", "architecture=relu", "hidden_layers=2",
                             "learning_rate=[0.01,0.1]", "seeds=[5,7]", "steps=2"});
  const auto curve = run_sweep(model, {"update_size"}, at::kCPU).curves.at("update_size");
  ASSERT_EQ(curve.sizes(), (std::vector<std::int64_t>{3, 2, 2}));
  for (std::int64_t s = 0; s < 2; ++s) {
    const std::int64_t seed = s == 0 ? 5 : 7;
    const auto network = catalog::draw_network(model, seed, at::kCPU);
    auto teacher = catalog::make_teacher(model, seed, at::kCPU);
    const auto step = catalog::make_rule(model)->factors(*network, teacher.next(16));
    double direction = 0;
    double weights = 0;
    for (std::size_t l = 1; l <= network->size(); ++l) {
      direction += learning::weight_direction(step.layers[l - 1]).square().sum().item<double>();
      weights += network->dense(l).weight.square().sum().item<double>();
    }
    const double size = std::sqrt(direction / weights);
    EXPECT_NEAR(curve[0][0][s].item<double>(), 0.01 * size, 1e-12);
    EXPECT_NEAR(curve[0][1][s].item<double>(), 0.1 * size, 1e-12);
  }
}

// Oracle: the network whose layers it multiplies, in both engines. A collapsed network starts from
// the same map, and is named apart.
TEST(Collapsed, StartsFromTheSameMap) {
  const std::string toml =
      "[[models]]\nrule = 'bp'\n[[models]]\nrule = 'bp'\nrescaling = 'projection'\n"
      "collapsed = true\n";
  for (const std::string engine : {"lanes", "tensor"}) {
    for (const std::string task : {"inputs=4", "architecture=residual", "condition_number=9"}) {
      SCOPED_TRACE(engine + " " + task);
      const auto both = config(
          {task, "hidden_layers=3", "learning_rate=0.1", "steps=1", "engine=" + engine}, toml);
      const auto models = both.models();
      ASSERT_EQ(models.size(), 2U);
      EXPECT_EQ(catalog::model_name(models[0]), "bp");
      EXPECT_EQ(catalog::model_name(models[1]), "bp + projection, collapsed");
      const SweepPlan plan(models, {}, at::kCPU);
      const auto sweeps = plan.collect(run_all(plan));
      EXPECT_EQ(plan.engine(1), engine);
      const auto deep = sweeps[0].curves.at("map_error");
      const auto collapsed = sweeps[1].curves.at("map_error");
      EXPECT_LT(difference(collapsed[0], deep[0], 0), 1e-12);
      EXPECT_GT(difference(collapsed[1], deep[1], 0), 1e-3);

      const auto names = run::columns(both);
      const auto column = std::find(names.begin(), names.end(), "collapsed");
      ASSERT_NE(column, names.end());
      EXPECT_NE(run::Cell(models[0], names).text(), run::Cell(models[1], names).text());
    }
  }
}

// Oracle: the natural gradient of the whole map with a teacher without noise and a batch no smaller
// than the input: the map error is e_0 (1 - rate)^(2t), at any rate.
TEST(Collapsed, ProjectionFollowsTheNaturalGradient) {
  const auto model = config({"rule=bp", "rescaling=projection", "regularisation=0",
                             "collapsed=true", "hidden_layers=3", "learning_rate=[0.05,0.3]"});
  const auto curve = run_sweep(model, {}, at::kCPU).curves.at("map_error");
  for (std::int64_t k = 0; k < 2; ++k) {
    const double rate = model.reals("learning_rate")[static_cast<std::size_t>(k)];
    for (std::int64_t t = 0; t <= 12; ++t) {
      const auto expected = curve[0][k] * std::pow(1 - rate, 2 * static_cast<double>(t));
      EXPECT_LT(difference(curve[t][k], expected, 0), 1e-8) << rate << " " << t;
    }
  }
}

// Oracle: the rule itself, step by step, at rate 1 whatever rates the other models try. A batch is
// wider than the layers, which other rules may compress.
TEST(KalmanSweep, TrainsAsByHand) {
  for (const auto* batch_size : {"batch_size=1", "batch_size=16"}) {
    SCOPED_TRACE(batch_size);
    const auto models = all_models(
        config({"rule=[bp,kpc]", batch_size, "hidden_layers=2", "learning_rate=[0.01,0.1]",
                "seeds=[5,7]", "noise_fraction=0.4", "narrowing=constancy"}));
    ASSERT_EQ(models.size(), 2U);
    EXPECT_EQ(models[0].reals("learning_rate").size(), 2U);
    const auto& model = models[1];
    ASSERT_EQ(model.reals("learning_rate"), std::vector<double>{1});
    const auto sweep = run_sweep(model, {"kalman"}, at::kCPU);
    const auto& curve = sweep.curves.at("map_error");
    for (std::int64_t s = 0; s < 2; ++s) {
      const std::int64_t seed = s == 0 ? 5 : 7;
      const auto network = catalog::draw_network(model, seed, at::kCPU);
      auto teacher = catalog::make_teacher(model, seed, at::kCPU);
      learning::KalmanPredictiveCoding rule(
          {.noise_fraction = 0.4, .narrowing = learning::Narrowing::kConstancy});
      for (std::int64_t t = 0; t < 12; ++t) {
        const auto batch = teacher.next(model.integer("batch_size"));
        const auto step = rule.factors(*network, batch);
        for (const auto& own : step.own) own.parameters[0].data().add_(own.directions[0]);
        EXPECT_NEAR(sweep.curves.at("kpc_noise")[t][0][s].item<double>(),
                    rule.report().noise.item<double>(), 1e-9);
        EXPECT_NEAR(sweep.curves.at("kpc_linearity")[t][0][s].item<double>(),
                    rule.report().linearity.item<double>(), 1e-6);
      }
      const auto error = metrics::map_error(*network, teacher.map()).item<double>();
      EXPECT_NEAR(curve[12][0][s].item<double>() / error, 1, 1e-8);
      EXPECT_LT(error, curve[0][0][s].item<double>());
    }
  }
}

// Contract: nothing else may change its steps, and only Dense layers have its covariances.
TEST(KalmanSweep, RefusesWhatChangesItsSteps) {
  for (const std::string assignment : {"rescaling=projection", "optimizer=adam"}) {
    test::expect_user_error([&] { SweepPlan({config({"rule=kpc", assignment})}, {}, at::kCPU); },
                            "rule = 'kpc' needs");
  }
  test::expect_user_error([&] { SweepPlan({config({"rule=kpc", "engine=lanes"})}, {}, at::kCPU); },
                          "kpc");
}

// Contract: beta is not 0, and says so before anything is trained.
TEST(NudgedSweep, NeedsANudge) {
  test::expect_user_error([] { SweepPlan({config({"rule=pc", "nudging=0"})}, {}, at::kCPU); },
                          "nudging = 0 ");
}

// Oracle: the rule itself, step by step, also where the engine compresses the batch, which is
// thicker than the network is wide; beta = 1 trains in lanes.
TEST(NudgedSweep, TrainsAsByHand) {
  const auto models = all_models(
      config({"rule=pc", "nudging=[0.5,1]", "centred=[false,true]", "hidden_layers=2",
              "learning_rate=0.1", "seeds=[5]", "rescaling=decorrelation", "engine=auto"}));
  ASSERT_EQ(models.size(), 4U);
  for (const auto& model : models) {
    const learning::PredictiveCodingOptions options{.nudging = model.real("nudging"),
                                                    .centred = model.boolean("centred")};
    SCOPED_TRACE(fmt::format("{} {}", options.nudging, options.centred));
    const auto curve = run_sweep(model, {}, at::kCPU).curves.at("map_error");
    const auto network = catalog::draw_network(model, 5, at::kCPU);
    auto teacher = catalog::make_teacher(model, 5, at::kCPU);
    learning::PredictiveCoding rule(nullptr, options);
    optim::Rescaled optimizer(torch::optim::SGD(network->parameters(), 0.1),
                              catalog::make_rescaling(model));
    for (std::int64_t t = 0; t < 12; ++t) {
      optimizer.step(rule.factors(*network, teacher.next(model.integer("batch_size"))));
    }
    const auto error = metrics::map_error(*network, teacher.map()).item<double>();
    EXPECT_NEAR(curve[12][0][0].item<double>() / error, 1, 1e-8);
  }
}

// Oracle: the loop by hand at each member's rate, with plain descent, whose members learn together,
// and with momentum, which is trained rate by rate.
TEST(ScheduledSweep, TrainsAsByHand) {
  for (const auto* momentum : {"momentum=0", "momentum=0.5"}) {
    const auto model = config({"rule=pc", momentum, "weight_decay=0", "schedule=cosine",
                               "warmup_steps=3", "learning_rate=[0.05,0.1]", "seeds=[5]"});
    const auto curve = run_sweep(model, {}, at::kCPU).curves.at("map_error");
    const auto schedule = catalog::make_schedule(model).value();
    for (std::int64_t k = 0; k < 2; ++k) {
      const double rate = model.reals("learning_rate")[static_cast<std::size_t>(k)];
      const auto network = catalog::draw_network(model, 5, at::kCPU);
      auto teacher = catalog::make_teacher(model, 5, at::kCPU);
      learning::PredictiveCoding rule(nullptr);
      optim::Rescaled optimizer(catalog::make_optimizer(model, network->parameters(), rate),
                                catalog::make_rescaling(model));
      for (std::int64_t t = 0; t < 12; ++t) {
        optimizer.inner().param_groups()[0].options().set_lr(rate * schedule(t, 12));
        optimizer.step(rule.factors(*network, teacher.next(model.integer("batch_size"))));
      }
      const auto error = metrics::map_error(*network, teacher.map()).item<double>();
      EXPECT_NEAR(curve[12][k][0].item<double>() / error, 1, 1e-8) << momentum << ' ' << rate;
    }
  }
}

// Oracle: the rule itself, all passes of a batch one after the other. A step is a batch: its
// measurements compare the parameters before the first pass with those after the last.
TEST(IncrementalSweep, CountsABatchAsOneStep) {
  for (const auto* rescaling : {"rescaling=none", "rescaling=recursive_projection"}) {
    const auto model =
        config({"rule=ipc", "ipc_passes=4", "ipc_step_size=0.3", "hidden_layers=2", rescaling,
                "learning_rate=0.1", "seeds=[5]", "noise=0.2", "architecture=relu"});
    const auto sweep = run_sweep(model, {"target_alignment", "update_size", "inference"}, at::kCPU);
    const auto network = catalog::draw_network(model, 5, at::kCPU);
    auto teacher = catalog::make_teacher(model, 5, at::kCPU);
    const auto held_out = teacher.held_out(1000);
    learning::IncrementalPredictiveCoding rule({.passes = 4, .step_size = 0.3});
    optim::Rescaled optimizer(torch::optim::SGD(network->parameters(), 0.1),
                              catalog::make_rescaling(model));
    const auto at_step = [&](const std::string& metric, std::int64_t t) {
      return sweep.curves.at(metric)[t][0][0].item<double>();
    };
    for (std::int64_t t = 0; t < 12; ++t) {
      EXPECT_NEAR(
          at_step("test_error", t) /
              metrics::mean_squared_error(*network, held_out.input, held_out.target).item<double>(),
          1, 1e-9);
      const auto batch = teacher.next(model.integer("batch_size"));
      const nn::Network before(std::dynamic_pointer_cast<nn::NetworkImpl>(network->clone()));
      learning::Step step;
      for (int pass = 0; pass < 4; ++pass) {
        step = rule.factors(*network, batch);
        optimizer.step(step);
      }
      metrics::Update whole;
      double moved = 0;
      double size = 0;
      for (std::size_t l = 1; l <= network->size(); ++l) {
        const auto& weight = before->dense(l).weight;
        whole.weights.push_back((network->dense(l).weight - weight).detach());
        moved += whole.weights.back().square().sum().item<double>();
        size += weight.square().sum().item<double>();
      }
      EXPECT_NEAR(at_step("update_size", t), std::sqrt(moved / size), 1e-9);
      EXPECT_NEAR(at_step("target_alignment", t),
                  metrics::target_alignment(*before, batch, whole).mean.item<double>(), 1e-9);
      EXPECT_NEAR(at_step("inference_residual", t), step.report->max_residual(), 1e-9);
      EXPECT_EQ(at_step("inference_passes", t), 4);
    }
  }
}

// Contract: only a linear network without bias is one matrix.
TEST(Collapsed, NeedsALinearNetwork) {
  const auto refuses = [](const std::string& assignment, const std::string& part) {
    test::expect_user_error(
        [&] { SweepPlan({config({"rule=bp", "collapsed=true", assignment})}, {}, at::kCPU); },
        part);
  };
  refuses("architecture=relu",
          "collapsed = true needs a linear network, not architecture = 'relu'");
  refuses("bias=true", "collapsed = true needs a network without bias");
}

// Oracle: the mean squared error on the teacher's held-out samples by hand, for linear networks and
// others.
TEST(ReluTeacher, IsJudgedOnHeldOutSamples) {
  for (const auto* architecture : {"architecture=relu", "architecture=dln"}) {
    const auto model = config({"rule=bp", "targets=relu_teacher", architecture, "noise=0.2",
                               "learning_rate=0.01", "seeds=[5,7]", "steps=2"});
    ASSERT_EQ(error_metric(model), "test_error");
    const auto curve = run_sweep(model, {}, at::kCPU).curves.at("test_error");
    for (std::int64_t s = 0; s < 2; ++s) {
      const std::int64_t seed = s == 0 ? 5 : 7;
      const auto samples = catalog::make_teacher(model, seed, at::kCPU).held_out(1000);
      const auto prediction = catalog::draw_network(model, seed, at::kCPU)->forward(samples.input);
      const auto expected = (samples.target - prediction).square().mean();
      EXPECT_NEAR(curve[0][0][s].item<double>(), expected.item<double>(), 1e-12);
    }
  }
}

// Oracle: the projection's change of the whole map goes straight to a teacher without noise when
// the batch is no smaller than the input, so that every sample's error is pointed at.
TEST(HeldOutAlignment, IsOneWhereTheUpdateSolvesForTheTeacher) {
  const auto model = config({"rule=pc", "rescaling=projection", "regularisation=0",
                             "hidden_layers=1", "learning_rate=1e-3", "steps=10"});
  const auto curve =
      run_sweep(model, {"held_out_alignment"}, at::kCPU).curves.at("held_out_alignment");
  EXPECT_LT((curve.slice(0, 0, 10) - 1).abs().max().item<double>(), 1e-8) << curve;
}

// Oracle: the tensor engine's two models alone. A key of one model only is swept like any other.
TEST(SweepPlan, SweepsAnyKeyThatKeepsTheShapes) {
  const auto models = all_models(config(
      {"rule=pc", "rescaling=recursive_projection", "forgetting=[0.9,1]", "prior_scale=[1,10]",
       "batch_size=1", "optimizer=[sgd,adam]", "steps=[3,5]", "learning_rate=[0.1,0.2]"}));
  EXPECT_EQ(models.size(), 16U);
  const SweepPlan plan(models, {}, at::kCPU);
  const auto sweeps = plan.collect(run_all(plan));
  std::set<double> last;
  for (std::size_t m = 0; m < models.size(); ++m) {
    const auto& curve = sweeps[m].curves.at("map_error");
    EXPECT_EQ(curve.size(0), models[m].integer("steps") + 1);
    EXPECT_EQ(plan.engine(m), models[m].text("optimizer") == "sgd" ? "lanes" : "tensor");
    last.insert(curve[-1][1][0].item<double>());
    const auto alone = run_sweep(models[m], {}, at::kCPU).curves.at("map_error");
    EXPECT_LT(difference(curve, alone, 1e-6), 1e-12);
  }
  EXPECT_EQ(last.size(), models.size()) << "every key matters";
}

// Oracle: the tensor engine, which reads the rescaling's own memory.
TEST(Engines, ReportTheSameDiagnostics) {
  const auto diagnostics = [](const std::string& rescaling, const std::string& engine) {
    return run_sweep(config({"rule=pc", "rescaling=" + rescaling, "batch_size=1",
                             "learning_rate=[0.02,0.05]", "engine=" + engine}),
                     {}, at::kCPU)
        .diagnostics;
  };
  for (const std::string rescaling : {"none", "alpha", "recursive_projection"}) {
    const auto lanes = diagnostics(rescaling, "lanes");
    const auto tensors = diagnostics(rescaling, "tensor");
    ASSERT_EQ(lanes.size(), tensors.size()) << rescaling;
    for (const auto& [name, value] : tensors) {
      if (value == 0) {
        EXPECT_EQ(lanes.at(name), 0) << name;
      } else {
        EXPECT_NEAR(lanes.at(name) / value, 1, 1e-6) << name;
      }
    }
  }
}

// Oracle: the uninterrupted job, bit by bit, from a checkpoint after any update.
TEST(SweepPlan, ATensorJobGoesOnFromACheckpoint) {
  for (const auto* optimizer : {"sgd", "adam"}) {
    for (const auto& [rule, rescaling] :
         {std::pair("pc", "none"), std::pair("pc", "recursive_projection"),
          std::pair("ipc", "recursive_projection")}) {
      const auto relu =
          config({fmt::format("rule={}", rule), fmt::format("rescaling={}", rescaling),
                  fmt::format("optimizer={}", optimizer), "architecture=relu", "noise=0.1",
                  "learning_rate=[0.01,0.1]", "steps=5"});
      const SweepPlan plan({relu}, {"inference", "target_alignment", "held_out_alignment"},
                           at::kCPU);
      const auto work = plan.work("");
      std::vector<run::Part> states;
      const auto keep = [&](std::int64_t, const run::Part& state) {
        states.emplace_back();
        for (const auto& [name, values] : state) states.back()[name] = values.clone();
      };
      const auto ignore = [](std::int64_t) {};
      const auto whole = work.run(0, run::JobContext(ignore, keep, nullptr, 1, 0, std::nullopt));
      ASSERT_EQ(states.size(), 5U);
      EXPECT_TRUE(whole.contains("inference_mean_passes"));
      for (const auto& state : std::vector(states)) {
        const auto resumed = work.run(0, run::JobContext(ignore, keep, nullptr, 0, 0, state));
        ASSERT_EQ(resumed.size(), whole.size());
        for (const auto& [name, values] : whole) {
          EXPECT_TRUE(at::allclose(resumed.at(name), values, 0, 0, /*equal_nan=*/true)) << name;
        }
      }
    }
  }
}

// Contract: how inference went is measured at every step but the last, also where nothing else is.
TEST(SweepPlan, InferenceIsMeasuredByItself) {
  const auto relu = config({"rule=pc", "architecture=relu", "learning_rate=[0.01,0.1]", "steps=3"});
  const auto curves = run_sweep(relu, {"inference"}, at::kCPU).curves;
  const auto& passes = curves.at("inference_mean_passes");
  EXPECT_EQ(passes.sizes(), curves.at("test_error").sizes());
  EXPECT_TRUE(passes.slice(0, 0, 3).gt(0).all().item<bool>());
  EXPECT_TRUE(passes.select(0, 3).isnan().all().item<bool>());
}

// Contract: a fixed step that is too large is named at once, once a job, and its runs diverge.
TEST(SweepPlan, AnUnstableInferenceIsNamed) {
  const auto relu = config({"rule=pc", "architecture=relu", "learning_rate=0.01", "steps=4",
                            "inference=error_descent", "inference_step_size=2.5"});
  const SweepPlan plan({relu}, {}, at::kCPU);
  std::vector<std::string> warnings;
  const auto part = plan.work("").run(
      0, run::JobContext([](std::int64_t) {}, nullptr,
                         [&](const std::string& text) { warnings.push_back(text); }, 0, 0,
                         std::nullopt));
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_TRUE(warnings[0].starts_with("ended as diverged at step 0: error_descent: "))
      << warnings[0];
  EXPECT_NE(warnings[0].find("a step of 2.5 is unstable for "), std::string::npos) << warnings[0];
  EXPECT_TRUE(part.at("left_at").eq(1).all().item<bool>());
}

// Runs of a rate that stays stable and of one whose fixed step training makes unstable.
config::Config unstable_runs(const std::vector<std::string>& assignments) {
  std::vector<std::string> all{"rule=pc",
                               "architecture=relu",
                               "width=12",
                               "init=kaiming",
                               "batch_size=64",
                               "learning_rate=[1e-3,1]",
                               "seeds=2",
                               "steps=20",
                               "inference=error_descent",
                               "inference_step_size=0.3",
                               "inference_steps=60"};
  all.insert(all.end(), assignments.begin(), assignments.end());
  return config(all);
}

// Contract (unstable_inference, and what the image programs do): a run ends as diverged where its
// fixed inference step becomes unstable, by itself; what was measured until then stays. Oracle of
// the steps until then: the run that keeps unstable inferences, and the run alone.
TEST(SweepPlan, AnUnstableInferenceEndsItsRun) {
  const auto ended = run_sweep(unstable_runs({}), {"inference"}, at::kCPU);
  const auto kept = run_sweep(unstable_runs({"unstable_inference=keep"}), {"inference"}, at::kCPU);
  const auto alone = run_sweep(unstable_runs({"learning_rate=1"}), {}, at::kCPU);
  EXPECT_FALSE(kept.numbers.contains("inference_unstable_at"));
  const auto& at = ended.numbers.at("inference_unstable_at");
  EXPECT_TRUE(at[0].isnan().all().item<bool>());
  EXPECT_TRUE(at[1].equal(alone.numbers.at("inference_unstable_at")[0]));
  EXPECT_TRUE(ended.left_at[0].eq(-1).all().item<bool>());
  EXPECT_TRUE(ended.left_at[1].equal(at[1].to(at::kLong) + 1));
  for (const auto* name : {"test_error", "inference_passes", "inference_unstable"}) {
    const auto stable = [&](const Sweep& sweep) {
      return sweep.curves.at(name).select(1, 0).slice(0, 0, 20);
    };
    EXPECT_TRUE(stable(ended).equal(stable(kept))) << name;
    for (std::int64_t s = 0; s < 2; ++s) {
      const auto end = ended.left_at[1][s].item<std::int64_t>();
      const auto of_run = [&](const Sweep& sweep) {
        return sweep.curves.at(name).select(1, 1).select(1, s);
      };
      // The inference that ended the run is the last that is measured, and the kept one's went on.
      const auto known = end - 1;
      EXPECT_TRUE(of_run(ended).slice(0, 0, known).equal(of_run(kept).slice(0, 0, known))) << name;
      EXPECT_TRUE(of_run(ended)[known].isfinite().item<bool>()) << name;
      EXPECT_TRUE(of_run(ended).slice(0, end).isnan().all().item<bool>()) << name;
    }
  }
  for (std::int64_t s = 0; s < 2; ++s) {
    const auto next = ended.left_at[1][s].item<std::int64_t>();
    EXPECT_TRUE(kept.curves.at("test_error")[next][1][s].isfinite().item<bool>());
  }
}

// Oracle: the uninterrupted job, bit by bit, from a checkpoint before and after a run has ended.
TEST(SweepPlan, AnEndedRunStaysEndedAfterACheckpoint) {
  const SweepPlan plan({unstable_runs({})}, {"inference"}, at::kCPU);
  const auto work = plan.work("");
  std::vector<run::Part> states;
  const auto keep = [&](std::int64_t, const run::Part& state) {
    states.emplace_back();
    for (const auto& [name, values] : state) states.back()[name] = values.clone();
  };
  const auto ignore = [](std::int64_t) {};
  const auto whole = work.run(0, run::JobContext(ignore, keep, nullptr, 1, 0, std::nullopt));
  ASSERT_TRUE(whole.contains("number.inference_unstable_at"));
  for (const auto& state : std::vector(states)) {
    const auto resumed = work.run(0, run::JobContext(ignore, keep, nullptr, 0, 0, state));
    ASSERT_EQ(resumed.size(), whole.size());
    for (const auto& [name, values] : whole) {
      EXPECT_TRUE(at::allclose(resumed.at(name), values, 0, 0, /*equal_nan=*/true)) << name;
    }
  }
}

}  // namespace
}  // namespace pcxx::train
