// inference = "momentum_descent": descent on the hidden errors with heavy-ball momentum,
//
//   v_l <- m v_l - eta dE/deps_l,   eps_l <- eps_l + v_l.

#include <ATen/ATen.h>
#include <pcxx/catalog/extend.h>
#include <pcxx/core/error.h>
#include <pcxx/inference/settle.h>

#include "lab.h"

namespace {

using namespace pcxx;

class Momentum final : public inference::Solver {
 public:
  Momentum(at::Tensor like, double step_size, double momentum)
      : like_(std::move(like)), step_size_(step_size), momentum_(momentum) {}

  void step(inference::Energy& energy, inference::SampleControl& control, bool) override {
    const auto gradients = energy.gradients();
    control.read(energy);
    for (std::size_t row = 0; row < control.rows(); ++row) {
      if (control.active(row)) control.accept(row);
    }
    if (gradients.empty()) return;  // no hidden layer
    const auto going =
        control.active_rows().view(gradients[0].sizes().slice(0, gradients[0].dim() - 1));
    const auto errors = energy.variables();
    for (std::size_t l = 0; l < errors.size(); ++l) {
      if (velocities_.size() == l) velocities_.push_back(at::zeros_like(errors[l]));
      velocities_[l].mul_(momentum_).sub_(gradients[l], step_size_);
      errors[l].add_(velocities_[l] * going.unsqueeze(-1));  // a sample that has settled stays
    }
  }

  void keep(const at::Tensor& rows) override {
    for (auto& velocity : velocities_) velocity = velocity.index_select(0, rows);
  }

  at::Tensor step_sizes() const override { return at::full_like(like_, step_size_, at::kDouble); }

 private:
  at::Tensor like_;
  double step_size_;
  double momentum_;
  std::vector<at::Tensor> velocities_;
};

class MomentumDescent final : public inference::Inference {
 public:
  MomentumDescent(inference::DescentOptions options, double momentum)
      : options_(options), momentum_(momentum) {}

  inference::Equilibrium infer(const nn::NetworkImpl& network,
                               const data::Batch& batch) const override {
    return settle(network, batch, options_, name(), [this](const at::Tensor& like) {
      return std::make_unique<Momentum>(like, options_.step_size, momentum_);
    });
  }

  std::string_view name() const override { return "momentum_descent"; }

 private:
  inference::DescentOptions options_;
  double momentum_;
};

std::shared_ptr<const inference::Inference> make(const config::Config& config) {
  const inference::DescentOptions options{
      .max_steps = config.integer("inference_steps"),
      .step_size = config.real("inference_step_size"),
      .tolerance = config.real("inference_tolerance"),
      .energy_tolerance = config.real("inference_energy_tolerance")};
  if (options.step_size == 0) {
    user_error("inference = 'momentum_descent' needs an inference_step_size above 0");
  }
  return std::make_shared<MomentumDescent>(options, config.real("inference_momentum"));
}

}  // namespace

void add_momentum_descent() {
  catalog::add_inference(
      {.name = "momentum_descent",
       .doc = "error descent with momentum",
       .keys = {{.name = "inference_momentum",
                 .kind = config::Kind::kReal,
                 .initial = "0.9",
                 .doc = "fraction of its last step that momentum_descent repeats",
                 .shape = config::Shape::kSweep,
                 .minimum = 0,
                 .maximum = 1,
                 .per_model = true}}},
      make);
}
