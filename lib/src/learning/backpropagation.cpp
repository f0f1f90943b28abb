#include <ATen/ATen.h>
#include <pcxx/learning/backpropagation.h>
#include <pcxx/nn/feedforward.h>
#include <pcxx/nn/fused.h>
#include <pcxx/nn/products.h>

namespace pcxx::learning {

Step Backpropagation::factors(const nn::NetworkImpl& network, const data::Batch& batch) const {
  const at::NoGradGuard no_grad;
  const auto pass = nn::feedforward(network, batch.input);
  auto signal = network.enter(batch.target, network.out_features()) - pass.prediction();

  Step step{.layers = std::vector<LayerFactors>(network.size()),
            .prediction = pass.prediction(),
            .report = std::nullopt};
  for (std::size_t l = network.size(); l >= 1; --l) {
    const auto& layer = network.layer(l);
    const auto error = nn::fused::times_slope(signal, pass.outputs[l], layer.options.activation());
    step.layers[l - 1] = {.weight = layer.weight,
                          .bias = layer.bias,
                          .error = error,
                          .presynaptic = pass.activities[l - 1],
                          .feedforward = pass.activities[l - 1],
                          .samples = batch.samples};
    if (l > 1) {
      auto below = nn::backward_product(error, layer.weight);
      signal = layer.options.residual() ? below.add_(signal) : below;
    }
  }
  return step;
}

}  // namespace pcxx::learning
