#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <hwy/targets.h>
#include <pcxx/core/random.h>
#include <pcxx/nn/fused.h>

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "support/activations.h"
#include "support/threads.h"

namespace pcxx::nn::fused {
namespace {

using test::kActivations;
using Shape = std::vector<std::int64_t>;

const std::vector<at::ScalarType> kTypes{at::kFloat, at::kDouble};

// Every width up to beyond two of the widest vectors, and a long odd one: whole vectors, rests
// and both.
std::vector<std::int64_t> widths() {
  std::vector<std::int64_t> all;
  for (std::int64_t n = 1; n <= 35; ++n) all.push_back(n);
  all.push_back(257);
  return all;
}

double unit(const at::Tensor& t) {
  return t.scalar_type() == at::kFloat ? std::numeric_limits<float>::epsilon()
                                       : std::numeric_limits<double>::epsilon();
}

// Elementwise results: a few rounding units of numbers of size up to 10; sums of n squares: n
// units.
void expect_close(const at::Tensor& found, const at::Tensor& expected) {
  ASSERT_EQ(found.sizes(), expected.sizes());
  ASSERT_EQ(found.scalar_type(), expected.scalar_type());
  const double u = unit(expected);
  EXPECT_TRUE(at::allclose(found, expected, 8 * u, 40 * u, true))
      << "largest difference " << (found - expected).abs().max();
}

void expect_close_sums(const at::Tensor& found, const at::Tensor& expected, std::int64_t width) {
  ASSERT_EQ(found.sizes(), expected.sizes());
  const double u = unit(expected);
  EXPECT_TRUE(at::allclose(found, expected, static_cast<double>(width + 40) * u, 40 * u, true))
      << found << expected;
}

class Numbers {
 public:
  explicit Numbers(at::ScalarType type, std::uint64_t seed = 1)
      : type_(type), generator_(make_generator(seed, Purpose::kInputs)) {}
  at::Tensor normal(Shape shape) {
    return at::empty(shape, at::kDouble).normal_(0, 2, generator_).to(type_);
  }
  at::Tensor steps(Shape rows) {
    return at::empty(rows, at::kDouble).uniform_(0, 0.5, generator_).to(type_);
  }

