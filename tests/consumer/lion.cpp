// optimizer = "lion": steps of one size, in the direction of the sign of a mean (Chen et al. 2023),
//
//   theta <- theta - rate sign(b1 m + (1 - b1) g),   m <- b2 m + (1 - b2) g.

#include <ATen/ATen.h>
#include <pcxx/catalog/extend.h>
#include <torch/optim/sgd.h>

#include <string>

#include "lab.h"

namespace {

using namespace pcxx;

class Lion final : public torch::optim::Optimizer, public optim::WithMemory {
 public:
  Lion(std::vector<at::Tensor> parameters, double rate, double b1, double b2)
      : Optimizer(std::move(parameters), std::make_unique<torch::optim::SGDOptions>(rate)),
        b1_(b1),
        b2_(b2) {
    for (const auto& parameter : param_groups().front().params()) {
      means_.push_back(at::zeros_like(parameter.detach()));
    }
  }

  at::Tensor step(LossClosure = nullptr) override {
    const at::NoGradGuard no_grad;
    const double rate = param_groups().front().options().get_lr();
    auto& parameters = param_groups().front().params();
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const auto& gradient = parameters[i].grad();
      if (!gradient.defined()) continue;
      parameters[i].sub_(at::lerp(gradient, means_[i], b1_).sign_(), rate);
      means_[i].lerp_(gradient, 1 - b2_);
    }
    return {};
  }

  State memory() const override {
    State memory;
    for (std::size_t i = 0; i < means_.size(); ++i) memory[std::to_string(i)] = means_[i];
    return memory;
  }

  void set_memory(const State& memory) override {
    std::vector<at::Tensor> found;
    for (std::size_t i = 0; i < means_.size(); ++i) {
      found.push_back(entry_like(memory, std::to_string(i), means_[i]));
    }
    means_ = std::move(found);
  }

 private:
  double b1_;
  double b2_;
  std::vector<at::Tensor> means_;
};

config::Key fraction(std::string name, std::string initial, std::string doc) {
  return {.name = std::move(name),
          .kind = config::Kind::kReal,
          .initial = std::move(initial),
          .doc = std::move(doc),
          .shape = config::Shape::kSweep,
          .minimum = 0,
          .maximum = 1,
          .per_model = true};
}

}  // namespace

void add_lion() {
  catalog::add_optimizer(
      {.name = "lion",
       .doc = "the sign of a mean of gradients",
       .keys = {fraction("lion_b1", "0.9", "fraction of the mean in a step of lion"),
                fraction("lion_b2", "0.99", "fraction of the mean that lion keeps")}},
      [](const config::Config& config, std::vector<at::Tensor> parameters, double rate) {
        return std::make_unique<Lion>(std::move(parameters), rate, config.real("lion_b1"),
                                      config.real("lion_b2"));
      });
}
