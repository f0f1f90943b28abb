#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <pcxx/core/random.h>
#include <pcxx/data/linear_teacher.h>

#include <cmath>
#include <type_traits>

#include "support/networks.h"

namespace pcxx::data {
namespace {

using test::relative_difference;
using Shape = std::vector<std::int64_t>;

LinearTeacherOptions independent(std::int64_t inputs, std::int64_t outputs) {
  return LinearTeacherOptions(inputs, outputs).targets(Targets::kIndependent);
}

LinearTeacherOptions relu(std::int64_t inputs, std::int64_t outputs) {
  return LinearTeacherOptions(inputs, outputs).targets(Targets::kReluTeacher);
}

bool same(const Batch& a, const Batch& b) {
  return at::equal(a.input, b.input) && at::equal(a.target, b.target);
}

// Mean and mean square of N numbers N(0, v) lie within 5 standard errors sqrt(v / N) and
// v sqrt(2 / N) of 0 and v (probability of a false alarm 6e-7 each).
void expect_normal(const at::Tensor& x, double variance) {
  const auto n = static_cast<double>(x.numel());
  EXPECT_NEAR(x.mean().item<double>(), 0, 5 * std::sqrt(variance / n));
  EXPECT_NEAR(x.square().mean().item<double>() / variance, 1, 5 * std::sqrt(2 / n));
}

// Oracle: the header's list.
TEST(Targets, HaveNames) {
  EXPECT_EQ(name(Targets::kTeacher), "teacher");
  EXPECT_EQ(name(Targets::kReluTeacher), "relu_teacher");
  EXPECT_EQ(name(Targets::kIndependent), "independent");
}

// Oracle: y = W x, sample by sample as sums of products.
TEST(LinearTeacher, TargetsAreTheMapOfTheInputs) {
  for (const auto& [n_in, n_out] : {std::pair<std::int64_t, std::int64_t>{5, 5}, {3, 8}, {8, 3}}) {
    LinearTeacher teacher(LinearTeacherOptions(n_in, n_out), 1);
    for (const std::int64_t size : {1, 7, 40}) {
      const auto batch = teacher.next(size);
      EXPECT_EQ(batch.input.sizes(), Shape({size, n_in}));
      EXPECT_EQ(batch.target.sizes(), Shape({size, n_out}));
      EXPECT_EQ(batch.samples, size);
      const auto expected = (batch.input.unsqueeze(1) * teacher.map()).sum(-1);
      EXPECT_LT(relative_difference(batch.target, expected), 1e-15);
    }
  }
}

// Oracle: rank and moments, W_data ~ N(0, 1/n_0) and x ~ N(0, I).
TEST(LinearTeacher, HasAFullRankMapAndNormalInputs) {
  LinearTeacher teacher(LinearTeacherOptions(300, 200), 1);
  EXPECT_EQ(teacher.map().sizes(), Shape({200, 300}));
  expect_normal(teacher.map(), 1.0 / 300);
  const auto batch = teacher.next(400);
  expect_normal(batch.input, 1);
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const LinearTeacher square(LinearTeacherOptions(20, 20), seed);
    EXPECT_EQ(at::linalg_matrix_rank(square.map()).item<std::int64_t>(), 20);
  }
}

// Oracle: rank by singular values; moments: entries of variance 1/n_0, as those of the full map.
// The mean square of one map scatters by some sqrt(2/150 + 2/240) = 0.15 about it, being a product
// of matrices with so many entries, and that of 40 maps, allowing 0.2, by 0.2 / sqrt(40): five of
// it.
TEST(LinearTeacher, HasAMapOfTheRankAskedFor) {
  double sum = 0;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    LinearTeacher teacher(LinearTeacherOptions(50, 80).rank(3), seed);
    EXPECT_EQ(at::linalg_matrix_rank(teacher.map()).item<std::int64_t>(), 3);
    sum += teacher.map().square().mean().item<double>() * 50 / 40;
    const auto batch = teacher.next(10);
    EXPECT_LT(relative_difference(batch.target, batch.input.matmul(teacher.map().t())), 1e-15);
  }
  EXPECT_NEAR(sum, 1, 0.16);
  const LinearTeacher full(LinearTeacherOptions(50, 80), 1);
  EXPECT_TRUE(at::equal(full.map(), LinearTeacher(LinearTeacherOptions(50, 80).rank(0), 1).map()));
  EXPECT_THROW(LinearTeacher(LinearTeacherOptions(50, 80).rank(51), 1), c10::Error);
  EXPECT_THROW(LinearTeacher(LinearTeacherOptions(50, 80).rank(-1), 1), c10::Error);
}

