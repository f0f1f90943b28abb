#include <ATen/ATen.h>
#include <fmt/format.h>
#include <pcxx/inference/report.h>

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

bool Report::all_converged() const {
  return converged.all().item<bool>();
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

std::string Report::brief() const {
  return fmt::format("{}: {}/{} converged in {} steps, residual {:.2g}, {}", method,
                     converged.sum().item<std::int64_t>(), converged.numel(), max_steps(),
                     max_residual(), inference::name(regime));
}

}  // namespace pcxx::inference
