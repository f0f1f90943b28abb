#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <pcxx/data/minibatches.h>

#include <cmath>
#include <vector>

namespace pcxx::data {
namespace {

// The order of the first `epochs` epochs, [epochs, N], handed out in batches of the given size.
at::Tensor orders(std::int64_t samples, std::uint64_t seed, std::int64_t epochs,
                  std::int64_t batch_size) {
  Minibatches minibatches(samples, seed);
  std::vector<at::Tensor> batches;
  for (std::int64_t n = 0; n < epochs * samples; n += batch_size) {
    batches.push_back(minibatches.next(batch_size));
    EXPECT_EQ(batches.back().sizes(), (std::vector<std::int64_t>{batch_size}));
    EXPECT_EQ(batches.back().scalar_type(), at::kLong);
  }
  return at::cat(batches).slice(0, 0, epochs * samples).view({epochs, samples});
}

// Invariant: every epoch is a permutation, for batches that divide N, that do not, that are N and
// that are larger.
TEST(Minibatches, VisitEverySampleOnceAnEpoch) {
  const auto once = at::arange(10, at::kLong);
  for (const std::int64_t batch_size : {1, 2, 3, 5, 7, 10, 11, 20, 27}) {
    const auto order = orders(10, 3, 6, batch_size);
    for (std::int64_t epoch = 0; epoch < order.size(0); ++epoch) {
      EXPECT_TRUE(at::equal(std::get<0>(order[epoch].sort()), once)) << batch_size;
    }
  }
}

// Invariant: the sequence of samples does not depend on how it is cut into batches.
TEST(Minibatches, FollowEachOtherWithoutAGap) {
  const auto expected = orders(10, 3, 6, 1);
  for (const std::int64_t batch_size : {2, 3, 7, 10, 11, 27}) {
    EXPECT_TRUE(at::equal(orders(10, 3, 6, batch_size), expected)) << batch_size;
  }
}

// Oracle: contract. The order is a function of (seed, epoch) that differs between both; of 100!
// orders no two are the same.
TEST(Minibatches, HaveANewOrderInEveryEpochAndSeed) {
  std::vector<at::Tensor> all;
  for (std::uint64_t seed = 0; seed < 5; ++seed) all.push_back(orders(100, seed, 20, 100));
  const auto rows = at::cat(all);
  EXPECT_EQ(std::get<0>(at::unique_dim(rows, 0)).size(0), 100);
  EXPECT_TRUE(at::equal(orders(100, 4, 20, 33), all[4]));
}

// Oracle: statistics. Over n = 4,000 epochs each of 5 samples comes first with probability 1/5, the
// count has standard deviation sqrt(n 4/25); all pairs of consecutive epochs are unrelated: the
// first stays the first with probability 1/5.
TEST(Minibatches, AreUniformlyShuffled) {
  const std::int64_t n = 4000;
  const auto order = orders(5, 1, n, 5);
  const double deviation = std::sqrt(static_cast<double>(n) * 4 / 25);
  for (std::int64_t place = 0; place < 5; ++place) {
    const auto counts = at::bincount(order.select(1, place)).to(at::kDouble);
    EXPECT_LT((counts - static_cast<double>(n) / 5).abs().max().item<double>(), 5 * deviation);
  }
  const auto first = order.select(1, 0);
  const auto stays = (first.slice(0, 1) == first.slice(0, 0, n - 1)).sum().item<std::int64_t>();
  EXPECT_NEAR(static_cast<double>(stays), static_cast<double>(n) / 5, 5 * deviation);
}

// Oracle: counting by hand.
TEST(Minibatches, KnowTheirPosition) {
  Minibatches minibatches(10, 1);
  EXPECT_EQ(minibatches.position().epoch, 0);
  EXPECT_EQ(minibatches.position().sample, 0);
  minibatches.next(7);
  EXPECT_EQ(minibatches.position().epoch, 0);
  EXPECT_EQ(minibatches.position().sample, 7);
  minibatches.next(3);
  EXPECT_EQ(minibatches.position().epoch, 1);
  EXPECT_EQ(minibatches.position().sample, 0);
  minibatches.next(24);
  EXPECT_EQ(minibatches.position().epoch, 3);
  EXPECT_EQ(minibatches.position().sample, 4);
}

// Oracle: the indices of the first time, from every position of three epochs.
TEST(Minibatches, ResumeFromAPosition) {
  Minibatches original(10, 6);
  for (int step = 0; step < 10; ++step) {
    Minibatches resumed(10, 6);
    resumed.next(4);
    resumed.resume(original.position());
    Minibatches ahead(10, 6);
    ahead.resume(original.position());
    EXPECT_TRUE(at::equal(resumed.next(23), ahead.next(23)));
    ahead.resume(original.position());
    const auto batch = original.next(3);
    EXPECT_TRUE(at::equal(ahead.next(3), batch));
    EXPECT_EQ(ahead.position().epoch, original.position().epoch);
    EXPECT_EQ(ahead.position().sample, original.position().sample);
  }
}

// Oracle: contract. What was handed out stays as it was.
TEST(Minibatches, HandOutCopies) {
  Minibatches minibatches(10, 6);
  const auto batch = minibatches.next(4);
  const auto kept = batch.clone();
  minibatches.next(40);
  EXPECT_TRUE(at::equal(batch, kept));
  Minibatches spoilt(10, 6);
  spoilt.next(4).zero_();
  spoilt.resume({});
  EXPECT_TRUE(at::equal(spoilt.next(4), kept));
}

// Oracle: there is one order of one sample.
TEST(Minibatches, TakeASingleSample) {
  Minibatches minibatches(1, 6);
  EXPECT_TRUE(at::equal(minibatches.next(5), at::zeros({5}, at::kLong)));
  EXPECT_EQ(minibatches.position().epoch, 5);
}

// Oracle: contract.
TEST(Minibatches, RejectWhatIsImpossible) {
  EXPECT_THROW(Minibatches(0, 1), c10::Error);
  Minibatches minibatches(10, 1);
  EXPECT_THROW(minibatches.next(0), c10::Error);
  EXPECT_THROW(minibatches.resume({.epoch = -1, .sample = 0}), c10::Error);
  EXPECT_THROW(minibatches.resume({.epoch = 0, .sample = 10}), c10::Error);
  EXPECT_THROW(minibatches.resume({.epoch = 0, .sample = -1}), c10::Error);
}

}  // namespace
}  // namespace pcxx::data