// Oracle: statistics. Inputs of different samples and features are uncorrelated: of the
// 300 x 299 / 2 correlations over n = 5,000 samples, N(0, 1/n), none is beyond 6 standard
// deviations (probability of a false alarm 1e-4).
TEST(LinearTeacher, InputsAreIndependent) {
  LinearTeacher teacher(LinearTeacherOptions(300, 1), 1);
  const auto x = teacher.next(5000).input;
  const auto correlations = at::triu(at::matmul(x.t(), x) / 5000, 1);
  EXPECT_LT(correlations.abs().max().item<double>(), 6 / std::sqrt(5000.0));
}

// Oracle: the noise is what is left of the targets; its moments, for the teacher only.
TEST(LinearTeacher, NoiseHasItsDeviation) {
  LinearTeacher noisy(LinearTeacherOptions(20, 30).noise(0.1), 1);
  LinearTeacher clean(LinearTeacherOptions(20, 30), 1);
  EXPECT_TRUE(at::equal(noisy.map(), clean.map()));
  const auto batch = noisy.next(4000);
  const auto exact = clean.next(4000);
  EXPECT_TRUE(at::equal(batch.input, exact.input));
  expect_normal(batch.target - exact.target, 0.01);

  LinearTeacher without(independent(20, 30), 1);
  LinearTeacher with(independent(20, 30).noise(0.1), 1);
  EXPECT_TRUE(same(without.next(50), with.next(50)));
}

// Oracle: moments of N(0, I), and no relation to the inputs: each of the 600 correlations over
// n = 4,000 samples is N(0, 1/n).
TEST(LinearTeacher, IndependentTargetsAreNormalAndUnrelated) {
  LinearTeacher teacher(independent(20, 30), 1);
  const auto batch = teacher.next(4000);
  expect_normal(batch.target, 1);
  const auto correlations = at::matmul(batch.target.t(), batch.input) / 4000;
  EXPECT_LT(correlations.abs().max().item<double>(), 6 / std::sqrt(4000.0));
  EXPECT_TRUE(at::equal(teacher.map(), LinearTeacher(LinearTeacherOptions(20, 30), 1).map()));
}

// Oracle: f(x) = W_2 relu(W_1 x). Then f(a x) = a f(x) for a > 0, and f(x) - f(-x) = W_2 W_1 x, a
// linear map with entries of variance 2/n_0, whereas f itself is none: its mean square is 1, and
// the targets of many samples have the rank of its 5 n_0 hidden units. Tolerances are 5 standard
// errors.
TEST(ReluTeacher, IsARandomReluNetwork) {
  LinearTeacher teacher(relu(100, 200), 1);
  const auto x = teacher.next(2000).input;
  const auto y = teacher.targets_of(x);
  EXPECT_LT(relative_difference(teacher.targets_of(3 * x), 3 * y), 1e-14);
  const auto identity = at::eye(100, at::kDouble);
  const auto map = (teacher.targets_of(identity) - teacher.targets_of(-identity)).t();
  EXPECT_LT(relative_difference(y - teacher.targets_of(-x), at::matmul(x, map.t())), 1e-13);
  EXPECT_NEAR(map.square().mean().item<double>() * 100 / 2, 1, 0.07);
  EXPECT_NEAR(y.square().mean().item<double>(), 1, 0.2);

  LinearTeacher narrow(relu(4, 50), 1);
  EXPECT_EQ(at::linalg_matrix_rank(narrow.next(300).target).item<std::int64_t>(), 20);
}

// Oracle: contract. Targets are the teacher's function of the inputs, in held-out samples without
// the noise; the linear teacher's map, inputs and noise are what they are without it.
TEST(ReluTeacher, HasTheTargetsOfItsFunction) {
  LinearTeacher noisy(relu(20, 30).noise(0.1), 1);
  LinearTeacher again(relu(20, 30).noise(0.1), 1);
  LinearTeacher linear(LinearTeacherOptions(20, 30).noise(0.1), 1);
  const LinearTeacher other(relu(20, 30), 2);
  EXPECT_TRUE(at::equal(noisy.map(), linear.map()));
  const auto batch = noisy.next(4000);
  EXPECT_TRUE(same(again.next(4000), batch));
  const auto noise = batch.target - noisy.targets_of(batch.input);
  expect_normal(noise, 0.01);
  const auto of_linear = linear.next(4000);
  EXPECT_LT(relative_difference(noise, of_linear.target - linear.targets_of(of_linear.input)),
            1e-12);
  EXPECT_GT(relative_difference(other.targets_of(batch.input), noisy.targets_of(batch.input)), 0.5);

  const auto held_out = noisy.held_out(100);
  EXPECT_TRUE(at::equal(held_out.input, linear.held_out(100).input));
  EXPECT_TRUE(at::equal(held_out.target, noisy.targets_of(held_out.input)));
  EXPECT_THROW(LinearTeacher(independent(3, 5), 1).targets_of(at::ones({1, 3})), c10::Error);
}

