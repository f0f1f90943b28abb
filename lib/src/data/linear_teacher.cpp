#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <pcxx/core/random.h>
#include <pcxx/data/linear_teacher.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace pcxx::data {
namespace {

constexpr std::int64_t kHiddenPerInput = 5;

at::Tensor normal(at::IntArrayRef sizes, double deviation, at::Generator& generator) {
  return at::empty(sizes, at::kDouble).normal_(0, deviation, generator);
}

at::Tensor draw_map(const LinearTeacherOptions& options, at::Generator generator) {
  const auto deviation = [](std::int64_t width) {
    return 1 / std::sqrt(static_cast<double>(width));
  };
  const auto n_0 = options.inputs();
  const auto n_L = options.outputs();
  const auto k = options.rank();
  if (k == 0) return normal({n_L, n_0}, deviation(n_0), generator);
  const auto left = normal({n_L, k}, deviation(k), generator);
  return left.matmul(normal({k, n_0}, deviation(n_0), generator));
}

}  // namespace

std::string_view name(Targets targets) {
  return name_of(targets);
}

LinearTeacher::LinearTeacher(LinearTeacherOptions options, std::uint64_t seed,
                             at::TensorOptions tensor_options)
    : options_(options),
      seed_(seed),
      tensor_options_(tensor_options),
      inputs_(make_generator(seed, Purpose::kInputs)),
      targets_(make_generator(seed, Purpose::kTargets)),
      noise_(make_generator(seed, Purpose::kNoise)) {
  const auto n_0 = options_.inputs();
  const auto n_L = options_.outputs();
  TORCH_CHECK(n_0 > 0 && n_L > 0, "LinearTeacher: widths must be positive, not ", n_0, " and ",
              n_L);
  TORCH_CHECK(options_.noise() >= 0, "LinearTeacher: noise must not be negative, but is ",
              options_.noise());
  TORCH_CHECK(options_.rank() >= 0 && options_.rank() <= std::min(n_0, n_L),
              "LinearTeacher: a map from ", n_0, " to ", n_L, " cannot have rank ",
              options_.rank());
  exact_map_ = draw_map(options_, make_generator(seed, Purpose::kTeacher));
  map_ = exact_map_.to(tensor_options_);
  if (options_.targets() == Targets::kReluTeacher) {
    const auto n_h = kHiddenPerInput * n_0;
    auto relu = make_generator(seed, Purpose::kReluTeacher);
    hidden_ = normal({n_h, n_0}, std::sqrt(2 / static_cast<double>(n_0)), relu);
    readout_ = normal({n_L, n_h}, 1 / std::sqrt(static_cast<double>(n_h)), relu);
  }
}

at::Tensor LinearTeacher::targets_of(const at::Tensor& input) const {
  TORCH_CHECK(options_.targets() != Targets::kIndependent,
              "LinearTeacher: independent targets are no function of the inputs");
  const auto x = input.to(at::kCPU, at::kDouble);
  if (options_.targets() == Targets::kTeacher) return at::matmul(x, exact_map_.mT());
  return at::matmul(at::matmul(x, hidden_.mT()).relu_(), readout_.mT());
}

Batch LinearTeacher::next(std::int64_t batch_size) {
  TORCH_CHECK(batch_size > 0, "LinearTeacher: batch size must be positive, not ", batch_size);
  const at::NoGradGuard no_grad;
  const auto input = normal({batch_size, options_.inputs()}, 1, inputs_);
  at::Tensor target;
  if (options_.targets() == Targets::kIndependent) {
    target = normal({batch_size, options_.outputs()}, 1, targets_);
  } else {
    target = targets_of(input);
    if (options_.noise() > 0) target.add_(normal(target.sizes(), options_.noise(), noise_));
  }
  return {input.to(tensor_options_), target.to(tensor_options_)};
}

Batch LinearTeacher::held_out(std::int64_t count) const {
  TORCH_CHECK(count > 0, "LinearTeacher: the held-out samples must be some, not ", count);
  const at::NoGradGuard no_grad;
  auto generator = make_generator(seed_, Purpose::kHeldOut);
  const auto input = normal({count, options_.inputs()}, 1, generator);
  const auto target = options_.targets() == Targets::kIndependent
                          ? normal({count, options_.outputs()}, 1, generator)
                          : targets_of(input);
  return {input.to(tensor_options_), target.to(tensor_options_)};
}

at::Tensor LinearTeacher::state() const {
  return at::stack({inputs_.get_state(), targets_.get_state(), noise_.get_state()});
}

void LinearTeacher::set_state(const at::Tensor& state) {
  const auto current = this->state();
  TORCH_CHECK(state.defined() && state.sizes() == current.sizes() && state.dtype() == at::kByte,
              "LinearTeacher: not a state of a teacher");
  inputs_.set_state(state[0].clone());
  targets_.set_state(state[1].clone());
  noise_.set_state(state[2].clone());
}

std::vector<LinearTeacher> linear_teachers(const LinearTeacherOptions& options,
                                           std::uint64_t first_seed, std::int64_t count,
                                           at::TensorOptions tensor_options) {
  TORCH_CHECK(count > 0, "linear_teachers: count must be positive, not ", count);
  std::vector<LinearTeacher> teachers;
  teachers.reserve(static_cast<std::size_t>(count));
  for (std::int64_t s = 0; s < count; ++s) {
    teachers.emplace_back(options, first_seed + static_cast<std::uint64_t>(s), tensor_options);
  }
  return teachers;
}

Batch next_batch(std::vector<LinearTeacher>& teachers, std::int64_t batch_size) {
  TORCH_CHECK(!teachers.empty(), "next_batch: no teachers");
  std::vector<at::Tensor> inputs;
  std::vector<at::Tensor> targets;
  for (auto& teacher : teachers) {
    auto batch = teacher.next(batch_size);
    inputs.push_back(std::move(batch.input));
    targets.push_back(std::move(batch.target));
  }
  return {at::stack(inputs), at::stack(targets)};
}

at::Tensor stack_maps(const std::vector<LinearTeacher>& teachers) {
  TORCH_CHECK(!teachers.empty(), "stack_maps: no teachers");
  std::vector<at::Tensor> maps;
  for (const auto& teacher : teachers) maps.push_back(teacher.map());
  return at::stack(maps);
}

}  // namespace pcxx::data