 private:
  at::ScalarType type_;
  at::Generator generator_;
};

Shape with_width(Shape rows, std::int64_t width) {
  rows.push_back(width);
  return rows;
}

// How the operands lie in memory: as they come, or in a way that the loops do not read.
using Layout = std::function<at::Tensor(const at::Tensor&)>;

at::Tensor as_is(const at::Tensor& t) {
  return t.clone();
}

at::Tensor every_second(const at::Tensor& t) {
  auto sizes = t.sizes().vec();
  sizes.back() *= 2;
  const auto strided = at::zeros(sizes, t.options()).slice(-1, 0, sizes.back(), 2);
  strided.copy_(t);
  return strided;
}

at::Tensor transposed(const at::Tensor& t) {
  return t.dim() < 2 ? t.clone() : t.mT().contiguous().mT();
}

at::Tensor slope_or_one(const at::Tensor& a, Activation activation) {
  const auto f = slope(a, activation);
  return f.defined() ? f : at::ones_like(a);
}

// Each check takes the operands in a layout and compares with plain tensor expressions.

void check_activate_and_add(Numbers numbers, const Shape& rows, std::int64_t width,
                            Activation activation, bool residual, const Layout& layout) {
  const auto shape = with_width(rows, width);
  const auto z = numbers.normal(shape);
  const auto eps = numbers.normal(shape);
  const auto below = residual ? numbers.normal(shape) : at::Tensor();
  const auto f = activate(z, activation);

  auto a = layout(z);
  auto x = layout(at::zeros_like(z));
  const auto eps_operand = layout(eps);
  const auto below_operand = residual ? layout(below) : below;
  activate_and_add(a, eps_operand, below_operand, activation, x);
  expect_close(a, f);
  expect_close(x, residual ? f + eps + below : f + eps);
  EXPECT_TRUE(at::equal(eps_operand, eps));
  if (residual) {
    EXPECT_TRUE(at::equal(below_operand, below));
  }
}

void check_output_error(Numbers numbers, const Shape& rows, std::int64_t width,
                        Activation activation, bool residual, bool with_h, const Layout& layout) {
  const auto shape = with_width(rows, width);
  const auto z = numbers.normal(shape);
  const auto target = numbers.normal(shape);
  const auto below = residual ? numbers.normal(shape) : at::Tensor();
  const auto f = activate(z, activation);
  const auto error = residual ? target - f - below : target - f;

  auto a = layout(z);
  auto r = layout(at::zeros_like(z));
  auto h = with_h ? layout(at::zeros_like(z)) : at::Tensor();
  auto squares = at::full(rows, 99, z.options());
  output_error(a, layout(target), residual ? layout(below) : below, activation, r, h, squares);
  expect_close(a, f);
  expect_close(r, error);
  if (with_h) expect_close(h, error * slope_or_one(f, activation));
  expect_close_sums(squares, error.square().sum(-1), width);
}

enum class Slope { kNone, kOwn, kInPlaceOfDelta };

void check_descend(Numbers numbers, const Shape& rows, std::int64_t width, Activation activation,
                   Slope kind, const Layout& layout) {
  const auto shape = with_width(rows, width);
  const auto errors = numbers.normal(shape);
  const auto deltas = numbers.normal(shape);
  const auto f = activate(numbers.normal(shape), activation);
  const auto step = numbers.steps(rows);
  const auto before = numbers.steps(rows);
  const auto gradient = errors - deltas;

  auto eps = layout(errors);
  const auto delta = layout(deltas);
  const auto a = layout(f);
  auto gradient_squares = before.clone();
  auto error_squares = 2 * before;
  auto h = kind == Slope::kNone  ? at::Tensor()
           : kind == Slope::kOwn ? layout(at::zeros_like(errors))
                                 : delta;
  descend(eps, delta, a, activation, step, gradient_squares, error_squares, h);
  expect_close(eps, errors - step.unsqueeze(-1) * gradient);
  expect_close_sums(gradient_squares, before + gradient.square().sum(-1), width);
  expect_close_sums(error_squares, 2 * before + errors.square().sum(-1), width);
  if (h.defined()) expect_close(h, deltas * slope_or_one(f, activation));
  if (kind != Slope::kInPlaceOfDelta) {
    EXPECT_TRUE(at::equal(delta, deltas));
  }
  EXPECT_TRUE(at::equal(a, f));
}

// The gradient is what a step of descend would have taken.
void check_gradient(Numbers numbers, const Shape& rows, std::int64_t width, Activation activation,
                    const Layout& layout) {
  const auto shape = with_width(rows, width);
  const auto errors = numbers.normal(shape);
  const auto deltas = numbers.normal(shape);
  const auto f = activate(numbers.normal(shape), activation);
  const auto before = numbers.steps(rows);
  const auto eps = layout(errors);
  auto found = layout(at::zeros_like(errors));
  auto gradient_squares = before.clone();
  auto error_squares = 2 * before;
  auto h = layout(at::zeros_like(errors));
  gradient(eps, layout(deltas), layout(f), activation, found, gradient_squares, error_squares, h);
  const auto expected = errors - deltas;
  expect_close(found, expected);
  EXPECT_TRUE(at::equal(eps, errors));
  expect_close_sums(gradient_squares, before + expected.square().sum(-1), width);
  expect_close_sums(error_squares, 2 * before + errors.square().sum(-1), width);
  expect_close(h, deltas * slope_or_one(f, activation));
}

void check_times_slope(Numbers numbers, const Shape& rows, std::int64_t width,
                       Activation activation, const Layout& layout) {
  const auto shape = with_width(rows, width);
  const auto g = layout(numbers.normal(shape));
  const auto before = g.clone();
  const auto f = activate(numbers.normal(shape), activation);
  const auto h = times_slope(g, layout(f), activation);
  expect_close(h, before * slope_or_one(f, activation));
  EXPECT_TRUE(at::equal(g, before));
  EXPECT_EQ(h.is_same(g), activation == Activation::kIdentity);
}

void check_all(at::ScalarType type, const Shape& rows, std::int64_t width, const Layout& layout) {
  const Numbers numbers(type);
  for (const auto activation : kActivations) {
    SCOPED_TRACE(c10::str(name(activation), ", ", type, ", rows ", rows, ", width ", width));
    for (const bool residual : {false, true}) {
      check_activate_and_add(numbers, rows, width, activation, residual, layout);
      check_output_error(numbers, rows, width, activation, residual, true, layout);
      if (activation == Activation::kIdentity) {
        check_output_error(numbers, rows, width, activation, residual, false, layout);
      }
    }
    for (const auto kind : {Slope::kNone, Slope::kOwn, Slope::kInPlaceOfDelta}) {
      check_descend(numbers, rows, width, activation, kind, layout);
      check_gradient(numbers, rows, width, activation, layout);
    }
    check_times_slope(numbers, rows, width, activation, layout);
  }
}

// Oracle: tensor expressions.
TEST(Fused, AreTheirTensorExpressions) {
  for (const auto type : kTypes) {
    for (const auto width : widths()) check_all(type, {3}, width, as_is);
    for (const auto& rows : std::vector<Shape>{{1}, {2, 3}, {2, 1, 4}}) {
      check_all(type, rows, 19, as_is);
    }
  }
}

// Oracle: tensor expressions. Operands that are not contiguous are written through.
TEST(Fused, TakeOperandsThatAreNotContiguous) {
  for (const auto type : kTypes) {
    check_all(type, {3}, 19, every_second);
    check_all(type, {2, 3}, 19, transposed);
  }
}

// Oracle: tensor expressions. A target and an input that all members of an ensemble share are
// expanded views.
TEST(Fused, TakeExpandedOperands) {
  for (const auto type : kTypes) {
    Numbers numbers(type);
    const Shape shape{2, 3, 19};
    const auto shared = numbers.normal({3, 19}).expand(shape);
    const auto z = numbers.normal(shape);
    auto a = z.clone();
    auto r = at::zeros_like(z);
    auto h = at::zeros_like(z);
    auto squares = at::zeros({2, 3}, z.options());
    output_error(a, shared, shared, Activation::kTanh, r, h, squares);
    expect_close(r, -at::tanh(z));
    a = z.clone();
    activate_and_add(a, shared, shared, Activation::kTanh, r);
    expect_close(r, at::tanh(z) + 2 * shared);
  }
}

// PyTorch's activations are the oracle at the ends of the number line too. Every value passes
// through every place of a vector and through the rest of a row.
void check_ends(at::ScalarType type) {
  const double infinity = std::numeric_limits<double>::infinity();
  const std::vector<double> values{0.0,
                                   -0.0,
                                   1e-300,
                                   -1e-300,
                                   1e-8,
                                   -1e-8,
                                   0.5,
                                   -0.5,
                                   5,
                                   -5,
                                   20,
                                   -20,
                                   88,
                                   -88,
                                   104,
                                   -104,
                                   177,
                                   -177,
                                   300,
                                   -300,
                                   709,
                                   -709,
                                   746,
                                   -746,
                                   1e3,
                                   -1e3,
                                   1.5e3,
                                   -3e3,
                                   1e5,
                                   -1e5,
                                   3e9,
                                   -3e9,
                                   1e30,
                                   -1e30,
                                   infinity,
                                   -infinity,
                                   std::numeric_limits<double>::quiet_NaN()};
  const auto row = at::tensor(values, at::kDouble);
  std::vector<at::Tensor> rotated;
  for (std::int64_t i = 0; i < row.numel(); ++i) rotated.push_back(at::roll(row, i));
  const auto z = at::stack(rotated).to(type);
  for (const auto activation : kActivations) {
    SCOPED_TRACE(c10::str(name(activation), ", ", type));
    const auto f = activate(z, activation);
    auto a = z.clone();
    auto x = at::zeros_like(z);
    activate_and_add(a, at::zeros_like(z), {}, activation, x);
    expect_close(a, f);
    expect_close(x, f);
    a = z.clone();
    auto h = at::zeros_like(z);
    auto squares = at::zeros({z.size(0)}, z.options());
    output_error(a, at::zeros_like(z), {}, activation, x, h, squares);
    expect_close(a, f);
    expect_close(x, -f);
  }
}

// Oracle: PyTorch's activations.
TEST(Fused, ActivateLargeNumbersInfinitiesAndNaN) {
  for (const auto type : kTypes) check_ends(type);
}

// Oracle: tensor expressions, for every instruction set of this processor that the loops are
// compiled for.
TEST(Fused, AreTheirTensorExpressionsOnEveryInstructionSet) {
  for (const auto target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::GetChosenTarget().Update(target);
    for (const auto type : kTypes) {
      for (const std::int64_t width : {1, 19, 35}) check_all(type, {3}, width, as_is);
      check_ends(type);
    }
  }
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

// All results of the four operations on one set of operands.
std::vector<at::Tensor> results(at::ScalarType type, Activation activation, std::int64_t first_row,
                                std::int64_t rows) {
  Numbers numbers(type);
  const Shape shape{600, 257};
  const auto operand = [&] {
    return numbers.normal(shape).slice(0, first_row, first_row + rows).clone();
  };
  auto a = operand(), eps = operand(), below = operand(), target = operand(), delta = operand();
  auto x = at::zeros_like(a), r = at::zeros_like(a), h = at::zeros_like(a);
  auto squares = at::zeros({rows}, a.options());
  auto gradient_squares = squares.clone(), error_squares = squares.clone();
  const auto step = at::full_like(squares, 0.1);
  auto output = a.clone();
  activate_and_add(a, eps, below, activation, x);
  output_error(output, target, below, activation, r, h, squares);
  descend(eps, delta, a, activation, step, gradient_squares, error_squares, delta);
  return {a,
          x,
          output,
          r,
          h,
          squares,
          eps,
          delta,
          gradient_squares,
          error_squares,
          times_slope(r, a, activation)};
}

// Invariant: bitwise the same on one and on several threads, and for a row alone, of activations
// that have loops.
TEST(Fused, ARowDoesNotDependOnThreadsOrOtherRows) {
  for (const auto type : kTypes) {
    for (const auto activation : kActivations) {
      if (activation.function().loops == FusedLoops::kNone) continue;
      SCOPED_TRACE(c10::str(name(activation), ", ", type));
      std::vector<at::Tensor> one;
      {
        const test::Threads threads(1);
        one = results(type, activation, 0, 600);
      }
      const test::Threads threads(4);
      const auto four = results(type, activation, 0, 600);
      const auto alone = results(type, activation, 413, 1);
      for (std::size_t i = 0; i < one.size(); ++i) {
        EXPECT_TRUE(at::equal(one[i], four[i])) << "result " << i;
        EXPECT_TRUE(at::equal(one[i].slice(0, 413, 414), alone[i])) << "result " << i;
      }
    }
  }
}

// Oracle: the loops leave nothing undone where there is nothing to do.
TEST(Fused, TakeEmptyBatches) {
  auto empty = at::zeros({0, 5}, at::kDouble);
  auto none = at::zeros({0}, at::kDouble);
  activate_and_add(empty, empty, {}, Activation::kTanh, empty);
  output_error(empty, empty, {}, Activation::kTanh, empty, empty, none);
  descend(empty, empty, empty, Activation::kTanh, none, none, none, empty);
  EXPECT_EQ(times_slope(empty, empty, Activation::kTanh).sizes(), empty.sizes());
}

}  // namespace
}  // namespace pcxx::nn::fused
