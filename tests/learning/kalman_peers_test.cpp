#include <gtest/gtest.h>
#include <pcxx/learning/kalman.h>

#include "support/networks.h"
#include "support/thread_peers.h"

namespace pcxx::learning {
namespace {

using nn::Activation;
using test::random_batch;
using test::random_network;
using test::relative_difference;

constexpr int kPeers = 3;
constexpr std::int64_t kSamples = 8;

// The slices 0..2, 3..5 and 6..7.
data::Batch slice(const data::Batch& batch, int place) {
  const auto first = std::int64_t{3} * place;
  const auto count = std::min<std::int64_t>(3, kSamples - first);
  return {batch.input.narrow(-2, first, count), batch.target.narrow(-2, first, count), kSamples};
}

void expect_same(const Step& found, const Step& expected) {
  ASSERT_EQ(found.own.size(), expected.own.size());
  for (std::size_t l = 0; l < found.own.size(); ++l) {
    for (std::size_t i = 0; i < found.own[l].directions.size(); ++i) {
      EXPECT_LT(relative_difference(found.own[l].directions[i], expected.own[l].directions[i]),
                1e-12);
    }
  }
}

void expect_same(const KalmanPredictiveCoding& found, const KalmanPredictiveCoding& expected) {
  for (std::size_t l = 0; l < found.covariances().size(); ++l) {
    EXPECT_LT(relative_difference(found.covariances()[l], expected.covariances()[l]), 1e-12);
  }
  const auto wanted = measurements(expected.report());
  for (const auto& [name, value] : measurements(found.report())) {
    EXPECT_LT(relative_difference(value, wanted.at(name)), 1e-12) << name;
  }
}

// Oracle: one process with all samples, over several batches, so that the memory counts too.
TEST(KalmanPeers, MakeTheStepOfOneProcess) {
  for (const auto narrowing : {Narrowing::kCertainty, Narrowing::kConstancy}) {
    for (const auto& options : {nn::mlp({5, 6, 4}, Activation::kTanh).with_bias(),
                                nn::mlp({9, 5, 4, 8}, Activation::kReLU, Activation::kSigmoid),
                                nn::mlp({5, 4, 6}, Activation::kTanh).with_bias().ensemble(2)}) {
      const auto network = random_network(options);
      const KalmanOptions same{.narrowing = narrowing};
      std::vector<KalmanPredictiveCoding> rules(kPeers, KalmanPredictiveCoding(same));
      KalmanPredictiveCoding alone(same);
      for (std::uint64_t seed = 1; seed <= 3; ++seed) {
        const auto batch = random_batch(*network, kSamples, seed);
        std::vector<Step> steps(kPeers);
        test::ThreadPeers(kPeers).run([&](int place, Peers& peers) {
          const auto i = static_cast<std::size_t>(place);
          steps[i] = rules[i].shared_factors(*network, slice(batch, place), peers);
        });
        const auto expected = alone.factors(*network, batch);
        for (std::size_t i = 0; i < steps.size(); ++i) {
          expect_same(steps[i], expected);
          expect_same(rules[i], alone);
          const auto rows = steps[i].prediction;
          EXPECT_EQ(rows.size(-2), slice(batch, static_cast<int>(i)).input.size(-2));
          EXPECT_EQ(rules[i].report().change.sizes(), rows.sizes()) << "of its own samples";
        }
      }
    }
  }
}

// Contract: only a rule that says so shares its batches this way.
TEST(Sharing, IsRefusedByRulesThatDoNot) {
  class Lonely final : public LearningRule {
   public:
    Step factors(const nn::NetworkImpl&, const data::Batch&) override { return {}; }
    std::string_view name() const override { return "lonely"; }
  };
  const auto network = random_network(nn::mlp({3, 2}));
  NoPeers peers;
  Lonely rule;
  EXPECT_EQ(rule.sharing(), Sharing::kSlices);
  EXPECT_THROW(rule.shared_factors(*network, random_batch(*network, 2), peers), c10::Error);
}

}  // namespace
}  // namespace pcxx::learning
