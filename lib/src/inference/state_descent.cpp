#include <ATen/ATen.h>
#include <pcxx/core/error.h>
#include <pcxx/inference/state_descent.h>

#include "inference/gradient_steps.h"
#include "inference/parts.h"

namespace pcxx::inference {
namespace {

// The energy as a function of the hidden activities themselves (eq. 2).
class StateEnergy final : public Energy {
 public:
  StateEnergy(const nn::NetworkImpl& network, const nn::Feedforward& pass, const at::Tensor& target)
      : network_(network),
        activities_(pass.activities),
        outputs_(pass.activities.size()),
        errors_(pass.activities.size()),
        squares_(at::zeros(target.sizes().slice(0, target.dim() - 1), target.options())) {
    for (std::size_t l = 1; l < network.size(); ++l) {
      activities_[l] = activities_[l].clone(at::MemoryFormat::Contiguous);
    }
    outputs_[1] = pass.outputs[1];
    first_prediction_ = pass.activities[1];
    activities_.back() = target;
    predict();
  }

  std::vector<at::Tensor> variables() override {
    return {activities_.begin() + 1, activities_.end() - 1};
  }

  void forward(bool) override { predict(); }

  std::vector<at::Tensor> gradients() override {
    std::vector<at::Tensor> gradients;
    squares_.zero_();
    for (std::size_t l = 1; l < network_.size(); ++l) {
      gradients.push_back(pull_back(errors_, l));
      squares_.add_(gradients.back().square().sum(-1));
    }
    return gradients;
  }

  const at::Tensor& gradient_squares() const override { return squares_; }
  const at::Tensor& energy_squares() const override { return energy_squares_; }

  // The Hessian is A^T H A, where A v are the changes of the errors, and H the loss's Hessian for
  // those of the output.
  at::Tensor curvature(const at::Tensor& rows, int iterations) const override {
    const auto depth = network_.size();
    std::vector<at::Tensor> v(depth + 1);
    for (std::size_t l = 1; l < depth; ++l) v[l] = pull_back(errors_, l);
    at::Tensor quotient;
    for (int k = 0; k < iterations; ++k) {
      auto squares = at::zeros_like(squares_);
      for (std::size_t l = 1; l < depth; ++l) squares.add_(v[l].square().sum(-1));
      const auto scale = squares.rsqrt().nan_to_num(0, 0, 0).unsqueeze(-1);
      for (std::size_t l = 1; l < depth; ++l) v[l] = v[l] * scale;
      std::vector<at::Tensor> change(depth + 1);
      quotient = at::zeros_like(squares_);
      for (std::size_t l = 1; l <= depth; ++l) {
        change[l] = error_change(v, l);
        const auto curved =
            l < depth ? change[l] : network_.loss().curve(errors_[l], activities_[l], change[l]);
        quotient.add_((change[l] * curved).sum(-1));
        change[l] = curved;
      }
      for (std::size_t l = 1; l < depth; ++l) v[l] = pull_back(change, l);
    }
    return quotient.flatten().index_select(0, rows);
  }

  std::unique_ptr<Energy> select(const at::Tensor& rows) const override {
    auto part = std::make_unique<StateEnergy>(*this);
    for (auto& kept : part->outputs_) kept = kept.select(rows);
    for (auto* tensors : {&part->activities_, &part->errors_}) {
      for (auto& t : *tensors) {
        if (t.defined()) t = t.index_select(0, rows);
      }
    }
    part->first_prediction_ = first_prediction_.index_select(0, rows);
    part->squares_ = squares_.index_select(0, rows);
    part->energy_squares_ = energy_squares_.index_select(0, rows);
    return part;
  }

  Equilibrium finish(nn::Feedforward pass, Report report) {
    report.drop_gap_bound();
    return {.feedforward = std::move(pass),
            .activities = std::move(activities_),
            .outputs = std::move(outputs_),
            .errors = std::move(errors_),
            .report = std::move(report)};
  }

 private:
  // eps_l and a_l of every layer at the activities; a_1 never changes.
  void predict() {
    energy_squares_ = at::zeros_like(squares_);
    auto prediction = first_prediction_;
    for (std::size_t l = 1; l <= network_.size(); ++l) {
      if (l > 1) {
        auto made = network_.layer(l).run(activities_[l - 1]);
        outputs_[l] = std::move(made.kept);
        prediction = std::move(made.prediction);
      }
      if (l == network_.size()) break;
      errors_[l] = activities_[l] - prediction;
      energy_squares_.add_(errors_[l].square().sum(-1));
    }
    errors_.back() = network_.residual(prediction, activities_.back());
    energy_squares_.add_(network_.loss().value(prediction, activities_.back()), 2);
  }

  // The change of eps_l when the activities change by v.
  at::Tensor error_change(const std::vector<at::Tensor>& v, std::size_t l) const {
    if (l == 1) return v[1];
    auto change =
        network_.layer(l).push_forward(activities_[l - 1], outputs_[l], v[l - 1], {}).neg();
    return l < network_.size() ? change.add_(v[l]) : change;
  }

  // The transpose of that: dE/dx_l of errors u.
  at::Tensor pull_back(const std::vector<at::Tensor>& u, std::size_t l) const {
    const auto& above = network_.layer(l + 1);
    return u[l] -
           above.pull_back(activities_[l], outputs_[l + 1], u[l + 1], {.parameters = false}).input;
  }

  const nn::NetworkImpl& network_;
  at::Tensor first_prediction_;
  std::vector<at::Tensor> activities_;
  std::vector<nn::Kept> outputs_;
  std::vector<at::Tensor> errors_;
  at::Tensor squares_;
  at::Tensor energy_squares_;
};

}  // namespace

StateDescent::StateDescent(DescentOptions options) : options_(options) {
  TORCH_CHECK(options.max_steps >= 0, "steps cannot be negative: ", options.max_steps);
  TORCH_CHECK(options.step_size > 0, "state descent needs a positive step size, not ",
              options.step_size);
}

Equilibrium StateDescent::infer(const nn::NetworkImpl& network, const data::Batch& batch) const {
  const at::NoGradGuard no_grad;
  auto pass = nn::feedforward(network, batch.input);
  const auto target = network.enter(batch.target, network.out_features());
  StateEnergy energy(network, pass, target);
  const auto step =
      at::full(target.sizes().slice(0, target.dim() - 1), options_.step_size, target.options());
  SampleControl control(options_, step);
  GradientSteps solver(step, /*fixed=*/true);
  minimise(energy, solver, control, options_.max_steps);
  auto report = control.report(name(), solver.step_sizes(), energy.energy_squares().div(2));
  auto state = energy.finish(std::move(pass), std::move(report));
  if (!options_.keep_unstable) discard_unstable(state);
  return state;
}

InferencePart state_descent_part() {
  const auto keys = descent_keys();
  InferencePart part;
  part.name = "state_descent";
  part.options = keys.keys();
  part.make = [keys](const config::Config& model) {
    const auto options = keys.read(model);
    if (options.step_size == 0) {
      user_error(
          "inference = 'state_descent' needs an inference_step_size above 0, for example 0.05");
    }
    return std::make_shared<StateDescent>(options);
  };
  return part;
}

}  // namespace pcxx::inference
