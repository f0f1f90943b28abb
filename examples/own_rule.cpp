// A learning rule of your own: direct feedback alignment (Nokland 2016). The error of the output
// reaches each hidden layer through a fixed random matrix, e_l = (B_l r) f_l', and no layer needs
// the weights of another.
//
//   ninja -C build/release own_rule && build/release/bin/own_rule
//
// A rule returns the factors of each layer's update. What follows, rescalings, optimizers and
// metrics, works with them as with those of any rule. Ends with 1 unless the digits are learnt.
// docs/extending.md makes a rule a value of `rule` in the programs.

#include <fmt/format.h>
#include <pcxx/nn/activation.h>
#include <pcxx/nn/feedforward.h>
#include <pcxx/pcxx.h>
#include <torch/torch.h>

#include <cmath>

using namespace pcxx;

class DirectFeedbackAlignment final : public learning::LearningRule {
 public:
  learning::Step factors(const nn::NetworkImpl& network, const data::Batch& batch) override {
    const at::NoGradGuard no_grad;
    const auto pass = nn::feedforward(network, batch.input);
    const auto residual =
        network.residual(pass.prediction(), network.enter(batch.target, network.out_features()));
    auto generator = make_generator(/*seed=*/0, kFeedback);
    learning::Step step;
    step.prediction = pass.prediction();
    for (std::size_t l = 1; l <= network.size(); ++l) {
      const auto& layer = network.dense(l);
      auto error = l == network.size() ? residual.clone()
                                       : at::matmul(residual, feedback(network, l, generator));
      nn::multiply_slope_(error, pass.outputs[l], layer.options.activation());
      step.layers.push_back({.weight = layer.weight,
                             .bias = layer.bias,
                             .error = error,
                             .presynaptic = pass.activities[l - 1],
                             .feedforward = pass.activities[l - 1],
                             .samples = batch.samples});
    }
    return step;
  }

  std::string_view name() const override { return "direct_feedback_alignment"; }

 private:
  // A stream of random numbers of its own, which changes nobody else's.
  static constexpr auto kFeedback = static_cast<Purpose>(1000);

  // The same at every step, [n_L, n_l].
  static at::Tensor feedback(const nn::NetworkImpl& network, std::size_t l,
                             at::Generator& generator) {
    const auto n = network.dense(l).options.out_features();
    const double spread = 1 / std::sqrt(static_cast<double>(n));
    return at::normal(0.0, spread, {network.out_features(), n}, generator)
        .to(network.tensor_options());
  }
};

int main() {
  const auto train = data::drawn_digits(4'000, /*seed=*/0);
  const auto test = data::drawn_digits(1'000, /*seed=*/0, train.size());
  nn::Network network(nn::mlp({784, 64, 32, 10}, nn::Activation::kTanh).with_bias());
  nn::init::kaiming_(*network, make_generator(/*seed=*/0, Purpose::kWeights));
  optim::Rescaled optimizer(torch::optim::Adam(network->parameters(), 3e-3),
                            std::make_unique<optim::Plain>());
  DirectFeedbackAlignment rule;
  data::Minibatches minibatches(train.size(), /*seed=*/0);
  for (int step = 0; step < 300; ++step) {
    optimizer.step(rule.factors(
        *network, data::classification_batch(train, minibatches.next(64), 10, torch::kFloat32)));
  }
  const auto inputs = test.values(torch::kFloat32);
  const double accuracy = metrics::accuracy(*network, inputs, test.labels).item<double>();
  fmt::print("{}: {:.1f} % of the test images\n", rule.name(), 100 * accuracy);
  return accuracy > 0.6 ? 0 : 1;  // guesses are right once in ten
}
