#include "catalog/layer_kinds.h"

namespace pcxx::catalog {

LayerKind flatten_kind() {
  LayerKind kind;
  kind.name = "flatten";
  kind.doc = "no layer: activities are flat already";
  kind.make = [](const config::Config&, const LayerPlace& at) -> StackedLayer {
    return {.dense = nn::DenseOptions(at.below, at.below), .is_nothing = true};
  };
  return kind;
}

}  // namespace pcxx::catalog
