#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <pcxx/data/drawn_digits.h>
#include <pcxx/data/minibatches.h>
#include <pcxx/inference/error_descent.h>
#include <pcxx/learning/incremental.h>
#include <pcxx/learning/kalman.h>
#include <pcxx/learning/predictive_coding.h>
#include <pcxx/optim/optimizers.h>
#include <pcxx/train/training_state.h>

#include "support/networks.h"
#include "support/rescalings.h"

namespace pcxx::train {
namespace {

const data::Images& digits() {
  static const auto images = data::drawn_digits(50, 0);
  return images;
}

struct Case {
  std::string optimizer;
  std::string rescaling;
  bool bias;
  std::string rule = "pc";
};

std::unique_ptr<learning::LearningRule> make_rule(const std::string& name) {
  if (name == "kpc") return std::make_unique<learning::KalmanPredictiveCoding>();
  if (name == "ipc") return std::make_unique<learning::IncrementalPredictiveCoding>();
  return std::make_unique<learning::PredictiveCoding>(std::make_shared<inference::ErrorDescent>());
}

// A training run as a program has it.
struct Training {
  explicit Training(const Case& c, std::uint64_t seed = 1)
      : network(test::random_network(options(c), seed)),
        optimizer(optim::make_optimizer(c.optimizer, network->parameters(), 0.01),
                  test::make_rescaling({.name = c.rescaling, .regularisation = 0.01})),
        minibatches(digits().size(), 3),
        rule(make_rule(c.rule)) {}

  static nn::NetworkOptions options(const Case& c) {
    const auto plain = nn::mlp({784, 7, 784}, nn::Activation::kReLU, nn::Activation::kSigmoid);
    return c.bias ? plain.with_bias() : plain;
  }

  void step(int count) {
    for (int i = 0; i < count; ++i) {
      const auto batch = data::autoencoding_batch(digits(), minibatches.next(16), at::kDouble);
      for (std::int64_t k = 0; k < rule->steps_per_batch(); ++k) {
        optimizer.step(rule->factors(*network, batch));
      }
    }
  }

  nn::Network network;
  optim::Rescaled optimizer;
  data::Minibatches minibatches;
  std::unique_ptr<learning::LearningRule> rule;
};

bool same(const nn::Network& a, const nn::Network& b) {
  for (std::size_t i = 0; i < a->parameters().size(); ++i) {
    if (!a->parameters()[i].equal(b->parameters()[i])) return false;
  }
  return true;
}

// Oracle: the run that was not interrupted, bit for bit, whatever the rule, the optimizer and the
// rescaling remember. Eleven batches of 16 pass the end of an epoch of 50 more than once.
TEST(TrainingState, GoesOnBitByBit) {
  for (const Case& c : {Case{"sgd", "none", false}, Case{"sgd", "recursive_projection", true},
                        Case{"adam", "none", true}, Case{"adam", "recursive_projection", false},
                        Case{"adamw", "projection", false}, Case{"rmsprop", "alpha", false},
                        Case{"rmsprop", "decorrelation", true}, Case{"sgd", "none", true, "kpc"},
                        Case{"adam", "none", true, "ipc"}}) {
    SCOPED_TRACE(c.rule + " " + c.optimizer + " " + c.rescaling);
    Training whole(c);
    whole.step(11);
    for (const int before : {0, 1, 4, 10}) {
      Training first(c);
      first.step(before);
      const auto state =
          training_state(first.network, *first.rule, first.optimizer, first.minibatches);
      Training second(c, /*seed=*/2);
      ASSERT_FALSE(same(second.network, first.network));
      restore(state, second.network, *second.rule, second.optimizer, second.minibatches);
      second.step(11 - before);
      EXPECT_TRUE(same(second.network, whole.network)) << "after " << before << " steps";
    }
  }
}

TEST(TrainingState, OfAnotherRunIsRefused) {
  Training adam({"adam", "recursive_projection", true});
  adam.step(1);
  const auto state = training_state(adam.network, *adam.rule, adam.optimizer, adam.minibatches);
  for (const Case& c : {Case{"sgd", "recursive_projection", true}, Case{"adam", "none", true},
                        Case{"adam", "recursive_projection", false},
                        Case{"adam", "recursive_projection", true, "kpc"}}) {
    SCOPED_TRACE(c.rule + " " + c.optimizer + " " + c.rescaling);
    Training other(c);
    EXPECT_THROW(restore(state, other.network, *other.rule, other.optimizer, other.minibatches),
                 c10::Error);
  }
  for (const auto& [name, tensor] : state) {
    auto gap = state;
    gap.erase(name);
    Training same_kind({"adam", "recursive_projection", true});
    EXPECT_THROW(restore(gap, same_kind.network, *same_kind.rule, same_kind.optimizer,
                         same_kind.minibatches),
                 c10::Error)
        << name;
    if (tensor.numel() == 0) continue;
    auto larger = state;
    larger[name] = tensor.dim() == 0 ? tensor.repeat({2}) : at::cat({tensor, tensor});
    EXPECT_THROW(restore(larger, same_kind.network, *same_kind.rule, same_kind.optimizer,
                         same_kind.minibatches),
                 c10::Error)
        << name;
  }
}

}  // namespace
}  // namespace pcxx::train
