#include <gtest/gtest.h>
#include <hwy/targets.h>
#include <pcxx/linalg/products.h>
#include <pcxx/nn/fused.h>

#include <cmath>

#include "support/networks.h"
#include "support/threads.h"

namespace pcxx::linalg {
namespace {

using nn::Activation;
using test::relative_difference;

struct Shape {
  std::int64_t m;
  std::int64_t k;
  std::int64_t n;
};

// Widths of nothing but whole vectors and tiles, of one column or row, and in between; sums longer
// than one pass takes.
const std::vector<Shape> kShapes{{1, 5, 3},    {7, 4, 9},     {8, 1, 1},      {8, 16, 48},
                                 {9, 200, 50}, {20, 20, 20},  {33, 17, 65},   {64, 128, 32},
                                 {97, 3, 24},  {128, 400, 7}, {100, 193, 100}};

at::Tensor random(at::IntArrayRef shape, at::ScalarType dtype) {
  return at::randn(shape, at::kDouble).to(dtype);
}

double tolerance(at::ScalarType dtype) {
  return dtype == at::kDouble ? 1e-13 : 1e-5;
}

// Oracle: LibTorch's matmul in float64.
void expect_product(const at::Tensor& a, const at::Tensor& b) {
  const auto expected = at::matmul(a.to(at::kDouble), b.to(at::kDouble));
  const auto limit = tolerance(a.scalar_type());
  EXPECT_LT(relative_difference(product(a, b).to(at::kDouble), expected), limit);
  const auto start = at::randn(expected.sizes(), a.options());
  auto out = start.clone();
  product_out(out, a, b, -0.5, 1);
  EXPECT_LT(relative_difference(out.to(at::kDouble), start - 0.5 * expected), limit);
}

class Products : public testing::TestWithParam<std::tuple<std::int64_t, at::ScalarType>> {
 protected:
  void SetUp() override { hwy::GetChosenTarget().Update(std::get<0>(GetParam())); }
  void TearDown() override { hwy::GetChosenTarget().Update(hwy::SupportedTargets()); }

