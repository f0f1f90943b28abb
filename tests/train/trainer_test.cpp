#include "train/trainer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <pcxx/catalog/experiment.h>
#include <pcxx/catalog/vocabulary.h>
#include <pcxx/core/random.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/train/training_state.h>

#include <algorithm>
#include <optional>

namespace pcxx::train {
namespace {

catalog::Model model_of(const std::vector<std::string>& assignments) {
  static const auto keys =
      catalog::schema({"rule", "rescaling", catalog::kNetwork, "batch_size", "learning_rate",
                       "steps", "dtype", "optimizer", "schedule", "keep", "patience"});
  std::vector<std::string> all{"rule=bp", "width=4", "learning_rate=0.05", "batch_size=3"};
  all.insert(all.end(), assignments.begin(), assignments.end());
  return config::Config::parse(keys, "", "", all);
}

// Batches of numbers drawn in order, and tests whose worth was written down before.
class ScriptedTask final : public Task {
 public:
  explicit ScriptedTask(std::vector<double> worths) : worths_(std::move(worths)) {}

  data::Batch next() override { return batch(drawn_++); }
  data::Batch held_out() const override { return batch(1000); }
  bool tests_at(std::int64_t) const override { return true; }

  // The first weight, so that a test tells which weights it was made on.
  std::map<std::string, at::Tensor> test(const nn::NetworkImpl& network) override {
    return {{"test_weight", network.parameters().front().flatten()[0].clone()}};
  }

  double worth(const std::map<std::string, std::vector<double>>& tests) const override {
    return worths_.at(tests.at("test_weight").size() - 1);
  }

  State state() const override { return {{"drawn", as_count(drawn_)}}; }
  void set_state(const State& state) override { drawn_ = count_of(state, "drawn"); }

 private:
  static data::Batch batch(std::int64_t number) {
    auto generator = make_generator(static_cast<std::uint64_t>(number), Purpose::kInputs);
    const auto draw = [&] { return at::empty({3, 4}, at::kDouble).normal_(0, 1, generator); };
    const auto input = draw();
    return {input, draw()};
  }

  std::vector<double> worths_;
  std::int64_t drawn_ = 0;
};

struct Trained {
  Training training;
  run::Part weights;
  std::vector<run::Part> states;
};

Trained train(const catalog::Model& model, const std::vector<double>& worths,
              std::optional<run::Part> checkpoint = std::nullopt) {
  const at::NoGradGuard no_grad;
  ScriptedTask task(worths);
  auto network = catalog::draw_network(model.config, 1, at::kCPU);
  auto optimizer = catalog::make_optimizer(model.config, network->parameters(), 0.05);
  Trainer trainer(model, network, std::move(optimizer), task, {}, parallel::alone());
  Trained trained;
  const auto keep = [&](std::int64_t, const run::Part& state) {
    auto& copy = trained.states.emplace_back();
    for (const auto& [name, values] : state) copy[name] = values.clone();
  };
  run::JobContext job([](std::int64_t) {}, keep, nullptr, 1, 0, std::move(checkpoint));
  trained.training = trainer.train(job);
  trained.weights = weights_of(trainer.network());
  return trained;
}

void expect_same(const Trained& a, const Trained& b) {
  EXPECT_EQ(a.training.tested_at, b.training.tested_at);
  EXPECT_EQ(a.training.tests, b.training.tests);
  EXPECT_EQ(a.training.numbers, b.training.numbers);
  for (const auto& [name, weight] : a.weights)
    EXPECT_TRUE(weight.equal(b.weights.at(name))) << name;
}

const std::vector<double> kRising{1, 2, 3, 4, 5, 6, 7};

// Oracle: the loop by hand, which sets the rate before each step.
TEST(Trainer, FollowsTheSchedule) {
  for (const auto* optimizer : {"momentum=0.9", "optimizer=adam"}) {
    const auto model =
        model_of({"schedule=cosine", "warmup_steps=2", optimizer, "steps=6", "final_fraction=0.2"});
    const at::NoGradGuard no_grad;
    ScriptedTask task(kRising);
    const auto network = catalog::draw_network(model.config, 1, at::kCPU);
    optim::Rescaled by_hand(catalog::make_optimizer(model.config, network->parameters(), 0.05),
                            catalog::make_rescaling(model.config));
    const auto schedule = catalog::make_schedule(model.config).value();
    for (std::int64_t step = 0; step < 6; ++step) {
      by_hand.inner().param_groups()[0].options().set_lr(0.05 * schedule(step, 6));
      by_hand.step(learning::Backpropagation().factors(*network, task.next()));
    }
    const auto trained = train(model, kRising);
    for (const auto& [name, weight] : weights_of(network)) {
      EXPECT_TRUE(weight.equal(trained.weights.at(name))) << name;
    }
  }
}

// Oracle: the run that keeps its last weights, whose test at the best step they gave.
TEST(Trainer, EndsWithItsBestWeights) {
  const auto last = train(model_of({"steps=6"}), kRising);
  const auto best = train(model_of({"steps=6", "keep=best"}), {1, 2, 9, 3, 9, 4, 5});
  const auto& weights = last.training.tests.at("test_weight");
  EXPECT_EQ(best.training.numbers.at(kBestStep), std::vector<double>{2});
  auto expected = weights;
  expected.back() = weights[2];
  EXPECT_EQ(best.training.tests.at("test_weight"), expected);
  expect_same(last, train(model_of({"steps=6"}), kRising));
  const auto rising = train(model_of({"steps=6", "keep=best"}), kRising);
  EXPECT_EQ(rising.training.tests, last.training.tests);
  EXPECT_EQ(rising.training.numbers.at(kBestStep), std::vector<double>{6});
}

// Oracle: the run without patience. After two tests without a better one it learns no more.
TEST(Trainer, LosesPatience) {
  const auto last = train(model_of({"steps=6"}), kRising);
  const auto impatient =
      train(model_of({"steps=6", "keep=best", "patience=2"}), {1, 5, 4, 3, 9, 9, 9});
  const auto& weights = last.training.tests.at("test_weight");
  const std::vector<double> expected{weights[0], weights[1], weights[2], weights[1],
                                     weights[1], weights[1], weights[1]};
  EXPECT_EQ(impatient.training.tests.at("test_weight"), expected);
  EXPECT_EQ(impatient.training.numbers.at(kBestStep), std::vector<double>{1});
}

// Oracle: the uninterrupted run, from every step, before and after its patience is over.
TEST(Trainer, GoesOnWithItsBestWeights) {
  const std::vector<double> worths{1, 5, 4, 3, 9, 9, 9};
  for (const auto* patience : {"patience=0", "patience=2"}) {
    const auto model = model_of(
        {"steps=6", "keep=best", patience, "optimizer=adam", "schedule=linear", "warmup_steps=2"});
    const auto whole = train(model, worths);
    ASSERT_EQ(whole.states.size(), 6U);
    for (const auto& state : whole.states) expect_same(train(model, worths, state), whole);
  }
}

}  // namespace
}  // namespace pcxx::train
