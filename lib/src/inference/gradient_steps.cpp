#include "inference/gradient_steps.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

namespace pcxx::inference {

GradientSteps::GradientSteps(at::Tensor step_size, bool fixed)
    : all_sizes_(step_size.to(at::kCPU, at::kDouble).contiguous().clone()),
      step_(std::move(step_size)),
      fixed_(fixed),
      rows_(static_cast<std::size_t>(all_sizes_.numel())) {
  const auto* sizes = all_sizes_.const_data_ptr<double>();
  for (std::size_t row = 0; row < rows_.size(); ++row) rows_[row].size = sizes[row];
}

void GradientSteps::step(Energy& energy, SampleControl& control, bool) {
  energy.descend(step_);
  control.read(energy);
  bool changed = false;
  std::vector<std::int64_t> suspects;
  for (std::size_t row = 0; row < rows_.size(); ++row) {
    if (!control.active(row)) continue;
    const double before = rows_[row].size;
    if (judge(control, row)) suspects.push_back(static_cast<std::int64_t>(row));
    changed = changed || !control.active(row) || rows_[row].size != before;
  }
  if (!suspects.empty()) {
    examine(energy, control, suspects);
    changed = true;
  }
  if (!changed || !control.any_active()) return;
  auto now = at::empty(step_.sizes(), at::kDouble);
  auto* values = now.mutable_data_ptr<double>();
  for (std::size_t row = 0; row < rows_.size(); ++row) {
    values[row] = control.active(row) ? rows_[row].size : 0;
  }
  step_.copy_(now);
}

// True when a fixed step looks too large.
bool GradientSteps::judge(SampleControl& control, std::size_t row) {
  const bool fell = control.accept(row);
  if (fixed_) return looks_unstable(control, row, !fell) && control.active(row);
  if (!fell) rows_[row].size /= 2;
  return false;
}

bool GradientSteps::looks_unstable(const SampleControl& control, std::size_t row, bool rose) {
  auto& r = rows_[row];
  const bool grew = control.gradient_norm(row) > r.gradient_norm;
  r.gradient_norm = control.gradient_norm(row);
  r.rises = rose && grew ? r.rises + 1 : 0;
  return r.rises == r.suspicious;
}

// A step multiplies the part of the gradient along an eigenvector of the Hessian by 1 - eta lambda:
// where this has grown, the gradient is close to that eigenvector, and few iterations are enough.
void GradientSteps::examine(const Energy& energy, SampleControl& control,
                            const std::vector<std::int64_t>& suspects) {
  constexpr int kIterations = 2;
  const auto rows = at::tensor(suspects).to(step_.device());
  const auto curvature = energy.curvature(rows, kIterations).to(at::kCPU, at::kDouble).contiguous();
  const auto* lambda = curvature.const_data_ptr<double>();
  for (const auto suspect : suspects) {
    const auto row = static_cast<std::size_t>(suspect);
    rows_[row].suspicious *= 2;
    if (*lambda * rows_[row].size > 2) control.call_unstable(row, *lambda);
    ++lambda;
  }
}

void GradientSteps::keep(const at::Tensor& rows) {
  all_sizes_ = step_sizes();
  samples_ = samples_.defined() ? samples_.index_select(0, rows) : rows;
  step_ = step_.index_select(0, rows);
  const auto kept = rows.cpu();
  const auto* index = kept.const_data_ptr<std::int64_t>();
  std::vector<Sample> left;
  for (std::int64_t i = 0; i < kept.numel(); ++i) {
    left.push_back(rows_[static_cast<std::size_t>(index[i])]);
  }
  rows_ = std::move(left);
}

at::Tensor GradientSteps::step_sizes() const {
  auto sizes = at::empty({static_cast<std::int64_t>(rows_.size())}, at::kDouble);
  std::transform(rows_.begin(), rows_.end(), sizes.mutable_data_ptr<double>(),
                 [](const Sample& row) { return row.size; });
  if (!samples_.defined()) return sizes.view(all_sizes_.sizes());
  return all_sizes_.index_copy(0, samples_.cpu(), sizes);
}

void discard_unstable(Equilibrium& state) {
  if (!state.report.any_unstable()) return;
  const auto rows = state.report.unstable.unsqueeze(-1);
  for (auto& errors : state.errors) {
    if (errors.defined()) errors.masked_fill_(rows, std::numeric_limits<double>::quiet_NaN());
  }
}

}  // namespace pcxx::inference
