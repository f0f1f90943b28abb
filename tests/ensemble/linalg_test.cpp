#include "ensemble/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ensemble/linalg_test.cpp"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// After foreach_target.
#include <ATen/ATen.h>
#include <hwy/aligned_allocator.h>
#include <hwy/highway.h>

#include <tuple>

#include "ensemble/linalg-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pcxx::ensemble::HWY_NAMESPACE {

// A batch of matrices [W, m, n], one a lane, as an interleaved one, and back.
template <typename T>
class Interleaved {
 public:
  explicit Interleaved(const at::Tensor& batch)
      : Interleaved(batch.size(0), batch.size(1), batch.size(2)) {
    const auto plain = batch.contiguous();
    const T* from = plain.const_data_ptr<T>();
    for (Index lane = 0; lane < lanes_; ++lane) {
      for (Index i = 0; i < view_.rows; ++i) {
        for (Index j = 0; j < view_.cols; ++j) view_.at(i, j)[lane] = *from++;
      }
    }
  }
  Interleaved(Index lanes, Index rows, Index cols)
      : lanes_(lanes),
        data_(hwy::AllocateAligned<T>(static_cast<std::size_t>(footprint(rows, cols, lanes)))),
        view_(matrix_at(data_.get(), rows, cols, lanes)) {}

  const Matrix<T>& view() const { return view_; }
  T* data() const { return data_.get(); }

  at::Tensor tensor() const {
    auto batch = at::empty({lanes_, view_.rows, view_.cols}, c10::CppTypeToScalarType<T>::value);
    T* to = batch.template data_ptr<T>();
    for (Index lane = 0; lane < lanes_; ++lane) {
      for (Index i = 0; i < view_.rows; ++i) {
        for (Index j = 0; j < view_.cols; ++j) *to++ = view_.at(i, j)[lane];
      }
    }
    return batch;
  }

 private:
  Index lanes_;
  hwy::AlignedFreeUniquePtr<T[]> data_;
  Matrix<T> view_;
};

template <typename T>
using Tag = hn::ScalableTag<T>;

template <typename T>
at::Tensor product_of(const at::Tensor& a, bool a_t, const at::Tensor& b, bool b_t) {
  const Interleaved<T> left(a);
  const Interleaved<T> right(b);
  const auto x = a_t ? left.view().t() : left.view();
  const auto y = b_t ? right.view().t() : right.view();
  const Interleaved<T> out(a.size(0), x.rows, y.cols);
  multiply(Tag<T>(), x, y, out.view());
  return out.tensor();
}

// source + scale a b, over the source itself.
template <typename T>
at::Tensor sum_of(const at::Tensor& a, const at::Tensor& b, const at::Tensor& source,
                  const at::Tensor& scale) {
  const Tag<T> d;
  const Interleaved<T> out(source);
  const Interleaved<T> factor(scale.view({-1, 1, 1}));
  multiply_add(d, Interleaved<T>(a).view(), Interleaved<T>(b).view(), out.view(),
               hn::Load(d, factor.data()), out.view());
  return out.tensor();
}

// a^-1 b for positive definite a.
template <typename T>
at::Tensor cholesky_solution(const at::Tensor& a, const at::Tensor& b) {
  const Tag<T> d;
  const Interleaved<T> factor(a);
  const Interleaved<T> x(b);
  cholesky(d, factor.view());
  solve_cholesky(d, factor.view(), x.view());
  return x.tensor();
}

// b a^-1 for any a.
template <typename T>
at::Tensor qr_solution(const at::Tensor& a, const at::Tensor& b) {
  const Tag<T> d;
  const Interleaved<T> factor(a);
  const Interleaved<T> x(b);
  const Interleaved<T> tau(a.size(0), a.size(1), 1);
  factorise_qr(d, factor.view(), tau.data());
  solve_qr_transposed(d, factor.view(), tau.data(), x.view().t());
  return x.tensor();
}

// [W, 2]
template <typename T>
at::Tensor extremes_of(const at::Tensor& a) {
  const Tag<T> d;
  const auto n = a.size(1);
  const Interleaved<T> matrix(a);
  const Interleaved<T> work(a.size(0), 5 * n, 1);
  const Interleaved<T> result(a.size(0), 2, 1);
  const auto found = extreme_eigenvalues(d, matrix.view(), work.data());
  hn::Store(found.smallest, d, result.view().at(0, 0));
  hn::Store(found.largest, d, result.view().at(1, 0));
  return result.tensor().squeeze(-1);
}

