#include <ATen/ATen.h>
#include <pcxx/inference/solver.h>

namespace pcxx::inference {
namespace {

// Writes the variables of a part back to where they belong.
void put_back(Energy& whole, Energy& part, const at::Tensor& samples) {
  auto to = whole.variables();
  const auto from = part.variables();
  for (std::size_t l = 0; l < to.size(); ++l) to[l].index_copy_(0, samples, from[l]);
}

}  // namespace

void minimise(Energy& energy, Solver& solver, SampleControl& control, std::int64_t max_steps) {
  std::unique_ptr<Energy> part;
  for (std::int64_t t = 1; t <= max_steps; ++t) {
    auto& at_hand = part ? *part : energy;
    solver.step(at_hand, control, t == max_steps);
    if (t == max_steps || !control.any_active()) break;
    const auto samples = part ? control.samples() : at::Tensor();
    if (const auto rows = control.drop_finished()) {
      if (part) put_back(energy, *part, samples);
      part = at_hand.select(*rows);
      solver.keep(*rows);
    }
    (part ? *part : energy).forward(/*last=*/false);
  }
  if (part) put_back(energy, *part, control.samples());
  energy.forward(/*last=*/true);
}

}  // namespace pcxx::inference
