// An inference method of your own is a solver: where next, from the gradients of one pass. Passes,
// the stop of every sample and the report are the library's (pcxx/inference/settle.h). This one is
// gradient descent with Nesterov's momentum on the hidden errors.
//
//   ninja -C build/release own_solver && build/release/bin/own_solver
//
// Ends with 1 unless it finds the energies of the closed form, in a deep linear network.
// docs/extending.md makes such a method a value of `inference` in the programs.

#include <fmt/format.h>
#include <pcxx/inference/settle.h>
#include <pcxx/pcxx.h>
#include <torch/torch.h>

using namespace pcxx;

// v <- m v - eta g,  eps <- eps + m v - eta g.
class Nesterov final : public inference::Solver {
 public:
  explicit Nesterov(at::Tensor like) : like_(std::move(like)) {}

  void step(inference::Energy& energy, inference::SampleControl& control, bool) override {
    const auto gradients = energy.gradients();
    control.read(energy);
    for (std::size_t row = 0; row < control.rows(); ++row) {
      if (control.active(row)) control.accept(row);  // it stops here if that is good enough
    }
    if (gradients.empty()) return;  // no hidden layer
    const auto samples = gradients[0].sizes().slice(0, gradients[0].dim() - 1);
    const auto going = control.active_rows().view(samples).unsqueeze(-1);
    const auto errors = energy.variables();
    for (std::size_t l = 0; l < errors.size(); ++l) {
      if (velocities_.size() == l) velocities_.push_back(at::zeros_like(errors[l]));
      velocities_[l].mul_(kMomentum).sub_(gradients[l], kStepSize);
      errors[l].add_((kMomentum * velocities_[l] - kStepSize * gradients[l]) * going);
    }
  }

  void keep(const at::Tensor& rows) override {  // samples that have finished leave the batch
    for (auto& velocity : velocities_) velocity = velocity.index_select(0, rows);
  }

  at::Tensor step_sizes() const override { return at::full_like(like_, kStepSize); }

 private:
  static constexpr double kMomentum = 0.5;
  static constexpr double kStepSize = 0.2;
  at::Tensor like_;
  std::vector<at::Tensor> velocities_;
};

class NesterovDescent final : public inference::Inference {
 public:
  inference::Equilibrium infer(const nn::NetworkImpl& network,
                               const data::Batch& batch) const override {
    const inference::DescentOptions options{
        .max_steps = 500, .tolerance = 1e-8, .energy_tolerance = 0};
    return settle(network, batch, options, name(),
                  [](const at::Tensor& like) { return std::make_unique<Nesterov>(like); });
  }

  std::string_view name() const override { return "nesterov"; }
};

int main() {
  nn::Network network(nn::mlp({10, 20, 20, 5}));
  network->to(torch::kFloat64);
  nn::init::kaiming_(*network, make_generator(/*seed=*/0, Purpose::kWeights));
  auto generator = make_generator(/*seed=*/0, Purpose::kInputs);
  const data::Batch batch(at::randn({32, 10}, generator, torch::kFloat64),
                          at::randn({32, 5}, generator, torch::kFloat64));

  const auto found = NesterovDescent().infer(*network, batch).report;
  const auto exact = inference::ClosedForm().infer(*network, batch).report;
  const auto gap = ((found.energy - exact.energy) / exact.energy).abs().max().item<double>();
  fmt::print("{}\nclosed form: the energies differ by {:.1e} of themselves\n", found.brief(), gap);

  // It is a part like any other: a rule that learns with it.
  learning::PredictiveCoding rule(std::make_shared<NesterovDescent>());
  optim::Rescaled optimizer(torch::optim::SGD(network->parameters(), 0.1),
                            std::make_unique<optim::Plain>());
  optimizer.step(rule.factors(*network, batch));
  return gap < 1e-10 ? 0 : 1;
}
