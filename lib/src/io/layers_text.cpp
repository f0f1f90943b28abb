#include "io/layers_text.h"

#include <pcxx/core/error.h>

#include <algorithm>

#include "io/json_text.h"

namespace pcxx::io {

namespace {

nlohmann::ordered_json layers_of(const nn::NetworkImpl& network) {
  auto layers = nlohmann::ordered_json::array();
  for (const auto& layer : network.options.layers()) {
    const auto l = layers.size() + 1;
    const bool own = network.options.custom_layers().contains(l);
    layers.push_back({{"in_features", layer.in_features()},
                      {"out_features", layer.out_features()},
                      {"activation", own ? "own" : nn::name(layer.activation())},
                      {"bias", !own && layer.bias()},
                      {"residual", layer.residual()}});
    if (layer.members()) layers.back()["members"] = *layer.members();
    const auto kind = own ? network.layer(l).description() : std::string();
    if (!kind.empty()) layers.back()["kind"] = kind;
  }
  return layers;
}

template <typename Json>
std::string value_text(const Json& layer, const std::string& name) {
  return layer.contains(name) ? layer[name].dump() : "none";
}

}  // namespace

std::string layers_text(const nn::NetworkImpl& network) {
  return layers_of(network).dump();
}

void check_layers(const std::string& text, const nn::NetworkImpl& network,
                  const std::string& path) {
  const auto found = parse_json(text);
  const auto wanted = layers_of(network);
  const bool fits = found.is_array() && std::all_of(found.begin(), found.end(),
                                                    [](const auto& l) { return l.is_object(); });
  if (!fits) user_error("'{}' is damaged: its layers are described by no list of objects", path);
  if (found.size() != wanted.size()) {
    user_error("'{}' is of another network: it describes {} layers, not {}", path, found.size(),
               wanted.size());
  }
  for (std::size_t l = 0; l < wanted.size(); ++l) {
    for (const std::string name :
         {"in_features", "out_features", "activation", "bias", "residual", "members", "kind"}) {
      const auto theirs = value_text(found[l], name);
      const auto ours = value_text(wanted[l], name);
      if (theirs == ours) continue;
      user_error("'{}' is of another network: layer {} has {} {}, not {}", path, l + 1, name,
                 theirs, ours);
    }
  }
}

}  // namespace pcxx::io
