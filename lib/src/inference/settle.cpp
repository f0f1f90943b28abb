#include <ATen/ATen.h>
#include <pcxx/inference/settle.h>

#include "inference/errors_energy.h"

namespace pcxx::inference {

Equilibrium settle(const nn::NetworkImpl& network, const data::Batch& batch,
                   const DescentOptions& options, std::string_view method,
                   const MakeSolver& make_solver) {
  const at::NoGradGuard no_grad;
  auto pass = nn::feedforward(network, batch.input);
  const auto energy =
      errors_energy(network, pass, network.enter(batch.target, network.out_features()));
  const auto like = energy->like();
  SampleControl control(options, like);
  const auto solver = make_solver(like);
  return minimise_errors(network, std::move(pass), *energy, *solver, control, options, method);
}

}  // namespace pcxx::inference
