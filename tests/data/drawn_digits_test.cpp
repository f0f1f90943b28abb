#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <pcxx/data/drawn_digits.h>

#include <cmath>
#include <cstdlib>
#include <vector>

#include "support/threads.h"

namespace pcxx::data {
namespace {

bool same(const Images& a, const Images& b) {
  return at::equal(a.pixels, b.pixels) && at::equal(a.labels, b.labels);
}

Images part(const Images& images, std::int64_t first, std::int64_t count) {
  return {.pixels = images.pixels.slice(0, first, first + count),
          .labels = images.labels.slice(0, first, first + count)};
}

// The share of `images` that have the label of the nearest of `examples`.
double nearest_neighbour_accuracy(const Images& images, const Images& examples) {
  const auto distances = at::cdist(images.values(at::kFloat), examples.values(at::kFloat));
  const auto labels = examples.labels.index_select(0, distances.argmin(1));
  return (labels == images.labels).to(at::kDouble).mean().item<double>();
}

// Oracle: the header's shapes and ranges.
TEST(DrawnDigits, AreLabelledImages) {
  const auto digits = drawn_digits(500, 1);
  EXPECT_EQ(digits.size(), 500);
  EXPECT_EQ(digits.features(), 784);
  EXPECT_EQ(digits.rows, 28);
  EXPECT_EQ(digits.columns, 28);
  EXPECT_EQ(digits.pixels.scalar_type(), at::kByte);
  EXPECT_EQ(digits.labels.scalar_type(), at::kLong);
  EXPECT_EQ(digits.labels.min().item<std::int64_t>(), 0);
  EXPECT_EQ(digits.labels.max().item<std::int64_t>(), 9);
  EXPECT_EQ(digits.pixels.min().item<std::int64_t>(), 0);
  EXPECT_GT(digits.pixels.amax(1).min().item<std::int64_t>(), 200) << "a digit without ink";
}

// Invariant: sample i is a function of (seed, i), whatever the count and the first sample.
TEST(DrawnDigits, DependOnSeedAndIndexAlone) {
  const auto digits = drawn_digits(300, 7);
  EXPECT_TRUE(same(drawn_digits(300, 7), digits));
  EXPECT_TRUE(same(drawn_digits(20, 7), part(digits, 0, 20)));
  EXPECT_TRUE(same(drawn_digits(1, 7, 299), part(digits, 299, 1)));
  EXPECT_TRUE(same(drawn_digits(130, 7, 65), part(digits, 65, 130)));
}

// Invariant: bitwise the same on one and on several threads.
TEST(DrawnDigits, DoNotDependOnThreads) {
  const auto draw = [](int threads) {
    const test::Threads count(threads);
    return drawn_digits(1000, 3, 50);
  };
  EXPECT_TRUE(same(draw(1), draw(4)));
}

// Oracle: counting. No digit is drawn twice, in one seed or in two.
TEST(DrawnDigits, AreAllDifferent) {
  const auto digits = at::cat({drawn_digits(1000, 1).pixels, drawn_digits(1000, 2).pixels,
                               drawn_digits(1000, 1, 60'000).pixels});
  EXPECT_EQ(std::get<0>(at::unique_dim(digits, 0)).size(0), 3000);
}

// Oracle: statistics of uniform, independent labels. Chi squared of n counts has mean k - 1 and
// variance 2 (k - 1): of the 10 labels, of the 100 pairs of neighbours, and of the 100 pairs of the
// same sample in two seeds. Beyond 6 standard deviations lies less than 1e-4.
TEST(DrawnDigits, HaveUniformlyRandomLabels) {
  const auto first = drawn_digits(20'000, 1).labels;
  const auto second = drawn_digits(20'000, 2).labels;
  const auto expect_uniform = [](const at::Tensor& values, std::int64_t k) {
    const auto expected = static_cast<double>(values.numel()) / static_cast<double>(k);
    const auto counts = at::bincount(values, {}, k).to(at::kDouble);
    const auto chi_squared = (counts - expected).square().sum().item<double>() / expected;
    const auto freedom = static_cast<double>(k - 1);
    EXPECT_LT(chi_squared, freedom + 6 * std::sqrt(2 * freedom));
  };
  expect_uniform(first, 10);
  expect_uniform(10 * first.slice(0, 0, -1) + first.slice(0, 1), 100);
  expect_uniform(10 * first + second, 100);
}

// Oracle: the header's numbers. Boxes of about 20 x 20 pixels, centre of mass in the middle up to
// the shift of a pixel (and what thick strokes move it), an eighth of the area is ink.
TEST(DrawnDigits, AreAsLargeAsMnists) {
  const auto ink = drawn_digits(3000, 1).values(at::kDouble).view({-1, 28, 28});
  const auto inked = [&](std::int64_t along) { return ink.amax(along).gt(0).sum(1); };
  const auto larger = at::maximum(inked(1), inked(2)).to(at::kDouble);
  EXPECT_GE(larger.min().item<double>(), 17);
  EXPECT_LE(larger.max().item<double>(), 23);
  EXPECT_NEAR(larger.mean().item<double>(), 20, 1);

  const auto middles = at::arange(28, at::kDouble) + 0.5;
  for (const std::int64_t along : {1, 2}) {
    const auto centre = (ink.sum(along) * middles).sum(1) / ink.sum({1, 2});
    EXPECT_LT((centre - 14).abs().max().item<double>(), 2);
    EXPECT_NEAR(centre.mean().item<double>(), 14, 0.1);
  }
  EXPECT_NEAR(ink.mean().item<double>(), 0.125, 0.01);
}

// Oracle: other drawn digits. A label names what is drawn: the nearest of 3,000 others has it too.
TEST(DrawnDigits, LookLikeTheirLabels) {
  EXPECT_GT(nearest_neighbour_accuracy(drawn_digits(500, 1), drawn_digits(3000, 2)), 0.97);
}

// Oracle: handwriting. The nearest of MNIST's 10,000 test digits has the same label for 91 to 92 %
// of 2,000 drawn digits (three seeds), where chance gives 10 %.
TEST(DrawnDigits, LookLikeHandwriting) {
  if (std::getenv("PCXX_DATA_DIR") == nullptr || !find_data_folder(std::nullopt, "mnist")) {
    GTEST_SKIP() << "PCXX_DATA_DIR has no mnist/";
  }
  const auto mnist = load_images("mnist", Split::kTest);
  EXPECT_GT(nearest_neighbour_accuracy(drawn_digits(1000, 1), mnist), 0.85);
}

// Oracle: contract.
TEST(DrawnDigits, RejectWhatIsImpossible) {
  EXPECT_THROW(drawn_digits(0, 1), c10::Error);
  EXPECT_THROW(drawn_digits(5, 1, -1), c10::Error);
}

}  // namespace
}  // namespace pcxx::data
