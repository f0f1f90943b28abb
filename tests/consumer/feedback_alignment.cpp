// rule = "feedback_alignment": backpropagation whose errors come down through fixed random matrices
// (Lillicrap et al. 2016), e_l = (B_{l+1}^T e_{l+1}) f_l'.

#include <ATen/ATen.h>
#include <pcxx/catalog/extend.h>
#include <pcxx/core/random.h>
#include <pcxx/nn/activation.h>
#include <pcxx/nn/feedforward.h>

#include <algorithm>
#include <cmath>

#include "lab.h"

namespace {

using namespace pcxx;

constexpr auto kFeedback = static_cast<Purpose>(1001);

class FeedbackAlignment final : public learning::LearningRule {
 public:
  explicit FeedbackAlignment(std::int64_t seed) : seed_(static_cast<std::uint64_t>(seed)) {}

  learning::Step factors(const nn::NetworkImpl& network, const data::Batch& batch) override {
    const at::NoGradGuard no_grad;
    const auto pass = nn::feedforward(network, batch.input);
    learning::Step step;
    step.prediction = pass.prediction();
    auto signal = network.enter(batch.target, network.out_features()) - pass.prediction();
    auto generator = make_generator(seed_, kFeedback);
    for (std::size_t l = network.size(); l >= 1; --l) {
      const auto& layer = network.dense(l);
      auto error = signal.clone();
      nn::multiply_slope_(error, pass.outputs[l], layer.options.activation());
      step.layers.push_back({.weight = layer.weight,
                             .bias = layer.bias,
                             .error = error,
                             .presynaptic = pass.activities[l - 1],
                             .feedforward = pass.activities[l - 1],
                             .samples = batch.samples});
      if (l > 1) signal = at::matmul(error, feedback(layer, generator));
    }
    std::reverse(step.layers.begin(), step.layers.end());
    return step;
  }

  std::string_view name() const override { return "feedback_alignment"; }

 private:
  // The same at every step, for every member of an ensemble: [n_l, n_{l-1}].
  static at::Tensor feedback(const nn::DenseImpl& layer, at::Generator& generator) {
    const auto out = layer.options.out_features();
    const auto in = layer.options.in_features();
    const double spread = 1 / std::sqrt(static_cast<double>(out));
    return at::normal(0.0, spread, {out, in}, generator, at::kDouble)
        .to(layer.weight.device(), layer.weight.scalar_type());
  }

  std::uint64_t seed_;
};

}  // namespace

void add_feedback_alignment() {
  catalog::add_rule({.name = "feedback_alignment",
                     .doc = "backpropagation through fixed random matrices",
                     .keys = {{.name = "feedback_seed",
                               .kind = config::Kind::kInteger,
                               .initial = "0",
                               .doc = "seed of feedback_alignment's matrices",
                               .shape = config::Shape::kSweep,
                               .minimum = 0,
                               .per_model = true}}},
                    [](const config::Config& config) {
                      return std::make_unique<FeedbackAlignment>(config.integer("feedback_seed"));
                    });
}
