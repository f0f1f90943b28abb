#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <pcxx/inference/sample_control.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace pcxx::inference {
namespace {

template <typename Change>
void read(const at::Tensor& t, std::vector<double>& values, const Change& change) {
  const auto flat = t.cpu().contiguous();
  values.resize(static_cast<std::size_t>(flat.numel()));
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, flat.scalar_type(), "read", [&] {
    const auto* begin = flat.const_data_ptr<scalar_t>();
    std::transform(begin, begin + flat.numel(), values.begin(),
                   [&](scalar_t value) { return change(static_cast<double>(value)); });
  });
}

}  // namespace

SampleControl::SampleControl(const DescentOptions& options, const at::Tensor& like)
    : options_(options),
      like_(like),
      rounding_(like.scalar_type() == at::kDouble ? 1e-13 : 1e-6),
      rows_(static_cast<std::size_t>(like.numel())),
      samples_(rows_.size()) {
  std::iota(rows_.begin(), rows_.end(), 0);
}

void SampleControl::read(const Energy& energy) {
  inference::read(energy.gradient_squares(), gradient_norm_, [](double v) { return std::sqrt(v); });
  inference::read(energy.energy_squares(), energy_, [](double v) { return v / 2; });
  ++passes_;
}

bool SampleControl::any_active() const {
  for (std::size_t row = 0; row < rows(); ++row) {
    if (active(row)) return true;
  }
  return false;
}

at::Tensor SampleControl::active_rows() const {
  auto found = at::empty({static_cast<std::int64_t>(rows())}, at::kBool);
  auto* values = found.mutable_data_ptr<bool>();
  for (std::size_t row = 0; row < rows(); ++row) values[row] = active(row);
  return found.to(like_.device());
}

bool SampleControl::accept(std::size_t row) {
  auto& s = sample(row);
  const bool first = s.passes == 0;
  const double before = s.energy;
  s.passes = passes_;
  s.gradient_norm = gradient_norm_[row];
  s.energy = energy_[row];
  if (first) s.first_gradient = s.gradient_norm;
  if (!std::isfinite(s.gradient_norm) || !std::isfinite(s.energy)) {
    s.state = State::kFailed;
  } else if (s.gradient_norm <= options_.tolerance * s.first_gradient) {
    s.state = State::kConverged;
  } else if (first) {
    return true;
  } else if (s.energy > before * (1 + rounding_)) {
    return false;
  } else if (options_.energy_tolerance > 0 &&
             before - s.energy <= options_.energy_tolerance * before) {
    s.state = State::kConverged;
  }
  return true;
}

void SampleControl::reject(std::size_t row, double promise, bool can_be_shorter) {
  auto& s = sample(row);
  s.passes = passes_;
  const bool small =
      options_.energy_tolerance > 0 && promise <= options_.energy_tolerance * s.energy;
  const bool lost_in_rounding = !can_be_shorter && promise <= rounding_ * s.energy;
  if (small || lost_in_rounding) s.state = State::kConverged;
}

void SampleControl::see_curvature(std::size_t row, double value) {
  auto& s = sample(row);
  s.curvature = std::max(s.curvature, value);
}

void SampleControl::see_curvatures(const at::Tensor& values) {
  std::vector<double> each;
  inference::read(values, each, [](double v) { return v; });
  for (std::size_t row = 0; row < rows(); ++row) see_curvature(row, each[row]);
}

void SampleControl::call_unstable(std::size_t row, double curvature) {
  see_curvature(row, curvature);
  auto& s = sample(row);
  s.unstable = true;
  if (!options_.keep_unstable) s.state = State::kFailed;
}

std::optional<at::Tensor> SampleControl::drop_finished() {
  constexpr std::size_t kFew = 8;  // products with fewer rows take as long
  std::vector<std::int64_t> left;
  for (std::size_t row = 0; row < rows(); ++row) {
    if (active(row)) left.push_back(static_cast<std::int64_t>(row));
  }
  if (left.empty() || 2 * left.size() > rows() || rows() < kFew || like_.dim() != 1) {
    return std::nullopt;
  }
  std::vector<std::int64_t> samples;
  for (const auto row : left) samples.push_back(rows_[static_cast<std::size_t>(row)]);
  rows_ = std::move(samples);
  return at::tensor(left).to(like_.device());
}

at::Tensor SampleControl::samples() const {
  return at::tensor(rows_).to(like_.device());
}

template <typename Value>
at::Tensor SampleControl::collect(at::ScalarType dtype, const Value& value) const {
  auto values = at::empty(like_.sizes(), at::kDouble);
  std::transform(samples_.begin(), samples_.end(), values.mutable_data_ptr<double>(), value);
  return values.to(like_.device(), dtype);
}

Report SampleControl::report(std::string_view method, const at::Tensor& step_size,
                             const at::Tensor& energy) const {
  const auto residual = [](const Sample& s) {
    return s.first_gradient > 0 ? s.gradient_norm / s.first_gradient : s.gradient_norm;
  };
  const auto gap = [](const Sample& s) { return s.gradient_norm * s.gradient_norm / 2; };
  return {
      .method = std::string(method),
      .energy = energy.to(at::kDouble),
      .residual = collect(at::kDouble, residual),
      .gap_bound = collect(at::kDouble, gap),
      .steps = collect(at::kLong, [](const Sample& s) { return s.passes; }),
      .converged = collect(at::kBool, [](const Sample& s) { return s.state == State::kConverged; }),
      .unstable = collect(at::kBool, [](const Sample& s) { return s.unstable; }),
      .step_size = step_size.to(like_.device(), at::kDouble),
      .curvature = collect(at::kDouble, [](const Sample& s) { return s.curvature; })};
}

}  // namespace pcxx::inference
