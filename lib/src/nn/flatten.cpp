#include "nn/layer_parts.h"

namespace pcxx::nn {

LayerKind flatten_kind() {
  LayerKind kind;
  kind.name = "flatten";
  kind.doc = "no layer: activities are flat already";
  kind.keeps_width = true;
  kind.make = [](const config::Config&, const LayerPlace& at) -> StackedLayer {
    return {.dense = DenseOptions(at.below, at.below), .is_nothing = true};
  };
  return kind;
}

}  // namespace pcxx::nn
