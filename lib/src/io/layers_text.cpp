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

namespace {

// As the key `layers` writes it.
std::string call_of(const nlohmann::json& layer, std::size_t l, const std::string& path) {
  if (layer.contains("members")) {
    user_error("'{}' holds several networks, an ensemble of {}", path, layer["members"].dump());
  }
  if (layer.contains("kind")) return layer.at("kind").get<std::string>();
  const auto activation = layer.at("activation").get<std::string>();
  if (activation == "own") user_error("'{}' has a layer {} that it does not describe", path, l);
  return fmt::format("dense(width={}, activation={}, bias={}, residual={})",
                     layer.at("out_features").get<std::int64_t>(), activation,
                     layer.at("bias").get<bool>(), layer.at("residual").get<bool>());
}

}  // namespace

DescribedNetwork network_of_text(const std::string& text, const std::string& path) {
  DescribedNetwork network{};
  try {
    const auto layers = parse_json(text);
    network.inputs = layers.at(0).at("in_features").get<std::int64_t>();
    network.outputs = layers.back().at("out_features").get<std::int64_t>();
    for (std::size_t l = 0; l < layers.size(); ++l) {
      network.layers += (l == 0 ? std::string() : " ") + call_of(layers[l], l + 1, path);
    }
  } catch (const nlohmann::json::exception&) {
    user_error("'{}' is damaged: its layers are described by no list of objects", path);
  }
  return network;
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