// Oracle: contract. Batch t of a seed has the same inputs for every kind of targets.
TEST(LinearTeacher, InputsDoNotDependOnTheTargets) {
  LinearTeacher clean(LinearTeacherOptions(3, 5), 4);
  LinearTeacher noisy(LinearTeacherOptions(3, 5).noise(0.3), 4);
  LinearTeacher other(independent(3, 5), 4);
  LinearTeacher bent(relu(3, 5).noise(0.3), 4);
  LinearTeacher wider(LinearTeacherOptions(3, 9), 4);
  for (const std::int64_t size : {1, 4, 1, 30}) {
    const auto input = clean.next(size).input;
    EXPECT_TRUE(at::equal(noisy.next(size).input, input));
    EXPECT_TRUE(at::equal(other.next(size).input, input));
    EXPECT_TRUE(at::equal(bent.next(size).input, input));
    EXPECT_TRUE(at::equal(wider.next(size).input, input));
  }
}

// Oracle: contract. A seed repeats itself; another has another map and other samples, each
// correlation N(0, 1/n) over n numbers.
TEST(LinearTeacher, IsAFunctionOfTheSeed) {
  const auto options = LinearTeacherOptions(40, 50).noise(0.1);
  LinearTeacher teacher(options, 7);
  LinearTeacher again(options, 7);
  LinearTeacher other(options, 8);
  EXPECT_TRUE(at::equal(teacher.map(), again.map()));
  const auto correlation = [](const at::Tensor& a, const at::Tensor& b) {
    return ((a * b).sum() / (a.norm() * b.norm())).item<double>();
  };
  EXPECT_NEAR(correlation(teacher.map(), other.map()), 0, 5 / std::sqrt(2000.0));
  for (int t = 0; t < 3; ++t) {
    const auto batch = teacher.next(100);
    EXPECT_TRUE(same(again.next(100), batch));
    const auto unrelated = other.next(100);
    EXPECT_NEAR(correlation(batch.input, unrelated.input), 0, 5 / std::sqrt(4000.0));
    // Targets are correlated within a sample: n is at least the number of samples.
    EXPECT_NEAR(correlation(batch.target, unrelated.target), 0, 5 / std::sqrt(100.0));
  }
}

// Oracle: contract. Samples are fresh at every call.
TEST(LinearTeacher, BatchesDiffer) {
  LinearTeacher teacher(LinearTeacherOptions(4, 3), 1);
  const auto first = teacher.next(1).input;
  const auto second = teacher.next(1).input;
  EXPECT_FALSE(at::equal(first, second));
}

// Oracle: y = W x without the noise, and contract. Held-out samples are the same at every call and
// no batch's, and the batches go on as if they had not been drawn.
TEST(LinearTeacher, HoldsSamplesOut) {
  LinearTeacher teacher(LinearTeacherOptions(30, 20).noise(0.3), 3);
  LinearTeacher undisturbed(LinearTeacherOptions(30, 20).noise(0.3), 3);
  const auto samples = teacher.held_out(400);
  EXPECT_EQ(samples.input.sizes(), Shape({400, 30}));
  expect_normal(samples.input, 1);
  const auto expected = (samples.input.unsqueeze(1) * teacher.map()).sum(-1);
  EXPECT_LT(relative_difference(samples.target, expected), 1e-14);
  const auto batch = teacher.next(400);
  EXPECT_TRUE(same(batch, undisturbed.next(400)));
  EXPECT_TRUE(same(samples, teacher.held_out(400)));
  const auto overlap = at::matmul(samples.input, batch.input.t()) / 30;
  EXPECT_LT(overlap.abs().max().item<double>(), 7.5 / std::sqrt(30.0));

  const auto unrelated = LinearTeacher(independent(30, 20), 3).held_out(400);
  EXPECT_TRUE(at::equal(unrelated.input, samples.input));
  expect_normal(unrelated.target, 1);
  const auto correlations = at::matmul(unrelated.target.t(), unrelated.input) / 400;
  EXPECT_LT(correlations.abs().max().item<double>(), 6 / std::sqrt(400.0));
  EXPECT_THROW(teacher.held_out(0), c10::Error);
}

// Oracle: the float64 teacher, cast.
TEST(LinearTeacher, IsComputedInFloat64AndCast) {
  for (const auto& options :
       {LinearTeacherOptions(6, 4).noise(0.1), relu(6, 4).noise(0.1), independent(6, 4)}) {
    LinearTeacher exact(options, 2);
    LinearTeacher cast(options, 2, at::kFloat);
    EXPECT_TRUE(at::equal(cast.map(), exact.map().to(at::kFloat)));
    for (int t = 0; t < 3; ++t) {
      const auto expected = exact.next(9);
      const auto found = cast.next(9);
      EXPECT_EQ(found.target.scalar_type(), at::kFloat);
      EXPECT_TRUE(at::equal(found.input, expected.input.to(at::kFloat)));
      EXPECT_TRUE(at::equal(found.target, expected.target.to(at::kFloat)));
    }
  }
}

