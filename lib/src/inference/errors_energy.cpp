#include "inference/errors_energy.h"

#include "inference/error_energy.h"
#include "inference/layer_energy.h"

namespace pcxx::inference {

std::unique_ptr<ErrorsEnergy> errors_energy(const nn::NetworkImpl& network,
                                            const nn::Feedforward& pass, const at::Tensor& target) {
  for (std::size_t l = 1; l <= network.size(); ++l) {
    const auto* dense = dynamic_cast<const nn::DenseImpl*>(&network.layer(l));
    if (dense == nullptr || !dense->keeps_output()) {
      return std::make_unique<LayerEnergy>(network, pass, target);
    }
  }
  return std::make_unique<ErrorEnergy>(network, pass, target);
}

Equilibrium minimise_errors(const nn::NetworkImpl& network, nn::Feedforward pass,
                            ErrorsEnergy& energy, Solver& solver, SampleControl& control,
                            const DescentOptions& options, std::string_view method) {
  minimise(energy, solver, control, options.max_steps);
  auto report = control.report(method, solver.step_sizes(), energy.energy());
  if (!network.is_piecewise_linear()) report.drop_gap_bound();
  return energy.finish(std::move(pass), std::move(report));
}

}  // namespace pcxx::inference
