// The matrix product of our own, on every processor: product() takes it on some of them only.

#include "linalg/gemm.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include "support/networks.h"

namespace pcxx::linalg {
namespace {

class Gemm : public testing::TestWithParam<std::int64_t> {
 protected:
  void SetUp() override { hwy::GetChosenTarget().Update(GetParam()); }
  void TearDown() override { hwy::GetChosenTarget().Update(hwy::SupportedTargets()); }
};

template <typename T>
gemm::Matrix<T> view(const at::Tensor& t) {
  return {static_cast<T*>(t.data_ptr()), t.stride(0), t.stride(1)};
}

// Oracle: LibTorch's matmul in float64, for sums of one pass and of several.
template <typename T>
void expect_matmul(at::ScalarType dtype, double tolerance) {
  const auto random = [&](std::int64_t rows, std::int64_t cols) {
    return at::randn({rows, cols}, at::kDouble).to(dtype);
  };
  for (const std::int64_t m : {1, 9, 97}) {
    for (const std::int64_t k : {1, 50, 400}) {
      for (const std::int64_t n : {1, 24, 65}) {
        SCOPED_TRACE(testing::Message() << m << " x " << k << " x " << n);
        for (const bool transposed : {false, true}) {
          const auto a = transposed ? random(k, m).t() : random(m, k);
          const auto b = transposed ? random(n, k).t() : random(k, n);
          const auto c = random(m, n);
          const auto product = at::matmul(a.to(at::kDouble), b.to(at::kDouble));
          const auto before = c.to(at::kDouble).clone();
          gemm::run(gemm::Product<T>{m, n, k, T(-0.5), view<const T>(a), view<const T>(b), T(0.3),
                                     view<T>(c)});
          // Of the terms, which may cancel.
          const auto scale = 0.3 * before.norm() + 0.5 * product.norm();
          const auto difference = c.to(at::kDouble) - (0.3 * before - 0.5 * product);
          EXPECT_LT(at::Tensor(difference.norm() / scale).template item<double>(), tolerance);
        }
      }
    }
  }
}

TEST_P(Gemm, IsMatmul) {
  expect_matmul<float>(at::kFloat, 1e-5);
  expect_matmul<double>(at::kDouble, 1e-13);
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, Gemm,
                         testing::ValuesIn(hwy::SupportedAndGeneratedTargets()));

}  // namespace
}  // namespace pcxx::linalg
