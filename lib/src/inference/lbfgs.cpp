#include <ATen/ATen.h>
#include <pcxx/core/error.h>
#include <pcxx/inference/lbfgs.h>
#include <pcxx/inference/settle.h>

#include "inference/parts.h"
#include "inference/quasi_newton.h"

namespace pcxx::inference {
namespace {

constexpr std::int64_t kLargestMemory = 100;

}  // namespace

Lbfgs::Lbfgs(DescentOptions options) : options_(options) {
  TORCH_CHECK(options.max_steps >= 0, "steps cannot be negative: ", options.max_steps);
  TORCH_CHECK(options.step_size == 0, "L-BFGS takes no step size, but was given ",
              options.step_size);
  TORCH_CHECK(options.memory >= 1 && options.memory <= kLargestMemory,
              "the memory of L-BFGS is 1 to ", kLargestMemory, " pairs, not ", options.memory);
}

Equilibrium Lbfgs::infer(const nn::NetworkImpl& network, const data::Batch& batch) const {
  const auto pairs = static_cast<int>(options_.memory);
  return settle(network, batch, options_, name(), [pairs](const at::Tensor& like) {
    return std::make_unique<QuasiNewton>(like, pairs);
  });
}

InferencePart lbfgs_part() {
  const auto keys = descent_keys().add(
      &DescentOptions::memory,
      {.name = "inference_memory",
       .doc = "lbfgs: pairs of steps and gradients that it remembers of each sample",
       .minimum = 1,
       .maximum = static_cast<double>(kLargestMemory)});
  InferencePart part;
  part.name = "lbfgs";
  part.options = keys.keys();
  part.make = [keys](const config::Config& model) {
    const auto options = keys.read(model);
    if (options.step_size > 0) {
      user_error(
          "inference = 'lbfgs' takes no inference_step_size: leave it 0, or choose error_descent "
          "or state_descent");
    }
    return std::make_shared<Lbfgs>(options);
  };
  return part;
}

}  // namespace pcxx::inference
