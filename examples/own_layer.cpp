// A layer of your own in a network: forward in operations that autograd can follow, and the way the
// weights are drawn. Both rules train it; predictive coding settles by L-BFGS.
//
//   ninja -C build/release own_layer && build/release/bin/own_layer
//
// Ends with 1 unless each rule makes the error smaller than a tenth of what it was.
// docs/extending.md makes such a layer a value of `layer` in the programs.

#include <fmt/format.h>
#include <pcxx/pcxx.h>
#include <torch/torch.h>

#include <cmath>

using namespace pcxx;

// tanh(V x) * sigmoid(G x): each unit has a gate.
class Gated final : public nn::Layer {
 public:
  Gated(std::int64_t in, std::int64_t out) : Layer(in, out) {
    value_ = register_parameter("value", torch::zeros({out, in}));
    gate_ = register_parameter("gate", torch::zeros({out, in}));
  }

  at::Tensor forward(const at::Tensor& x) const override {
    return at::tanh(at::matmul(x, value_.t())) * at::sigmoid(at::matmul(x, gate_.t()));
  }

  void draw_(at::Generator generator) override {
    const double spread = 1 / std::sqrt(static_cast<double>(in_features()));
    value_.normal_(0, spread, generator);
    gate_.normal_(0, spread, generator);
  }

 private:
  at::Tensor value_;
  at::Tensor gate_;
};

double error(const nn::Network& network, const data::Batch& batch) {
  const at::NoGradGuard no_grad;
  return (network->forward(batch.input) - batch.target).square().mean().item<double>();
}

bool learns(learning::LearningRule& rule) {
  // Layer 1 is Gated, layer 2 Dense: every layer may be of another kind.
  nn::Network network(nn::mlp({3, 32, 1}).with_layer(1, [](std::int64_t in, std::int64_t out) {
    return std::make_shared<Gated>(in, out);
  }));
  nn::init::kaiming_(*network, make_generator(/*seed=*/0, Purpose::kWeights));
  optim::Rescaled optimizer(torch::optim::Adam(network->parameters(), 1e-2),
                            std::make_unique<optim::Plain>());

  // The product of two inputs; the third one is 1.
  auto generator = make_generator(/*seed=*/0, Purpose::kInputs);
  auto x = at::randn({64, 3}, generator);
  x.select(1, 2).fill_(1);
  const data::Batch batch(x, x.select(1, 0).mul(x.select(1, 1)).unsqueeze(1));

  const double before = error(network, batch);
  for (int step = 0; step < 300; ++step) optimizer.step(rule.factors(*network, batch));
  const double after = error(network, batch);
  fmt::print("{}: error {:.3f}, after 300 steps {:.5f}\n", rule.name(), before, after);
  return after < 0.1 * before;
}

int main() {
  learning::Backpropagation bp;
  learning::PredictiveCoding pc(std::make_shared<inference::Lbfgs>());
  const bool both = learns(bp) & learns(pc);
  return both ? 0 : 1;
}
