#include <ATen/ATen.h>
#include <fmt/format.h>
#include <pcxx/nn/scale.h>

#include "nn/layer_parts.h"

namespace pcxx::nn {

void Scale::pretty_print(std::ostream& stream) const {
  stream << "pcxx::nn::Scale(" << in_features() << ", factor=" << factor_ << ")";
}

std::string Scale::description() const {
  return fmt::format("scale(factor={})", factor_);
}

at::Tensor Scale::forward(const at::Tensor& x) const {
  return x * factor_;
}

Pulled Scale::pull_back(const at::Tensor&, const Kept&, const at::Tensor& signal,
                        Wanted wanted) const {
  const at::NoGradGuard no_grad;
  if (!wanted.input) return {};
  return {.input = signal * factor_};
}

at::Tensor Scale::push_forward(const at::Tensor&, const Kept& kept, const at::Tensor& tangent,
                               const std::vector<at::Tensor>&) const {
  const at::NoGradGuard no_grad;
  return tangent.defined() ? tangent * factor_ : at::zeros_like(kept.output);
}

at::Tensor Scale::moved(const at::Tensor& x, const std::vector<at::Tensor>&, double) const {
  const at::NoGradGuard no_grad;
  return x * factor_;
}

namespace {

struct ScaleKeys {
  double factor = 1;
};

}  // namespace

LayerKind scale_kind() {
  const auto keys = config::OptionKeys<ScaleKeys>().add(&ScaleKeys::factor, {.name = "factor"});
  LayerKind kind;
  kind.name = "scale";
  kind.doc = "every number times a constant";
  kind.keeps_width = true;
  kind.options = keys.keys();
  kind.make = [keys](const config::Config& own, const LayerPlace& at) -> StackedLayer {
    return {
        .dense = DenseOptions(at.below, at.below),
        .maker = [factor = keys.read(own).factor](
                     std::int64_t n, std::int64_t) { return std::make_shared<Scale>(n, factor); },
        .image = at.image};
  };
  return kind;
}

}  // namespace pcxx::nn
