#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <pcxx/catalog/experiment.h>
#include <pcxx/catalog/extend.h>
#include <pcxx/catalog/vocabulary.h>

#include <cmath>
#include <numbers>

#include "support/user_error.h"

namespace pcxx::catalog {
namespace {

config::Config config_of(const std::vector<std::string>& assignments) {
  static const auto keys = schema({"rule", "optimizer", "schedule", "learning_rate"});
  return config::Config::parse(keys, "", "", assignments);
}

optim::Schedule schedule_of(const std::vector<std::string>& assignments) {
  return make_schedule(config_of(assignments)).value();
}

// Oracle: the closed forms. The first step of a fall takes the whole rate, and the rate that
// `final_fraction` names would be that of the step after the last.
TEST(Schedule, FollowsItsClosedForm) {
  EXPECT_FALSE(make_schedule(config_of({})));
  const auto cosine = schedule_of({"schedule=cosine", "final_fraction=0.1"});
  const auto linear = schedule_of({"schedule=linear", "final_fraction=0.1"});
  for (std::int64_t step = 0; step <= 200; ++step) {
    const double done = static_cast<double>(step) / 200;
    EXPECT_NEAR(cosine(step, 200), 0.55 + 0.45 * std::cos(std::numbers::pi * done), 1e-12);
    EXPECT_NEAR(linear(step, 200), 1 - 0.9 * done, 1e-12);
  }
  const auto decay = schedule_of({"schedule=decay", "decay_every=50", "decay_factor=0.2"});
  EXPECT_EQ(decay(49, 200), 1);
  EXPECT_NEAR(decay(50, 200), 0.2, 1e-15);
  EXPECT_NEAR(decay(199, 200), 0.008, 1e-15);
}

// Oracle: a rise in equal parts, behind which a fall has the steps that are left.
TEST(Schedule, WarmsUp) {
  const auto constant = schedule_of({"warmup_steps=4"});
  const auto cosine = schedule_of({"schedule=cosine", "warmup_steps=4"});
  const auto whole = schedule_of({"schedule=cosine"});
  for (std::int64_t step = 0; step < 20; ++step) {
    const double risen = std::min(1.0, static_cast<double>(step + 1) / 4);
    EXPECT_NEAR(constant(step, 20), risen, 1e-15);
    EXPECT_NEAR(cosine(step, 20), step < 4 ? risen : whole(step - 4, 16), 1e-15);
  }
  EXPECT_EQ(schedule_of({"schedule=linear", "warmup_steps=30"})(19, 20), 20.0 / 30);
}

// Contract: a program's own schedule is a value of the key, with its options.
TEST(Schedule, MayBeTheProgramsOwn) {
  add_schedule({"inverse",
                "falls as 1 / (1 + step / half_life)",
                {{.name = "half_life",
                  .kind = config::Kind::kInteger,
                  .initial = "10",
                  .doc = "steps",
                  .per_model = true}}},
               [](const config::Config& config) -> optim::Schedule {
                 const auto half = static_cast<double>(config.integer("half_life"));
                 return [half](std::int64_t step, std::int64_t) {
                   return 1 / (1 + static_cast<double>(step) / half);
                 };
               });
  const auto keys = schema({"schedule", "learning_rate"});
  const auto config = config::Config::parse(keys, "", "", {"schedule=inverse", "half_life=4"});
  EXPECT_EQ(make_schedule(config).value()(4, 100), 0.5);
}

// Three steps along given gradients.
at::Tensor after_steps(const std::vector<std::string>& assignments) {
  auto theta = at::tensor({1.0, -2.0, 0.5});
  const auto optimizer = make_optimizer(config_of(assignments), {theta}, 0.1);
  const at::NoGradGuard no_grad;
  for (int step = 1; step <= 3; ++step) {
    theta.mutable_grad() = at::tensor({0.3, -0.1, 0.7}) * step;
    optimizer->step();
  }
  return theta;
}

struct Sgd {
  double momentum = 0;
  double decay = 0;
  bool nesterov = false;
};

// The same by the textbook (Sutskever et al. 2013, as PyTorch writes it).
at::Tensor by_hand(const Sgd& sgd) {
  auto theta = at::tensor({1.0, -2.0, 0.5});
  at::Tensor velocity;
  for (int step = 1; step <= 3; ++step) {
    const auto gradient = at::tensor({0.3, -0.1, 0.7}) * step + sgd.decay * theta;
    velocity = velocity.defined() ? sgd.momentum * velocity + gradient : gradient;
    theta = theta - 0.1 * (sgd.nesterov ? gradient + sgd.momentum * velocity : velocity);
  }
  return theta;
}

// Oracle: the formulas by hand.
TEST(Optimizer, SgdTakesMomentumAndWeightDecay) {
  EXPECT_TRUE(after_steps({"momentum=0.9"}).allclose(by_hand({.momentum = 0.9}), 1e-6));
  EXPECT_TRUE(after_steps({"weight_decay=0.2"}).allclose(by_hand({.decay = 0.2}), 1e-6));
  EXPECT_TRUE(after_steps({"momentum=0.9", "nesterov=true", "weight_decay=0.2"})
                  .allclose(by_hand({.momentum = 0.9, .decay = 0.2, .nesterov = true}), 1e-6));
}

// Oracle: AdamW's decay leaves the parameter by rate * decay of it at each step, whatever Adam does
// (Loshchilov and Hutter 2019), here where gradients are constant zeros.
TEST(Optimizer, AdamWDecaysByItself) {
  const auto left = [](const std::vector<std::string>& assignments) {
    auto theta = at::ones({1}, at::kDouble);
    const auto optimizer = make_optimizer(config_of(assignments), {theta}, 0.1);
    theta.mutable_grad() = at::zeros({1}, at::kDouble);
    for (int step = 0; step < 3; ++step) optimizer->step();
    return theta.item<double>();
  };
  EXPECT_NEAR(left({"optimizer=adamw"}), std::pow(1 - 0.1 * 0.01, 3), 1e-14);
  EXPECT_NEAR(left({"optimizer=adamw", "weight_decay=0.5"}), std::pow(1 - 0.1 * 0.5, 3), 1e-14);
  EXPECT_EQ(left({"optimizer=adam"}), 1);
  EXPECT_LT(left({"optimizer=adam", "weight_decay=0.5"}), 1);
  EXPECT_LT(left({"optimizer=rmsprop", "weight_decay=0.5"}), 1);
}

// Contract: only the plain descent is one that several members take together.
TEST(Optimizer, IsPlainWithoutMomentumAndDecay) {
  EXPECT_TRUE(is_plain_sgd(config_of({})));
  EXPECT_FALSE(is_plain_sgd(config_of({"momentum=0.9"})));
  EXPECT_FALSE(is_plain_sgd(config_of({"weight_decay=1e-4"})));
  EXPECT_FALSE(is_plain_sgd(config_of({"optimizer=adam"})));
  test::expect_user_error([] { after_steps({"nesterov=true"}); }, "nesterov = true needs");
}

// Contract: Kalman PC takes its steps as they are, beside models that have all of this.
TEST(Schedule, IsNoneForKalmanPc) {
  const auto config = config_of({"rule=kpc", "schedule=cosine", "warmup_steps=9", "momentum=0.9",
                                 "nesterov=true", "weight_decay=0.1"});
  const auto models = config.models();
  ASSERT_EQ(models.size(), 1U);
  EXPECT_FALSE(make_schedule(models[0]));
  EXPECT_TRUE(is_plain_sgd(models[0]));
}

}  // namespace
}  // namespace pcxx::catalog
