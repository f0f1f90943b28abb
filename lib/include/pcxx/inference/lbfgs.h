#pragma once

#include <pcxx/inference/descent_options.h>
#include <pcxx/inference/inference.h>

namespace pcxx::inference {

/// L-BFGS on the hidden errors, each sample on its own: the energy of ErrorDescent, minimised
/// without a step size. Curvatures, which differ twenty-fold between the samples of a batch and
/// grow a thousand-fold in training, are learnt on the way from `memory` pairs of steps and gradients; a
/// step that raises the energy is taken back and shortened. The default for networks that are not
/// linear.
///
/// Of the options max_steps (passes forward and back), tolerance, energy_tolerance and memory count; a step
/// size is refused (c10::Error).
class Lbfgs final : public Inference {
 public:
  explicit Lbfgs(DescentOptions options = {});

  Equilibrium infer(const nn::NetworkImpl& network, const data::Batch& batch) const override;
  std::string_view name() const override { return "lbfgs"; }
  const DescentOptions& options() const { return options_; }

 private:
  DescentOptions options_;
};

}  // namespace pcxx::inference