std::int64_t lane_count(bool single) {
  return static_cast<std::int64_t>(single ? hn::Lanes(Tag<float>()) : hn::Lanes(Tag<double>()));
}
at::Tensor product(const at::Tensor& a, bool a_t, const at::Tensor& b, bool b_t) {
  return a.scalar_type() == at::kFloat ? product_of<float>(a, a_t, b, b_t)
                                       : product_of<double>(a, a_t, b, b_t);
}
at::Tensor sum(const at::Tensor& a, const at::Tensor& b, const at::Tensor& source,
               const at::Tensor& scale) {
  return a.scalar_type() == at::kFloat ? sum_of<float>(a, b, source, scale)
                                       : sum_of<double>(a, b, source, scale);
}
at::Tensor solve_positive(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == at::kFloat ? cholesky_solution<float>(a, b)
                                       : cholesky_solution<double>(a, b);
}
at::Tensor solve_from_right(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == at::kFloat ? qr_solution<float>(a, b) : qr_solution<double>(a, b);
}
at::Tensor extremes(const at::Tensor& a) {
  return a.scalar_type() == at::kFloat ? extremes_of<float>(a) : extremes_of<double>(a);
}

}  // namespace pcxx::ensemble::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <gtest/gtest.h>
#include <pcxx/core/random.h>

namespace pcxx::ensemble {
namespace {

HWY_EXPORT(lane_count);
HWY_EXPORT(product);
HWY_EXPORT(sum);
HWY_EXPORT(solve_positive);
HWY_EXPORT(solve_from_right);
HWY_EXPORT(extremes);

// Every test runs under each instruction set that this machine has.
class LaneLinalg : public testing::TestWithParam<std::int64_t> {
 protected:
  void SetUp() override {
    hwy::SetSupportedTargetsForTest(0);
    hwy::SetSupportedTargetsForTest(GetParam());
  }
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }

  at::Tensor draw(std::vector<std::int64_t> shape, at::ScalarType dtype = at::kDouble) {
    shape.insert(shape.begin(), HWY_DYNAMIC_DISPATCH(lane_count)(dtype == at::kFloat));
    return at::empty(shape, at::kDouble).normal_(0, 1, generator_).to(dtype);
  }

  // Symmetric with the given eigenvalues, [W, n].
  at::Tensor with_eigenvalues(const at::Tensor& values) {
    const auto q = std::get<0>(at::linalg_qr(draw({values.size(-1), values.size(-1)})));
    return at::matmul(q * values.unsqueeze(-2), q.mT());
  }

