#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <pcxx/core/random.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <array>
#include <cmath>
#include <set>
#include <vector>

namespace pcxx {
namespace {

constexpr std::array kPurposes{Purpose::kWeights, Purpose::kTeacher, Purpose::kInputs,
                               Purpose::kTargets, Purpose::kNoise,   Purpose::kShuffle,
                               Purpose::kDigits,  Purpose::kHeldOut};

at::Tensor draw(std::uint64_t seed, Purpose purpose, std::int64_t count) {
  return at::empty({count}, at::kDouble).normal_(0, 1, make_generator(seed, purpose));
}

// Oracle: contract. A generator is a function of (seed, purpose), and on the CPU.
TEST(MakeGenerator, RepeatsItself) {
  EXPECT_TRUE(make_generator(3, Purpose::kNoise).device().is_cpu());
  EXPECT_TRUE(at::equal(draw(3, Purpose::kNoise, 100), draw(3, Purpose::kNoise, 100)));
}

// Oracle: contract. Neither the library's global generator nor another stream plays a part.
TEST(MakeGenerator, IsUntouchedByOtherGenerators) {
  const auto expected = draw(5, Purpose::kInputs, 100);
  torch::manual_seed(99);
  torch::rand({1000});
  auto generator = make_generator(5, Purpose::kInputs);
  draw(5, Purpose::kWeights, 1000);
  EXPECT_TRUE(at::equal(at::empty({100}, at::kDouble).normal_(0, 1, generator), expected));

  const auto& global = at::globalContext().defaultGenerator(at::kCPU);
  const auto before = global.get_state();
  draw(5, Purpose::kInputs, 1000);
  EXPECT_TRUE(at::equal(global.get_state(), before));
}

// Oracle: counting. The first draw differs for every (seed, purpose) of 0..999 and some large
// seeds.
TEST(MakeGenerator, GivesEverySeedAndPurposeAStreamOfItsOwn) {
  std::set<double> first;
  std::size_t streams = 0;
  const auto add = [&](std::uint64_t seed) {
    for (const auto purpose : kPurposes) {
      auto generator = make_generator(seed, purpose);
      first.insert(at::empty({1}, at::kDouble).uniform_(0, 1, generator).item<double>());
      ++streams;
    }
  };
  for (std::uint64_t seed = 0; seed < 1000; ++seed) add(seed);
  for (int bit = 10; bit < 64; ++bit) add(std::uint64_t{1} << bit);
  add(~std::uint64_t{0});
  EXPECT_EQ(first.size(), streams);
}

// Oracle: statistics. The correlation of two unrelated streams of n = 20,000 numbers is
// N(0, 1/n); of all pairs of 5 seeds x 8 purposes (780) the largest stays within 5 standard
// deviations, with 0.9995 probability.
TEST(MakeGenerator, GivesUnrelatedStreams) {
  constexpr std::int64_t n = 20'000;
  std::vector<at::Tensor> streams;
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    for (const auto purpose : kPurposes) streams.push_back(draw(seed, purpose, n));
  }
  const auto x = at::stack(streams);
  const auto correlations = at::triu(at::matmul(x, x.t()) / n, 1);
  EXPECT_LT(correlations.abs().max().item<double>(), 5 / std::sqrt(static_cast<double>(n)));
}

}  // namespace
}  // namespace pcxx
