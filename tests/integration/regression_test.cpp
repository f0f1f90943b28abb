#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <pcxx/catalog/vocabulary.h>
#include <pcxx/config/schema.h>
#include <pcxx/metrics/sample_efficiency.h>
#include <pcxx/train/sweep.h>

namespace pcxx::train {
namespace {

config::Config make_config(const std::vector<std::string>& assignments) {
  const auto schema = catalog::schema(
      {"rule", "rescaling", catalog::kNetwork, "widths", "batch_size", "learning_rate", "steps",
       "dtype", "seeds", "optimizer", catalog::kTeacher, catalog::kInference, catalog::kOptions});
  std::vector<std::string> all{"width=20", "batch_size=64", "init=norm_preserving", "seeds=10"};
  all.insert(all.end(), assignments.begin(), assignments.end());
  return config::Config::read(schema, std::nullopt, all);
}

Sweep run(const config::Config& config, const std::vector<std::string>& measure = {}) {
  return run_sweep(config, measure, at::kCPU);
}

// Last error of every run, [rates, seeds].
at::Tensor final_errors(const Sweep& sweep) {
  return sweep.curves.at("map_error")[-1];
}

// Oracle: Theorem 2 with the regulariser of section 3.3. Eight hidden layers learn the teacher to
// rounding.
TEST(BatchRegression, DecorrelationReachesRoundingInADeepNetwork) {
  const auto sweep = run(
      make_config({"rule=pc", "rescaling=decorrelation", "regularisation=1e-4", "hidden_layers=8",
                   "batch_size=64", "steps=300", "learning_rate=[0.5,0.7]"}));
  const auto best = std::get<0>(sweep.curves.at("map_error").min(0));
  const auto reached = best.lt(1e-20).sum(-1);
  EXPECT_GE(reached[0].item<int>(), 8) << best;
  EXPECT_GE(reached[1].item<int>(), 8) << best;
}

// Oracle: least squares. Online, the recursive projection solves for the teacher; the plain rule is
// far off at its best of fourteen rates.
TEST(OnlineRegression, RecursiveProjectionReachesRoundingWherePlainPredictiveCodingDoesNot) {
  const std::vector<std::string> task{"rule=pc", "hidden_layers=8", "batch_size=1", "steps=500"};
  auto ours = task;
  ours.insert(ours.end(), {"rescaling=recursive_projection", "forgetting=0.95", "prior_scale=100",
                           "learning_rate=1"});
  const auto errors = final_errors(run(make_config(ours)))[0];
  EXPECT_GE(errors.lt(1e-12).sum().item<int>(), 8) << errors;

  auto plain = task;
  plain.insert(plain.end(),
               {"rescaling=none", "learning_rate={from=3e-4,to=1,points=14,scale=log}"});
  const auto at_rates = final_errors(run(make_config(plain))).nan_to_num(1e300).clamp_max(1e300);
  EXPECT_GT(at_rates.mean(-1).min().item<double>(), 1e-3);
}

// Oracle: the closed form of the projection's training: map error e_0 (1 - rate)^(2t), whatever the
// depth and initialisation, with fresh batches no smaller than the input.
TEST(BatchRegression, ProjectionFollowsItsClosedForm) {
  const double rate = 1e-3;
  const auto sweep = run(
      make_config({"rule=pc", "rescaling=projection", "regularisation=0", "hidden_layers=2",
                   "batch_size=64", "steps=40", "seeds=3", "learning_rate=1e-3", "dtype=float64"}));
  const auto curve = sweep.curves.at("map_error");
  for (std::int64_t s = 0; s < 3; ++s) {
    for (std::int64_t t = 0; t <= 40; ++t) {
      const double expected =
          curve[0][0][s].item<double>() * std::pow(1 - rate, 2 * static_cast<double>(t));
      EXPECT_NEAR(curve[t][0][s].item<double>() / expected, 1, 2e-4);
    }
  }
}

// Invariant: a rate's curve does not depend on which other rates and seeds run beside it.
TEST(Sweep, AMemberIsTheRunAlone) {
  const std::vector<std::string> task{"rule=pc", "rescaling=decorrelation", "regularisation=1e-4",
                                      "hidden_layers=2", "steps=20"};
  auto many = task;
  many.insert(many.end(), {"learning_rate=[0.1,0.3,0.5]", "seeds=[4,7]"});
  auto one = task;
  one.insert(one.end(), {"learning_rate=0.3", "seeds=[7]"});
  const auto together = run(make_config(many)).curves.at("map_error");
  const auto alone = run(make_config(one)).curves.at("map_error");
  const auto difference = (together.select(1, 1).select(1, 1) / alone.flatten() - 1).abs();
  EXPECT_LT(difference.max().item<double>(), 1e-10);
}

// Invariant: a diverged rate is a recorded outcome that leaves the other rates as they are.
TEST(Sweep, ADivergedRunIsRecordedAndHarmsNoOther) {
  for (const std::string rescaling : {"none", "decorrelation", "projection"}) {
    const std::vector<std::string> task{
        "rule=bp", "rescaling=" + rescaling, "regularisation=1e-5", "hidden_layers=3", "steps=60",
        "seeds=2"};
    auto both = task;
    both.emplace_back("learning_rate=[0.005,1e6]");
    auto calm = task;
    calm.emplace_back("learning_rate=0.005");
    const auto curves = run(make_config(both)).curves.at("map_error");
    const auto alone = run(make_config(calm)).curves.at("map_error");
    EXPECT_LT((curves.select(1, 0) / alone.select(1, 0) - 1).abs().max().item<double>(), 1e-10);
    for (std::int64_t s = 0; s < 2; ++s) {
      const auto wild = curves.select(1, 1).select(1, s).contiguous();
      const auto* values = wild.const_data_ptr<double>();
      EXPECT_TRUE(metrics::diverged({values, values + wild.numel()})) << rescaling;
    }
  }
}

// Oracle: Theorem 1. With alpha, every online update points at the error.
TEST(Sweep, MeasuresAlignmentThroughTraining) {
  const auto sweep = run(make_config({"rule=pc", "rescaling=alpha", "hidden_layers=2",
                                      "batch_size=1", "steps=30", "seeds=3", "learning_rate=0.01"}),
                         {"target_alignment", "excess_map_error", "map_error_squared_frobenius"});
  const auto alignment = sweep.curves.at("target_alignment");
  EXPECT_LT((alignment.slice(0, 0, 30) - 1).abs().max().item<double>(), 1e-8);
  EXPECT_TRUE(alignment[30].isnan().all().item<bool>());
  const auto error = sweep.curves.at("map_error");
  EXPECT_TRUE(at::allclose(sweep.curves.at("map_error_squared_frobenius"), 400 * error, 1e-12));
  EXPECT_TRUE(at::allclose(sweep.curves.at("excess_map_error"), error, 1e-12));
}

// Oracle: the same run with each optimizer's own loop. Adam has no rate per member, so every rate
// is an ensemble of its own.
TEST(Sweep, OtherOptimizersRunEveryRate) {
  const auto sweep = run(make_config({"rule=bp", "optimizer=adam", "hidden_layers=1", "steps=50",
                                      "seeds=2", "learning_rate=[1e-3,1e-2]"}));
  const auto curve = sweep.curves.at("map_error");
  ASSERT_EQ(curve.sizes(), (std::vector<std::int64_t>{51, 2, 2}));
  EXPECT_LT(curve[50].max().item<double>(), curve[0].min().item<double>());
  EXPECT_FALSE(at::allclose(curve[50][0], curve[50][1]));
}

// Networks that are not one linear map are judged on held-out samples.
TEST(Sweep, ReluNetworksLearnToo) {
  const auto config =
      make_config({"rule=pc", "architecture=relu", "hidden_layers=1", "width=50", "inputs=10",
                   "outputs=5", "steps=100", "seeds=2", "learning_rate=0.1"});
  EXPECT_EQ(error_metric(config), "test_error");
  const auto curve = run(config).curves.at("test_error");
  EXPECT_LT(curve[100].max().item<double>(), 0.5 * curve[0].min().item<double>());
}

// Claim: a ReLU network learns a ReLU teacher. The best linear map leaves the even half of the
// function, f(x) + f(-x), which is half of its mean square: the ReLU network passes below it.
TEST(Sweep, ReluNetworksLearnAReluTeacher) {
  const auto config = make_config({"rule=[bp,pc]", "architecture=relu", "targets=relu_teacher",
                                   "hidden_layers=1", "width=100", "inputs=10", "outputs=5",
                                   "steps=300", "seeds=2", "learning_rate=0.05"});
  for (const auto& model : config.models()) {
    const auto curve = run(model).curves.at("test_error");
    EXPECT_LT(curve[300].max().item<double>(), 0.25 * curve[0].min().item<double>()) << curve;
  }
}

}  // namespace
}  // namespace pcxx::train
