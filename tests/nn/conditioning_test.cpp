#include <gtest/gtest.h>
#include <pcxx/core/random.h>
#include <pcxx/nn/conditioning.h>

#include <cmath>
#include <limits>

#include "support/networks.h"

namespace pcxx::nn {
namespace {

using test::relative_difference;
using Shape = std::vector<std::int64_t>;

const std::vector<double> kConditions{1, 2, 10, 50, 1e3, 1e4, 1e5, 1e7, 1e9, 1e12};

at::Tensor random_matrix(const Shape& shape, std::uint64_t seed = 1) {
  return at::empty(shape, at::kDouble).normal_(0, 1, make_generator(seed, Purpose::kWeights));
}

// Eq. 31 and 32 written out: the spectrum with the Frobenius norm of `weight`, [k].
at::Tensor expected_spectrum(const at::Tensor& weight, double kappa) {
  const auto k = std::min(weight.size(0), weight.size(1));
  std::vector<double> sigma;
  double squares = 0;
  for (std::int64_t i = 1; i <= k; ++i) {
    const double share = static_cast<double>(i - 1) / static_cast<double>(k - 1);
    sigma.push_back(kappa - (kappa - 1) * share);
    squares += sigma.back() * sigma.back();
  }
  return at::tensor(sigma, at::kDouble) * (weight.norm().item<double>() / std::sqrt(squares));
}

// Oracle: eq. 31 and 32. Rounding moves a singular value by a few eps times the largest.
TEST(ConditionNumber, ReplacesTheSpectrum) {
  for (const auto& shape :
       {Shape{20, 20}, Shape{12, 30}, Shape{30, 12}, Shape{2, 2}, Shape{2, 5}}) {
    const auto weight = random_matrix(shape);
    for (const double kappa : kConditions) {
      SCOPED_TRACE(c10::str(shape, ", kappa ", kappa));
      const auto changed = with_condition_number(weight, kappa);
      const auto expected = expected_spectrum(weight, kappa);
      const auto largest = expected[0].item<double>();
      EXPECT_LT((at::linalg_svdvals(changed) - expected).abs().max().item<double>(),
                1e-14 * largest);
      EXPECT_NEAR(changed.norm().item<double>() / weight.norm().item<double>(), 1, 1e-10);
    }
  }
}

// Oracle: kappa itself. The smallest singular value is known to eps x kappa, relative to it.
TEST(ConditionNumber, IsTheOneAskedFor) {
  for (const auto& shape : {Shape{20, 20}, Shape{12, 30}, Shape{3, 30, 12}}) {
    for (const double kappa : kConditions) {
      const auto found = condition_number(with_condition_number(random_matrix(shape), kappa));
      EXPECT_LT((found / kappa - 1).abs().max().item<double>(), 1e-13 + 1e-14 * kappa) << kappa;
    }
  }
}

// Oracle: singular vectors are the same, in the same order, exactly if W'^T W and W W'^T are
// symmetric and the trace of W^T W' is the sum of products of singular values in order (the most
// there can be).
TEST(ConditionNumber, KeepsTheSingularVectors) {
  for (const auto& shape : {Shape{20, 20}, Shape{12, 30}, Shape{30, 12}}) {
    const auto weight = random_matrix(shape);
    for (const double kappa : kConditions) {
      SCOPED_TRACE(c10::str(shape, ", kappa ", kappa));
      const auto changed = with_condition_number(weight, kappa);
      const auto inner = at::matmul(weight.t(), changed);
      const auto outer = at::matmul(weight, changed.t());
      EXPECT_LT(relative_difference(inner, inner.t()), 1e-12);
      EXPECT_LT(relative_difference(outer, outer.t()), 1e-12);
      const auto most =
          (at::linalg_svdvals(weight) * expected_spectrum(weight, kappa)).sum().item<double>();
      EXPECT_NEAR(inner.trace().item<double>() / most, 1, 1e-12);
    }
  }
}

// Oracle: the matrix itself. A row or a column has one singular value; the copy is its own.
TEST(ConditionNumber, LeavesRowsAndColumnsUnchanged) {
  for (const auto& shape : {Shape{1, 5}, Shape{5, 1}, Shape{1, 1}, Shape{3, 1, 4}}) {
    const auto weight = random_matrix(shape);
    const auto changed = with_condition_number(weight, 50);
    EXPECT_TRUE(at::equal(changed, weight));
    EXPECT_NE(changed.data_ptr(), weight.data_ptr());
    EXPECT_LT((condition_number(weight) - 1).abs().max().item<double>(), 1e-14);
  }
}

// Oracle: each matrix of the stack alone.
TEST(ConditionNumber, TakesStacksOfMatrices) {
  const auto weights = random_matrix({3, 2, 6, 8});
  const auto changed = with_condition_number(weights, 7);
  const auto found = condition_number(weights);
  ASSERT_EQ(changed.sizes(), weights.sizes());
  ASSERT_EQ(found.sizes(), Shape({3, 2}));
  for (std::int64_t i = 0; i < 3; ++i) {
    for (std::int64_t j = 0; j < 2; ++j) {
      EXPECT_LT(relative_difference(changed[i][j], with_condition_number(weights[i][j], 7)), 1e-13);
      EXPECT_NEAR(found[i][j].item<double>() / condition_number(weights[i][j]).item<double>(), 1,
                  1e-12);
    }
  }
}

// Oracle: the float64 result, cast; the input keeps its values.
TEST(ConditionNumber, IsComputedInFloat64) {
  const auto weight = random_matrix({9, 6}).to(at::kFloat);
  const auto before = weight.clone();
  const auto changed = with_condition_number(weight, 1e4);
  EXPECT_EQ(changed.scalar_type(), at::kFloat);
  EXPECT_TRUE(
      at::equal(changed, with_condition_number(weight.to(at::kDouble), 1e4).to(at::kFloat)));
  EXPECT_TRUE(at::equal(weight, before));
  EXPECT_EQ(condition_number(weight).scalar_type(), at::kDouble);
}

// Oracle: a diagonal matrix.
TEST(ConditionNumber, OfADiagonalMatrixIsTheRatioOfItsEnds) {
  const auto weight = at::diag(at::tensor({0.5, -8.0, 2.0}, at::kDouble));
  EXPECT_NEAR(condition_number(weight).item<double>(), 16, 1e-13);
}

// Oracle: with_condition_number of each layer; biases and the parameters' identity stay.
TEST(ConditionNumber, IsSetInEveryLayer) {
  for (const auto& options :
       {mlp({6, 8, 1, 5}).with_bias(), mlp({6, 8, 5}).ensemble(3), linear_residual(6, 2)}) {
    auto network = test::random_network(options);
    const auto before = std::dynamic_pointer_cast<NetworkImpl>(network->clone());
    const auto first = network->dense(1).weight;
    set_condition_number_(*network, 30);
    EXPECT_TRUE(network->dense(1).weight.is_same(first));
    for (std::size_t l = 1; l <= network->size(); ++l) {
      EXPECT_TRUE(
          at::equal(network->dense(l).weight, with_condition_number(before->dense(l).weight, 30)));
      EXPECT_TRUE(network->dense(l).weight.requires_grad());
      if (network->dense(l).bias.defined()) {
        EXPECT_TRUE(at::equal(network->dense(l).bias, before->dense(l).bias));
      }
    }
  }
}

// Oracle: contract.
TEST(ConditionNumber, IsAtLeastOne) {
  const auto weight = random_matrix({3, 3});
  EXPECT_THROW(with_condition_number(weight, 0.5), c10::Error);
  EXPECT_THROW(with_condition_number(weight, -2), c10::Error);
  EXPECT_THROW(with_condition_number(weight, std::nan("")), c10::Error);
  EXPECT_THROW(with_condition_number(weight, std::numeric_limits<double>::infinity()), c10::Error);
}

}  // namespace
}  // namespace pcxx::nn