  at::Generator generator_ = make_generator(1, Purpose::kWeights);
};

std::vector<std::int64_t> targets() {
  return hwy::SupportedAndGeneratedTargets();
}
INSTANTIATE_TEST_SUITE_P(Targets, LaneLinalg, testing::ValuesIn(targets()),
                         [](const auto& param_info) { return hwy::TargetName(param_info.param); });

double unit(at::ScalarType dtype) {
  return dtype == at::kFloat ? std::numeric_limits<float>::epsilon()
                             : std::numeric_limits<double>::epsilon();
}

double largest_relative(const at::Tensor& found, const at::Tensor& expected) {
  const auto difference = (found.to(at::kDouble) - expected.to(at::kDouble)).norm(2, {-2, -1});
  return (difference / expected.to(at::kDouble).norm(2, {-2, -1})).max().item<double>();
}

const std::vector<std::int64_t> kSizes = {1, 2, 3, 4, 5, 6, 7, 10, 11, 15, 16, 20, 23, 40};

// Oracle: at::matmul in float64, for every size of register tile and all transpositions.
TEST_P(LaneLinalg, ProductsAreMatmul) {
  std::size_t turn = 0;
  for (const auto dtype : {at::kDouble, at::kFloat}) {
    for (const auto m : kSizes) {
      for (const auto n : kSizes) {
        const auto k = kSizes[turn++ % kSizes.size()];
        const auto a = draw({m, k}, dtype);
        const auto b = draw({k, n}, dtype);
        const auto expected = at::matmul(a.to(at::kDouble), b.to(at::kDouble));
        const auto bound = unit(dtype) * (4 + static_cast<double>(k));
        for (const bool a_t : {false, true}) {
          for (const bool b_t : {false, true}) {
            const auto found = HWY_DYNAMIC_DISPATCH(product)(a_t ? a.mT().contiguous() : a, a_t,
                                                             b_t ? b.mT().contiguous() : b, b_t);
            EXPECT_LT(largest_relative(found, expected), bound) << m << " " << k << " " << n;
          }
        }
      }
    }
  }
}

// Oracle: the formula in float64, one scale per lane.
TEST_P(LaneLinalg, ProductsAreAddedWithAScalePerLane) {
  for (const auto dtype : {at::kDouble, at::kFloat}) {
    const auto a = draw({7, 20}, dtype);
    const auto b = draw({20, 11}, dtype);
    const auto source = draw({7, 11}, dtype);
    const auto scale = draw({}, dtype);
    const auto expected =
        source.to(at::kDouble) +
        scale.to(at::kDouble).view({-1, 1, 1}) * at::matmul(a.to(at::kDouble), b.to(at::kDouble));
    EXPECT_LT(largest_relative(HWY_DYNAMIC_DISPATCH(sum)(a, b, source, scale), expected),
              30 * unit(dtype));
  }
}

// Oracle: LAPACK's solution in float64; forward errors are bounded by condition x rounding.
TEST_P(LaneLinalg, PositiveSystemsAreSolvedAsByLapack) {
  for (const auto n : kSizes) {
    for (const double condition : {1e0, 1e3, 1e8}) {
      const auto values = at::logspace(0, -std::log10(condition), n, 10.0, at::kDouble);
      const auto a = with_eigenvalues(values.expand({HWY_DYNAMIC_DISPATCH(lane_count)(false), n}));
      const auto b = draw({n, 9});
      const auto expected = at::cholesky_solve(b, at::linalg_cholesky(a));
      const auto found = HWY_DYNAMIC_DISPATCH(solve_positive)(a, b);
      EXPECT_LT(largest_relative(found, expected), 1e-14 * condition * static_cast<double>(n)) << n;
      // Backward stable whatever the condition.
      const auto scale = a.norm(2, {-2, -1}) * found.norm(2, {-2, -1});
      const auto residual = (at::matmul(a, found) - b).norm(2, {-2, -1}) / scale;
      EXPECT_LT(residual.max().item<double>(), 1e-15 * static_cast<double>(n + 5)) << n;
    }
  }
}

// Oracle: the defining equation x a = b, whose residual a backward stable method keeps at rounding
// for every condition, and LAPACK's solution where the condition allows.
TEST_P(LaneLinalg, GeneralSystemsAreSolvedAsByLapack) {
  for (const auto dtype : {at::kDouble, at::kFloat}) {
    for (const auto n : kSizes) {
      for (const double condition : {1.0, 1e3, 0.01 / unit(dtype)}) {
        const auto lanes = HWY_DYNAMIC_DISPATCH(lane_count)(dtype == at::kFloat);
        const auto values = at::logspace(0, -std::log10(condition), n, 10.0, at::kDouble);
        const auto q1 =
            std::get<0>(at::linalg_qr(at::randn({lanes, n, n}, generator_, at::kDouble)));
        const auto q2 =
            std::get<0>(at::linalg_qr(at::randn({lanes, n, n}, generator_, at::kDouble)));
        const auto a = at::matmul(q1 * values, q2).to(dtype);
        const auto b = draw({6, n}, dtype);
        const auto found = HWY_DYNAMIC_DISPATCH(solve_from_right)(a, b).to(at::kDouble);
        const auto scale = a.to(at::kDouble).norm(2, {-2, -1}) * found.norm(2, {-2, -1});
        const auto residual =
            (at::matmul(found, a.to(at::kDouble)) - b.to(at::kDouble)).norm(2, {-2, -1}) / scale;
        EXPECT_LT(residual.max().item<double>(), unit(dtype) * static_cast<double>(n + 5)) << n;
        if (condition * unit(dtype) > 1e-3) continue;
        const auto expected = at::linalg_solve(a.to(at::kDouble).mT(), b.to(at::kDouble).mT()).mT();
        EXPECT_LT(largest_relative(found, expected), 10 * unit(dtype) * condition * (n + 5.0)) << n;
      }
    }
  }
}

// Spectra where an iteration may go astray, [W, n]: a different one in every lane.
std::vector<std::pair<std::string, at::Tensor>> spectra(std::int64_t lanes, std::int64_t n,
                                                        const at::Generator& generator) {
  const auto random = at::randn({lanes, n}, generator, at::kDouble);
  const auto clustered = at::where(at::rand({lanes, n}, generator, at::kDouble).gt(0.5),
                                   at::ones({}, at::kDouble), -at::ones({}, at::kDouble));
  auto rank_deficient = random.square();
  rank_deficient.slice(-1, n / 4 + 1).zero_();
  auto one_large = at::ones({lanes, n}, at::kDouble) * 1e-9;
  one_large.select(-1, 0).fill_(1e3);
  return {{"random", random},
          {"positive", random.square()},
          {"negative", -random.square()},
          {"two points", clustered},
          {"two clusters", clustered + 1e-9 * random},
          {"tight clusters", clustered + 1e-13 * random},
          {"rank deficient", rank_deficient},
          {"multiple of I", at::full({lanes, n}, 0.3, at::kDouble)},
          {"graded", at::logspace(0, -16, n, 10.0, at::kDouble).expand({lanes, n})},
          {"one large", one_large},
          {"tiny", 1e-120 * random},
          {"zero", at::zeros({lanes, n}, at::kDouble)}};
}

// Oracle: LAPACK's eigvalsh, to 1e-14 of the norm times n (1e-12 is what the regulariser needs).
TEST_P(LaneLinalg, ExtremeEigenvaluesAreLapacks) {
  for (const auto dtype : {at::kDouble, at::kFloat}) {
    const auto lanes = HWY_DYNAMIC_DISPATCH(lane_count)(dtype == at::kFloat);
    for (const auto n : kSizes) {
      for (const auto& [name, values] : spectra(lanes, n, generator_)) {
        if (dtype == at::kFloat && name == "tiny") continue;
        const auto q =
            std::get<0>(at::linalg_qr(at::randn({lanes, n, n}, generator_, at::kDouble)));
        for (const bool diagonal : {false, true}) {
          const auto full = at::matmul(q * values.unsqueeze(-2), q.mT());
          const auto a = (diagonal ? at::diag_embed(values) : full).to(dtype);
          const auto expected = at::linalg_eigvalsh(a.to(at::kDouble));
          const auto norm = expected.abs().amax(-1);
          const auto bound = norm * (8 * unit(dtype) * (static_cast<double>(n) + 2));
          const auto found = HWY_DYNAMIC_DISPATCH(extremes)(a).to(at::kDouble);
          const auto error = at::maximum((found.select(-1, 0) - expected.select(-1, 0)).abs(),
                                         (found.select(-1, 1) - expected.select(-1, -1)).abs());
          EXPECT_TRUE(error.le(bound).all().item<bool>())
              << name << ", n = " << n << (diagonal ? ", diagonal" : "") << ": "
              << (error / norm).max().item<double>();
        }
      }
    }
  }
}

// Invariant: a lane's result does not depend, to the last bit, on what its neighbours hold, NaN and
// infinities included.
TEST_P(LaneLinalg, LanesDoNotSeeEachOther) {
  const std::int64_t n = 11;
  const auto root = draw({n, n});
  const auto a = at::matmul(root, root.mT());
  const auto b = draw({n, n});
  const auto lanes = a.size(0);
  auto spoilt_a = a.clone();
  auto spoilt_b = b.clone();
  for (std::int64_t lane = 1; lane < lanes; ++lane) {
    const double bad = lane % 3 == 0   ? std::numeric_limits<double>::quiet_NaN()
                       : lane % 3 == 1 ? std::numeric_limits<double>::infinity()
                                       : 0;
    spoilt_a[lane].fill_(bad);
    spoilt_b[lane].fill_(bad);
  }
  const auto same = [](const at::Tensor& x, const at::Tensor& y) { return at::equal(x[0], y[0]); };
  EXPECT_TRUE(same(HWY_DYNAMIC_DISPATCH(product)(a, false, b, true),
                   HWY_DYNAMIC_DISPATCH(product)(spoilt_a, false, spoilt_b, true)));
  EXPECT_TRUE(same(HWY_DYNAMIC_DISPATCH(solve_positive)(a, b),
                   HWY_DYNAMIC_DISPATCH(solve_positive)(spoilt_a, spoilt_b)));
  EXPECT_TRUE(same(HWY_DYNAMIC_DISPATCH(solve_from_right)(b, a),
                   HWY_DYNAMIC_DISPATCH(solve_from_right)(spoilt_b, spoilt_a)));
  EXPECT_TRUE(same(HWY_DYNAMIC_DISPATCH(extremes)(a), HWY_DYNAMIC_DISPATCH(extremes)(spoilt_a)));
}

// Oracle: the definition. A matrix that is not positive definite, or singular, gives no numbers
// that look like a result.
TEST_P(LaneLinalg, FailureIsNotFinite) {
  const auto b = draw({5, 5});
  const auto lanes = b.size(0);
  const auto indefinite = at::diag(at::tensor({1.0, 2.0, -1.0, 1.0, 1.0}, at::kDouble));
  const auto singular = at::diag(at::tensor({1.0, 2.0, 0.0, 1.0, 1.0}, at::kDouble));
  const auto expand = [&](const at::Tensor& a) { return a.expand({lanes, 5, 5}); };
  EXPECT_FALSE(
      HWY_DYNAMIC_DISPATCH(solve_positive)(expand(indefinite), b).isfinite().all().item<bool>());
  EXPECT_FALSE(
      HWY_DYNAMIC_DISPATCH(solve_from_right)(expand(singular), b).isfinite().all().item<bool>());
  EXPECT_TRUE(
      HWY_DYNAMIC_DISPATCH(extremes)(expand(singular) * std::numeric_limits<double>::quiet_NaN())
          .isnan()
          .all()
          .item<bool>());
}

}  // namespace
}  // namespace pcxx::ensemble
#endif
