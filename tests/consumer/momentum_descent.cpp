// inference = "momentum_descent": state descent with heavy-ball momentum,
//
//   v_l <- m v_l - eta dE/dx_l,   x_l <- x_l + v_l,   dE/dx_l = eps_l - W_{l+1}^T (eps_{l+1} f').

#include <ATen/ATen.h>
#include <pcxx/core/error.h>
#include <pcxx/nn/activation.h>
#include <pcxx/train/extend.h>

#include "lab.h"

namespace {

using namespace pcxx;
using inference::Equilibrium;

struct Options {
  std::int64_t steps;
  double step_size;
  double momentum;
  double tolerance;
};

class MomentumDescent final : public inference::Inference {
 public:
  explicit MomentumDescent(Options options) : options_(options) {}

  Equilibrium infer(const nn::NetworkImpl& network, const data::Batch& batch) const override {
    const at::NoGradGuard no_grad;
    Equilibrium state;
    state.feedforward = nn::feedforward(network, batch.input);
    for (const auto& x : state.feedforward.activities) state.activities.push_back(x.clone());
    state.activities.back() = network.enter(batch.target, network.out_features());

    auto gradients = this->gradients(network, state);
    const auto first = norm(gradients);
    std::vector<at::Tensor> velocities;
    for (const auto& gradient : gradients) velocities.push_back(at::zeros_like(gradient));
    auto steps = at::zeros_like(first, at::kLong);
    auto converged = first.eq(0);
    for (std::int64_t t = 0; t < options_.steps && !converged.all().item<bool>(); ++t) {
      const auto going = converged.logical_not();  // a sample that has settled stays as it is
      steps.add_(going);
      for (std::size_t i = 0; i < gradients.size(); ++i) {
        velocities[i].mul_(options_.momentum).sub_(gradients[i], options_.step_size);
        state.activities[i + 1].add_(velocities[i] * going.unsqueeze(-1));
      }
      gradients = this->gradients(network, state);
      converged.logical_or_(norm(gradients).le(options_.tolerance * first));
    }
    report(state, norm(gradients) / first.clamp_min(1e-300), steps, converged);
    return state;
  }

  std::string_view name() const override { return "momentum_descent"; }

 private:
  // Of hidden layers 1..L-1; leaves the state's outputs and errors as they are there.
  std::vector<at::Tensor> gradients(const nn::NetworkImpl& network, Equilibrium& state) const {
    state.outputs.assign(1, {});
    state.errors.assign(1, {});
    for (std::size_t l = 1; l <= network.size(); ++l) {
      const auto made = nn::layer_output(network, l, state.activities[l - 1]);
      state.outputs.push_back(made.output);
      state.errors.push_back(state.activities[l] - made.prediction);
    }
    std::vector<at::Tensor> gradients;
    for (std::size_t l = 1; l < network.size(); ++l) {
      const auto& above = network.layer(l + 1);
      auto signal = state.errors[l + 1].clone();
      nn::multiply_slope_(signal, state.outputs[l + 1], above.options.activation());
      auto gradient = state.errors[l] - at::matmul(signal, above.weight);
      if (above.options.residual()) gradient.sub_(state.errors[l + 1]);
      gradients.push_back(gradient);
    }
    return gradients;
  }

  // Over all hidden layers, of every sample.
  static at::Tensor norm(const std::vector<at::Tensor>& gradients) {
    at::Tensor sum;
    for (const auto& gradient : gradients) {
      const auto square = gradient.to(at::kDouble).square().sum(-1);
      sum = sum.defined() ? sum + square : square;
    }
    return sum.sqrt();
  }

  void report(Equilibrium& state, const at::Tensor& residual, const at::Tensor& steps,
              const at::Tensor& converged) const {
    auto energy = at::zeros_like(residual);
    for (std::size_t l = 1; l < state.errors.size(); ++l) {
      energy.add_(state.errors[l].to(at::kDouble).square().sum(-1), 0.5);
    }
    state.report = {.method = std::string(name()),
                    .energy = energy,
                    .residual = residual,
                    .gap_bound = at::full_like(energy, NAN),
                    .steps = steps,
                    .converged = converged,
                    .unstable = at::isfinite(energy).logical_not(),
                    .step_size = at::full_like(energy, options_.step_size),
                    .curvature = at::zeros_like(energy)};
  }

  Options options_;
};

std::shared_ptr<const inference::Inference> make(const train::Config& config) {
  const double step_size = config.real("inference_step_size");
  if (step_size == 0) {
    user_error("inference = 'momentum_descent' needs an inference_step_size above 0");
  }
  return std::make_shared<MomentumDescent>(
      Options{.steps = config.integer("inference_steps"),
              .step_size = step_size,
              .momentum = config.real("momentum"),
              .tolerance = config.real("inference_tolerance")});
}

}  // namespace

void add_momentum_descent() {
  train::add_inference({.name = "momentum_descent",
                        .doc = "state descent with momentum",
                        .keys = {{.name = "momentum",
                                  .kind = train::Kind::kReal,
                                  .initial = "0.9",
                                  .doc = "part of its last step that momentum_descent goes again",
                                  .shape = train::Shape::kSweep,
                                  .minimum = 0,
                                  .maximum = 1,
                                  .per_model = true}}},
                       make);
}
