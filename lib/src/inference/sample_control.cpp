#include "inference/sample_control.h"

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>

#include <cmath>
#include <limits>

namespace pcxx::inference {
namespace {

void read(const at::Tensor& t, std::vector<double>& values) {
  const auto flat = t.cpu().contiguous();
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, flat.scalar_type(), "read", [&] {
    const auto* begin = flat.const_data_ptr<scalar_t>();
    values.assign(begin, begin + flat.numel());
  });
}

std::vector<double> to_vector(const at::Tensor& t) {
  std::vector<double> values;
  read(t, values);
  return values;
}

template <typename T>
at::Tensor like(const std::vector<T>& values, const at::Tensor& shape, at::ScalarType dtype) {
  auto result = at::empty(shape.sizes(), at::device(at::kCPU).dtype(dtype));
  std::copy(values.begin(), values.end(), result.mutable_data_ptr<T>());
  return result.to(shape.device());
}

}  // namespace

SampleControl::SampleControl(const DescentOptions& options, at::Tensor step_size)
    : options_(options),
      rounding_(step_size.scalar_type() == at::kDouble ? 1e-13 : 1e-6),
      step_(std::move(step_size)),
      size_(to_vector(step_)),
      first_gradient_(size_.size()),
      last_energy_(size_.size(), std::numeric_limits<double>::infinity()),
      residual_(size_.size()),
      steps_(size_.size()),
      state_(size_.size(), State::kActive),
      adaptive_(options.step_size == 0) {}

bool SampleControl::advance(const at::Tensor& gradient_squares, const at::Tensor& energies) {
  read(gradient_squares, squares_);
  read(energies, energy_);
  ++taken_;
  bool active = false;
  bool changed = false;
  for (std::size_t b = 0; b < state_.size(); ++b) {
    if (state_[b] != State::kActive) continue;
    const double before = size_[b];
    advance_sample(b, std::sqrt(squares_[b]), energy_[b]);
    changed = changed || state_[b] != State::kActive || size_[b] != before;
    active = active || state_[b] == State::kActive;
  }
  if (changed && active) {
    std::vector<double> now(size_.size());
    for (std::size_t b = 0; b < now.size(); ++b) {
      now[b] = state_[b] == State::kActive ? size_[b] : 0;
    }
    step_.copy_(like(now, step_, at::kDouble));
  }
  return active;
}

void SampleControl::advance_sample(std::size_t b, double gradient_norm, double energy) {
  if (taken_ == 1) first_gradient_[b] = gradient_norm;
  residual_[b] = first_gradient_[b] > 0 ? gradient_norm / first_gradient_[b] : gradient_norm;
  steps_[b] = taken_;

  const double before = last_energy_[b];
  last_energy_[b] = energy;
  if (!std::isfinite(gradient_norm) || !std::isfinite(energy)) {
    state_[b] = State::kFailed;
  } else if (gradient_norm <= options_.tolerance * first_gradient_[b]) {
    state_[b] = State::kConverged;
  } else if (taken_ == 1) {
    return;
  } else if (energy > before * (1 + rounding_)) {
    if (adaptive_) size_[b] /= 2;
  } else if (options_.energy_tolerance > 0 &&
             before - energy <= options_.energy_tolerance * before) {
    state_[b] = State::kConverged;
  }
}

Regime SampleControl::regime(bool all_converged) const {
  if (all_converged) return Regime::kEquilibrium;
  double sum = 0;
  for (const double r : residual_) sum += r;
  return sum > 0.5 * static_cast<double>(residual_.size()) ? Regime::kBackpropLike
                                                           : Regime::kIntermediate;
}

Report SampleControl::report(std::string_view method, const at::Tensor& energy) const {
  auto converged = at::empty(step_.sizes(), at::device(at::kCPU).dtype(at::kBool));
  auto* flags = converged.mutable_data_ptr<bool>();
  bool all = true;
  for (std::size_t b = 0; b < state_.size(); ++b) {
    flags[b] = state_[b] == State::kConverged;
    all = all && flags[b];
  }
  return {.method = std::string(method),
          .energy = energy.to(at::kDouble),
          .residual = like(residual_, step_, at::kDouble),
          .steps = like(steps_, step_, at::kLong),
          .converged = converged.to(step_.device()),
          .step_size = like(size_, step_, at::kDouble),
          .regime = regime(all)};
}

}  // namespace pcxx::inference
