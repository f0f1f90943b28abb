#include <pcxx/optim/optimizers.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>

#include <utility>

#include "optim/parts.h"

namespace pcxx::optim {
namespace {

// With PyTorch's settings but for the rate.
template <typename Optimizer, typename Options>
OptimizerPart part(std::string name) {
  OptimizerPart made;
  made.name = std::move(name);
  made.make = [](const config::Config&, std::vector<at::Tensor> parameters, double learning_rate) {
    return std::make_unique<Optimizer>(std::move(parameters), Options(learning_rate));
  };
  return made;
}

}  // namespace

OptimizerPart sgd_part() {
  auto sgd = part<torch::optim::SGD, torch::optim::SGDOptions>("sgd");
  sgd.plain_sgd = true;
  return sgd;
}

OptimizerPart adam_part() {
  return part<torch::optim::Adam, torch::optim::AdamOptions>("adam");
}

OptimizerPart adamw_part() {
  return part<torch::optim::AdamW, torch::optim::AdamWOptions>("adamw");
}

OptimizerPart rmsprop_part() {
  return part<torch::optim::RMSprop, torch::optim::RMSpropOptions>("rmsprop");
}

std::unique_ptr<torch::optim::Optimizer> make_optimizer(std::string_view name,
                                                        std::vector<at::Tensor> parameters,
                                                        double learning_rate) {
  for (const auto& known : optimizer_parts()) {
    if (name == known.name) {
      return known.make(config::Config(config::Schema()), std::move(parameters), learning_rate);
    }
  }
  TORCH_CHECK(false, "no optimizer is called '", name, "'");
}

}  // namespace pcxx::optim
