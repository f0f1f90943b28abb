#include "learning/own_directions.h"

#include <ATen/ATen.h>

namespace pcxx::learning {

OwnDirections own_directions(std::size_t l, const nn::Layer& layer, std::vector<at::Tensor> sums,
                             std::int64_t samples) {
  const at::NoGradGuard no_grad;
  for (auto& sum : sums) {
    if (sum.defined()) sum = sum / static_cast<double>(samples);
  }
  return {.layer = l, .parameters = layer.parameters(), .directions = std::move(sums)};
}

}  // namespace pcxx::learning
