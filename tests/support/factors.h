#pragma once

#include <ATen/ATen.h>
#include <pcxx/core/random.h>
#include <pcxx/learning/factors.h>

#include <vector>

/// Factors of one layer drawn at random, for tests of what is made of them.
namespace pcxx::test {

struct FactorShape {
  std::vector<std::int64_t> lead = {};  // {R} in an ensemble
  std::int64_t batch = 5;
  std::int64_t in = 4;
  std::int64_t out = 3;
  bool bias = false;
};

/// u = xhat + 0.3 N(0, 1): correlated as equilibrium and feed-forward activities are.
inline learning::LayerFactors random_factors(const FactorShape& shape, std::uint64_t seed = 1,
                                             bool backpropagation = false) {
  auto generator = make_generator(seed, Purpose::kInputs);
  const auto draw = [&](std::vector<std::int64_t> tail) {
    auto sizes = shape.lead;
    sizes.insert(sizes.end(), tail.begin(), tail.end());
    return at::empty(sizes, at::kDouble).normal_(0, 1, generator);
  };
  learning::LayerFactors layer{.weight = draw({shape.out, shape.in}).requires_grad_(true),
                               .bias = {},
                               .error = draw({shape.batch, shape.out}),
                               .presynaptic = {},
                               .feedforward = draw({shape.batch, shape.in}),
                               .samples = shape.batch};
  if (shape.bias) layer.bias = draw({shape.out}).requires_grad_(true);
  layer.presynaptic =
      backpropagation ? layer.feedforward : layer.feedforward + 0.3 * draw({shape.batch, shape.in});
  return layer;
}

/// [u 1] and [xhat 1] where the layer has a bias, with its bias unit in place of 1.
inline at::Tensor with_ones(const at::Tensor& x, const learning::LayerFactors& layer) {
  if (!layer.bias.defined()) return x;
  auto shape = x.sizes().vec();
  shape.back() = 1;
  return at::cat({x, at::full(shape, layer.bias_unit, x.options())}, -1);
}

/// Weight and bias direction side by side, [n_l, n_{l-1} (+ 1)].
template <typename Direction>
at::Tensor joined(const Direction& direction) {
  if (!direction.bias.defined()) return direction.weight;
  return at::cat({direction.weight, direction.bias.unsqueeze(-1)}, -1);
}

}  // namespace pcxx::test
