#include <ATen/ATen.h>
#include <fmt/format.h>
#include <pcxx/inference/report.h>

#include <limits>

namespace pcxx::inference {

std::string_view name(Regime regime) {
  switch (regime) {
    case Regime::kBackpropLike:
      return "backprop-like";
    case Regime::kIntermediate:
      return "intermediate";
    case Regime::kEquilibrium:
      return "equilibrium";
  }
  TORCH_CHECK(false, "unknown regime ", static_cast<int>(regime));
}

namespace {

// Of samples along the last dimension, as the number of the regime.
at::Tensor regimes(const at::Tensor& converged, const at::Tensor& residual) {
  const auto number = [](Regime regime) { return static_cast<std::int64_t>(regime); };
  const auto unsettled = at::where(residual.mean(-1).gt(0.5), number(Regime::kBackpropLike),
                                   number(Regime::kIntermediate));
  return at::where(converged.all(-1), number(Regime::kEquilibrium), unsettled);
}

}  // namespace

void Report::drop_gap_bound() {
  bounds_gap = false;
  gap_bound = at::full_like(energy, std::numeric_limits<double>::quiet_NaN());
}

Regime Report::regime() const {
  return static_cast<Regime>(regimes(converged.flatten(), residual.flatten()).item<std::int64_t>());
}

bool Report::all_converged() const {
  return converged.all().item<bool>();
}

bool Report::any_unstable() const {
  return unstable.any().item<bool>();
}

double Report::mean_energy() const {
  return energy.mean().item<double>();
}

double Report::max_residual() const {
  return residual.max().item<double>();
}

std::int64_t Report::max_steps() const {
  return steps.max().item<std::int64_t>();
}

double Report::mean_steps() const {
  return steps.to(at::kDouble).mean().item<double>();
}

std::string Report::brief() const {
  auto text = fmt::format("{}: {}/{} converged in {} steps, residual {:.2g}, {}", method,
                          converged.sum().item<std::int64_t>(), converged.numel(), max_steps(),
                          max_residual(), inference::name(regime()));
  if (!any_unstable()) return text;
  const auto largest = curvature.masked_select(unstable).max().item<double>();
  return fmt::format(
      "{}; a step of {:g} is unstable for {} of them: their curvature reaches {:.3g}, "
      "so it must be below {:.2g}",
      text, step_size.max().item<double>(), unstable.sum().item<std::int64_t>(), largest,
      2 / largest);
}

std::map<std::string, at::Tensor> measurements(const Report& report) {
  const auto mean = [](const at::Tensor& values) { return values.to(at::kDouble).mean(-1); };
  std::map<std::string, at::Tensor> found{
      {"inference_passes", report.steps.amax(-1).to(at::kDouble)},
      {"inference_mean_passes", mean(report.steps)},
      {"inference_energy", mean(report.energy)},
      {"inference_residual", report.residual.amax(-1)},
      {"inference_curvature", report.curvature.amax(-1)},
      {"inference_converged", mean(report.converged)},
      {"inference_unstable", mean(report.unstable)},
      {"inference_regime", regimes(report.converged, report.residual).to(at::kDouble)}};
  if (report.bounds_gap) found["inference_gap_bound"] = mean(report.gap_bound);
  return found;
}

}  // namespace pcxx::inference
