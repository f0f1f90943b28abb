#pragma once

#include <ATen/ATen.h>
#include <pcxx/optim/optimizers.h>
#include <torch/optim/sgd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace pcxx::test {

/// torch::optim::SGD with momentum, written as an optimizer that LibTorch does not know:
/// v <- m v + g, theta <- theta - rate v.
class HeavyBall final : public torch::optim::Optimizer, public optim::WithMemory {
 public:
  HeavyBall(std::vector<at::Tensor> parameters, double rate, double momentum)
      : Optimizer(std::move(parameters), std::make_unique<torch::optim::SGDOptions>(rate)),
        momentum_(momentum) {
    for (const auto& parameter : param_groups().front().params()) {
      velocities_.push_back(at::zeros_like(parameter.detach()));
    }
  }

  torch::Tensor step(LossClosure = nullptr) override {
    const at::NoGradGuard no_grad;
    const double rate = param_groups().front().options().get_lr();
    auto& parameters = param_groups().front().params();
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      velocities_[i].mul_(momentum_).add_(parameters[i].grad());
      parameters[i].sub_(velocities_[i], rate);
    }
    return {};
  }

  State memory() const override {
    State memory;
    for (std::size_t i = 0; i < velocities_.size(); ++i) {
      memory["velocity" + std::to_string(i)] = velocities_[i];
    }
    return memory;
  }

  void set_memory(const State& memory) override {
    std::vector<at::Tensor> found;
    for (std::size_t i = 0; i < velocities_.size(); ++i) {
      found.push_back(entry_like(memory, "velocity" + std::to_string(i), velocities_[i]));
    }
    velocities_ = std::move(found);
  }

 private:
  double momentum_;
  std::vector<at::Tensor> velocities_;
};

}  // namespace pcxx::test
