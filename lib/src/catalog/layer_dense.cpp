#include <pcxx/core/error.h>

#include "catalog/layer_kinds.h"
#include "catalog/registry.h"

namespace pcxx::catalog {
namespace {

struct DenseKeys {
  std::int64_t width = 0;
  nn::Activation activation = nn::Activation::kIdentity;
  bool bias = false;
  bool residual = false;
};

StackedLayer make_dense(const DenseKeys& keys, const LayerPlace& at) {
  const auto width = width_of(keys.width, at);
  if (keys.residual && width != at.below) {
    user_error("{} is residual, and cannot make {} units of {}", at.place, width, at.below);
  }
  return {.dense = nn::DenseOptions(at.below, width)
                       .activation(keys.activation)
                       .bias(keys.bias)
                       .residual(keys.residual),
          .weights = static_cast<double>(at.below) * static_cast<double>(width)};
}

}  // namespace

LayerKind dense_kind() {
  const auto keys = config::OptionKeys<DenseKeys>()
                        .add(&DenseKeys::width, width_key())
                        .add(&DenseKeys::activation, {.name = "activation"}, named_activations())
                        .add(&DenseKeys::bias, {.name = "bias"})
                        .add(&DenseKeys::residual, {.name = "residual"});
  LayerKind kind;
  kind.name = "dense";
  kind.doc = "f(W x + b), or x + f(W x + b) when residual";
  kind.options = keys.keys();
  kind.make = [keys](const config::Config& own, const LayerPlace& at) {
    return make_dense(keys.read(own), at);
  };
  return kind;
}

}  // namespace pcxx::catalog