// Oracle: the batches of the first time, of few and of many numbers (single normal numbers are
// drawn in pairs, of which one may be left over).
TEST(LinearTeacher, ContinuesFromItsState) {
  for (const auto& options : {LinearTeacherOptions(3, 5).noise(0.1), relu(3, 5).noise(0.1),
                              independent(3, 5), LinearTeacherOptions(3, 5)}) {
    LinearTeacher teacher(options, 3);
    teacher.next(1);
    const auto state = teacher.state();
    std::vector<Batch> batches;
    for (const std::int64_t size : {1, 1, 20, 3}) batches.push_back(teacher.next(size));

    LinearTeacher resumed(options, 3);
    const auto kept = state.clone();
    resumed.set_state(state);
    for (const auto& batch : batches) EXPECT_TRUE(same(resumed.next(batch.samples), batch));
    EXPECT_TRUE(at::equal(resumed.state(), teacher.state()));
    EXPECT_TRUE(at::equal(state, kept));
    teacher.set_state(state);
    EXPECT_TRUE(same(teacher.next(1), batches[0]));
  }
}

// Oracle: contract.
TEST(LinearTeacher, RejectsAnythingElseThanAState) {
  LinearTeacher teacher(LinearTeacherOptions(3, 5), 3);
  const auto state = teacher.state();
  EXPECT_THROW(teacher.set_state({}), c10::Error);
  EXPECT_THROW(teacher.set_state(state[0]), c10::Error);
  EXPECT_THROW(teacher.set_state(state.to(at::kInt)), c10::Error);
  EXPECT_TRUE(at::equal(teacher.state(), state));
}

// Oracle: contract. A moved teacher goes on; there are no copies that would share the streams.
TEST(LinearTeacher, MovesWithItsStreams) {
  static_assert(!std::is_copy_constructible_v<LinearTeacher>);
  static_assert(!std::is_copy_assignable_v<LinearTeacher>);
  LinearTeacher teacher(LinearTeacherOptions(3, 5), 3);
  LinearTeacher original(LinearTeacherOptions(3, 5), 3);
  teacher.next(2);
  original.next(2);
  LinearTeacher moved = std::move(original);
  EXPECT_TRUE(same(moved.next(2), teacher.next(2)));
}

// Oracle: contract.
TEST(LinearTeacher, RejectsImpossibleOptions) {
  EXPECT_THROW(LinearTeacher(LinearTeacherOptions(0, 5), 1), c10::Error);
  EXPECT_THROW(LinearTeacher(LinearTeacherOptions(5, -1), 1), c10::Error);
  EXPECT_THROW(LinearTeacher(LinearTeacherOptions(5, 5).noise(-0.1), 1), c10::Error);
  LinearTeacher teacher(LinearTeacherOptions(3, 5), 3);
  EXPECT_THROW(teacher.next(0), c10::Error);
  EXPECT_THROW(linear_teachers(LinearTeacherOptions(3, 5), 0, 0), c10::Error);
  std::vector<LinearTeacher> none;
  EXPECT_THROW(next_batch(none, 1), c10::Error);
  EXPECT_THROW(stack_maps(none), c10::Error);
}

// Oracle: the teachers of the same seeds alone.
TEST(LinearTeachers, AreTheTeachersOfTheirSeeds) {
  const auto options = LinearTeacherOptions(4, 3).noise(0.2);
  auto teachers = linear_teachers(options, 5, 3, at::kFloat);
  ASSERT_EQ(teachers.size(), 3U);
  const auto maps = stack_maps(teachers);
  const auto first = next_batch(teachers, 6);
  const auto second = next_batch(teachers, 2);
  EXPECT_EQ(maps.sizes(), Shape({3, 3, 4}));
  EXPECT_EQ(first.input.sizes(), Shape({3, 6, 4}));
  EXPECT_EQ(first.target.sizes(), Shape({3, 6, 3}));
  EXPECT_EQ(first.samples, 6);
  for (std::int64_t s = 0; s < 3; ++s) {
    LinearTeacher alone(options, 5 + static_cast<std::uint64_t>(s), at::kFloat);
    EXPECT_TRUE(at::equal(maps[s], alone.map()));
    for (const auto* batch : {&first, &second}) {
      EXPECT_TRUE(same(alone.next(batch->samples), {batch->input[s], batch->target[s]}));
    }
  }
}

}  // namespace
}  // namespace pcxx::data