  at::ScalarType dtype() const { return std::get<1>(GetParam()); }
};

TEST_P(Products, AreThoseOfLibTorchInEveryLayout) {
  for (const auto& [m, k, n] : kShapes) {
    SCOPED_TRACE(testing::Message() << m << " x " << k << " x " << n);
    expect_product(random({m, k}, dtype()), random({k, n}, dtype()));
    expect_product(random({k, m}, dtype()).t(), random({n, k}, dtype()).t());
    expect_product(random({2 * m, k + 3}, dtype()).slice(0, m).slice(1, 3),
                   random({k, 2 * n}, dtype()).slice(1, 0, 2 * n, 2));
    expect_product(random({3, m, k}, dtype()), random({3, n, k}, dtype()).mT());
    expect_product(random({m, k}, dtype()).expand({3, m, k}), random({3, k, n}, dtype()));
  }
}

// Oracle: LibTorch's matmul in float64.
TEST_P(Products, OfALayerForwardAndBackward) {
  for (const auto& [m, k, n] : kShapes) {
    for (const std::int64_t batch_size : {std::int64_t{1}, m}) {
      const auto weight = random({n, k}, dtype());
      const auto x = random({batch_size, k}, dtype());
      const auto e = random({batch_size, n}, dtype());
      const auto w = weight.to(at::kDouble);
      EXPECT_LT(relative_difference(forward_product(x, weight).to(at::kDouble),
                                    at::matmul(x.to(at::kDouble), w.t())),
                tolerance(dtype()));
      EXPECT_LT(relative_difference(backward_product(e, weight).to(at::kDouble),
                                    at::matmul(e.to(at::kDouble), w)),
                tolerance(dtype()));
    }
  }
}

// Contract: neighbours of a result that is part of a larger matrix stay as they are, and what the
// result held before is not read.
TEST_P(Products, WriteTheirResultAlone) {
  auto whole = at::full({20, 60}, std::nan(""), dtype());
  auto part = whole.slice(0, 3, 16).slice(1, 5, 42);
  const auto a = random({13, 30}, dtype());
  const auto b = random({30, 37}, dtype());
  product_out(part, a, b);
  EXPECT_LT(relative_difference(part.to(at::kDouble), product(a, b).to(at::kDouble)),
            tolerance(dtype()));
  EXPECT_EQ(whole.isnan().sum().item<std::int64_t>(), 20 * 60 - 13 * 37);
}

// Oracle: LibTorch's matmul in float64, and the invariant that an element and its mirror image are
// the same bits.
TEST_P(Products, OfAMatrixWithItselfAreSymmetric) {
  for (const std::int64_t m : {1, 7, 48, 49, 130}) {
    for (const auto& a : {random({m, 33}, dtype()), random({33, m}, dtype()).t(),
                          random({3, m, 20}, dtype()), random({2, 3, m, 20}, dtype())}) {
      const auto found = gram(a);
      const auto exact = a.to(at::kDouble);
      EXPECT_LT(relative_difference(found.to(at::kDouble), at::matmul(exact, exact.mT())),
                tolerance(dtype()));
      EXPECT_TRUE(at::equal(found, found.mT()));
      if (a.dim() > 3) continue;
      const auto before = random({m, m}, dtype());
      auto out = (before + before.mT()).expand_as(found).clone();
      const auto sum = out.to(at::kDouble) * 0.5 - 2 * at::matmul(exact, exact.mT());
      gram_out(out, a, -2, 0.5);
      EXPECT_LT(relative_difference(out.to(at::kDouble), sum), tolerance(dtype()));
    }
  }
}

// Oracle: LibTorch's matmul in float64.
TEST_P(Products, WithDimensionsInFront) {
  const auto a = random({2, 3, 9, 20}, dtype());
  const auto b = random({2, 3, 20, 11}, dtype());
  const auto expected = at::matmul(a.to(at::kDouble), b.to(at::kDouble));
  EXPECT_LT(relative_difference(product(a, b).to(at::kDouble), expected), tolerance(dtype()));
}

// Oracle: its three parts, one after the other; one sample (of W's tiles a whole number, and not)
// and several.
TEST_P(Products, OfAnOutputLayerThereAndBack) {
  const auto limit = tolerance(dtype());
  for (const std::int64_t n : {5, 32, 47}) {
    for (const std::int64_t batch_size : {1, 9}) {
      for (const auto activation : {Activation::kIdentity, Activation::kSigmoid}) {
        const auto weight = random({n, 20}, dtype());
        const auto x = random({batch_size, 20}, dtype());
        const auto target = random({batch_size, n}, dtype());
        auto a = at::empty_like(target), r = at::empty_like(target), h = at::Tensor();
        if (activation != Activation::kIdentity) h = at::empty_like(target);
        auto squares = at::empty({batch_size}, target.options()), delta = at::empty_like(x);
        nn::fused::output_round_trip(x, weight, target, activation, a, r, h, squares, delta);

        const auto output = nn::activate(at::matmul(x, weight.t()), activation);
        const auto residual = target - output;
        auto back = residual.clone();
        nn::multiply_slope_(back, output, activation);
        EXPECT_LT(relative_difference(a, output), limit);
        EXPECT_LT(relative_difference(r, residual), limit);
        EXPECT_LT(relative_difference(squares, residual.square().sum(-1)), limit);
        EXPECT_LT(relative_difference(delta, at::matmul(back, weight)), limit);
        if (h.defined()) {
          EXPECT_LT(relative_difference(h, back), limit);
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, Products,
                         testing::Combine(testing::ValuesIn(hwy::SupportedAndGeneratedTargets()),
                                          testing::Values(at::kFloat, at::kDouble)));

// Invariant: the number of threads does not change a bit.
TEST(Products, DoNotDependOnTheNumberOfThreads) {
  const auto a = random({150, 300}, at::kDouble);
  const auto b = random({300, 401}, at::kDouble);
  const auto members = random({5, 100, 300}, at::kDouble);
  const auto shared = b.expand({5, 300, 401});
  const auto products = [&](int count) {
    const test::Threads threads(count);
    return std::pair(product(a, b), product(members, shared));
  };
  const auto [one, one_each] = products(1);
  const auto [three, three_each] = products(3);
  EXPECT_TRUE(at::equal(one, three));
  EXPECT_TRUE(at::equal(one_each, three_each));
}

}  // namespace
}  // namespace pcxx::linalg
