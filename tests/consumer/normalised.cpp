// rescaling = "normalised": every layer moves equally far, D_l / ||D_l||.

#include <ATen/ATen.h>
#include <pcxx/catalog/extend.h>

#include "lab.h"

namespace {

using namespace pcxx;

class Normalised final : public optim::Rescaling {
 public:
  std::vector<optim::Direction> directions(
      const std::vector<learning::LayerFactors>& layers) override {
    auto result = optim::Plain().directions(layers);
    for (auto& direction : result) {
      // Of [W b] as one matrix, in an ensemble of each member's.
      auto square = direction.weight.square().sum({-2, -1});
      if (direction.bias.defined()) square = square + direction.bias.square().sum(-1);
      const auto scale = square.sqrt().clamp_min(1e-30).reciprocal();
      direction.weight.mul_(scale.unsqueeze(-1).unsqueeze(-1));
      if (direction.bias.defined()) direction.bias.mul_(scale.unsqueeze(-1));
    }
    return result;
  }

  std::string_view name() const override { return "normalised"; }
};

}  // namespace

void add_normalised() {
  catalog::add_rescaling({"normalised", "the direction over its norm"},
                         [](const config::Config&) { return std::make_unique<Normalised>(); });
}
