#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <pcxx/core/random.h>
#include <pcxx/data/batch.h>

#include <vector>

#include "support/networks.h"

namespace pcxx::data {
namespace {

using test::relative_difference;
using Shape = std::vector<std::int64_t>;

at::Tensor normal(const Shape& shape, std::uint64_t seed) {
  return at::empty(shape, at::kDouble).normal_(0, 1, make_generator(seed, Purpose::kInputs));
}

// Targets y = W x + noise, with a map for every member.
Batch teacher_batch(const Shape& rows, std::int64_t n_in, std::int64_t n_out, double noise) {
  Shape in = rows, out = rows, map(rows.begin(), rows.end() - 1);
  in.push_back(n_in);
  out.push_back(n_out);
  map.insert(map.end(), {n_out, n_in});
  const auto x = normal(in, 1);
  return {x, at::matmul(x, normal(map, 2).mT()) + noise * normal(out, 3)};
}

// [x; y]^T [x; y], [.., n_0 + n_L, n_0 + n_L].
at::Tensor second_moments(const at::Tensor& input, const at::Tensor& target) {
  const auto both = at::cat({input, target}, -1);
  return at::matmul(both.mT(), both);
}

void expect_same_moments(const Batch& found, const Batch& batch, double tolerance) {
  EXPECT_LT(relative_difference(second_moments(found.input, found.target),
                                second_moments(batch.input, batch.target)),
            tolerance);
  EXPECT_EQ(found.samples, batch.samples);
}

bool is_same(const Batch& a, const Batch& b) {
  return a.input.is_same(b.input) && a.target.is_same(b.target) && a.samples == b.samples;
}

// Oracle: the number of rows from the sizes.
TEST(Batch, CountsItsSamples) {
  EXPECT_EQ(Batch(at::zeros({7, 3}), at::zeros({7, 2})).samples, 7);
  EXPECT_EQ(Batch(at::zeros({4, 7, 3}), at::zeros({4, 7, 2})).samples, 7);
  EXPECT_EQ(Batch(at::zeros({4, 3}), at::zeros({4, 2}), 99).samples, 99);
}

// Oracle: the second moments by definition. n_0 rows are enough for a teacher's targets.
TEST(Compress, KeepsTheMomentsOfATeacherInAsManyRowsAsInputs) {
  for (const auto& [n_in, n_out] : {std::pair<std::int64_t, std::int64_t>{5, 3}, {3, 6}, {1, 1}}) {
    for (const std::int64_t rows :
         {n_in + 1, n_in + n_out, 4 * (n_in + n_out), std::int64_t{500}}) {
      const auto batch = teacher_batch({rows}, n_in, n_out, 0);
      const auto found = compress(batch);
      EXPECT_EQ(found.input.sizes(), Shape({n_in, n_in}));
      EXPECT_EQ(found.target.sizes(), Shape({n_in, n_out}));
      EXPECT_TRUE(found.input.is_contiguous() && found.target.is_contiguous());
      expect_same_moments(found, batch, 1e-12);
    }
  }
}

// Oracle: the second moments by definition. Other targets take n_0 + n_L rows, however small their
// noise.
TEST(Compress, KeepsTheMomentsOfOtherTargetsInAFewMoreRows) {
  for (const double noise : {1e-9, 0.1, 10.0}) {
    const auto batch = teacher_batch({200}, 5, 3, noise);
    const auto found = compress(batch);
    EXPECT_EQ(found.input.sizes(), Shape({8, 5}));
    EXPECT_EQ(found.target.sizes(), Shape({8, 3}));
    expect_same_moments(found, batch, 1e-12);
  }
  const Batch independent(normal({200, 5}, 1), normal({200, 3}, 2));
  EXPECT_EQ(compress(independent).input.size(0), 8);
  expect_same_moments(compress(independent), independent, 1e-12);
}

// Oracle: contract. A batch that would not become smaller is returned as it is.
TEST(Compress, ReturnsSmallBatchesThemselves) {
  for (const std::int64_t rows : {1, 4, 5}) {
    const auto batch = teacher_batch({rows}, 5, 3, 0);
    EXPECT_TRUE(is_same(compress(batch), batch)) << rows;
  }
  for (const std::int64_t rows : {1, 5, 7, 8}) {
    const auto batch = teacher_batch({rows}, 5, 3, 0.1);
    EXPECT_TRUE(is_same(compress(batch), batch)) << rows;
  }
  EXPECT_EQ(compress(teacher_batch({9}, 5, 3, 0.1)).input.size(0), 8);
}

// Oracle: each member alone. A single member whose targets have noise keeps all rows for all.
TEST(Compress, TakesEnsembles) {
  const auto batch = teacher_batch({3, 60}, 5, 4, 0);
  const auto found = compress(batch);
  EXPECT_EQ(found.input.sizes(), Shape({3, 5, 5}));
  EXPECT_EQ(found.samples, 60);
  auto noisy = batch;
  noisy.target = batch.target.clone();
  noisy.target[1] += 0.1 * normal({60, 4}, 9);
  const auto larger = compress(noisy);
  EXPECT_EQ(larger.input.sizes(), Shape({3, 9, 5}));
  for (std::int64_t r = 0; r < 3; ++r) {
    expect_same_moments({found.input[r], found.target[r], 60}, {batch.input[r], batch.target[r]},
                        1e-12);
    expect_same_moments({larger.input[r], larger.target[r], 60}, {noisy.input[r], noisy.target[r]},
                        1e-12);
  }
}

// Oracle: the shared part repeated by hand.
TEST(Compress, TakesInputsOrTargetsThatMembersShare) {
  const auto x = normal({60, 5}, 1);
  const auto y = normal({3, 60, 4}, 2);
  const auto found = compress(Batch(x, y));
  EXPECT_EQ(found.input.sizes(), Shape({3, 9, 5}));
  expect_same_moments(found, {x.expand({3, 60, 5}), y}, 1e-12);
  const auto shared_target = compress(Batch(y, x));
  EXPECT_EQ(shared_target.target.sizes(), Shape({3, 9, 5}));
  expect_same_moments(shared_target, {y, x.expand({3, 60, 5})}, 1e-12);
}

// Oracle: the second moments. Inputs without full rank (a dead unit, a doubled one), and targets
// that are all zero.
TEST(Compress, TakesDegenerateBatches) {
  auto batch = teacher_batch({60}, 5, 3, 0);
  batch.input.select(1, 2).zero_();
  batch.input.select(1, 4).copy_(batch.input.select(1, 0));
  batch.target = at::matmul(batch.input, normal({3, 5}, 2).t());
  EXPECT_EQ(compress(batch).input.size(0), 5);
  expect_same_moments(compress(batch), batch, 1e-12);
  batch.target = normal({60, 3}, 4);
  EXPECT_EQ(compress(batch).input.size(0), 8);
  expect_same_moments(compress(batch), batch, 1e-12);
  batch.target = at::zeros({60, 3}, at::kDouble);
  EXPECT_EQ(compress(batch).input.size(0), 5);
  expect_same_moments(compress(batch), batch, 1e-12);
}

// Oracle: the second moments, in float32; a teacher is recognised to float32's rounding.
TEST(Compress, KeepsTheDtype) {
  const auto exact = teacher_batch({300}, 20, 10, 0);
  const Batch batch(exact.input.to(at::kFloat), exact.target.to(at::kFloat));
  const auto found = compress(batch);
  EXPECT_EQ(found.input.scalar_type(), at::kFloat);
  EXPECT_EQ(found.input.size(0), 20);
  expect_same_moments(found, batch, 1e-5);
}

// Oracle: the batch itself. Compressing twice is compressing once, and the 1/B stays.
TEST(Compress, IsIdempotent) {
  for (const double noise : {0.0, 0.1}) {
    const auto once = compress(teacher_batch({200}, 5, 3, noise));
    EXPECT_TRUE(is_same(compress(once), once));
    EXPECT_EQ(once.samples, 200);
  }
}

// Oracle: contract.
TEST(Compress, RejectsDifferentNumbersOfRows) {
  EXPECT_THROW(compress(Batch(at::zeros({7, 3}), at::zeros({6, 2}))), c10::Error);
}

}  // namespace
}  // namespace pcxx::data
