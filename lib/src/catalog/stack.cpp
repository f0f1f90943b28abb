#include "catalog/stack.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <pcxx/core/error.h>

#include <algorithm>
#include <cmath>

#include "catalog/amounts.h"
#include "catalog/registry.h"
#include "core/text.h"

namespace pcxx::catalog {
namespace {

using config::Call;
using config::Config;
using config::Key;
using nn::ImageShape;
using nn::LayerKind;
using nn::LayerPlace;
using nn::StackedLayer;

ImageShape square_of(std::int64_t units) {
  const auto side = std::llround(std::sqrt(static_cast<double>(units)));
  return side * side == units ? ImageShape{1, side, side} : ImageShape{};
}

// The model, with what the layer sets otherwise.
Config with_own(Config model, const Config& own) {
  for (const auto& key : own.schema().keys()) {
    if (model.has(key.name) && key.name != "width") {
      model = model.with(key.name, own.values(key.name));
    }
  }
  return model;
}

Key own_width() {
  auto key = nn::width_key();
  key.kind = config::Kind::kInteger;
  key.initial = "0";
  return key;
}

// A layer of the program's own.
LayerKind kind_of(const LayerPart& part) {
  LayerKind kind;
  kind.name = part.name;
  kind.doc = part.doc;
  kind.of_model = true;
  kind.options = part.options;
  std::erase_if(kind.options, [](const Key& key) { return key.name == "width"; });
  kind.options.insert(kind.options.begin(), own_width());
  kind.make = [make = part.make](const Config& own, const LayerPlace& at) -> StackedLayer {
    const auto width = nn::width_of(own.integer("width"), at);
    return {.dense = nn::DenseOptions(at.below, width),
            .maker = make(with_own(at.model, own)),
            .weights = static_cast<double>(at.below) * static_cast<double>(width)};
  };
  return kind;
}

std::vector<LayerKind> layer_kinds() {
  auto kinds = nn::built_in_layer_kinds(named_activations());
  for (const auto& part : layers().parts()) kinds.push_back(kind_of(part));
  return kinds;
}

const LayerKind& kind_named(const std::vector<LayerKind>& kinds, const std::string& name,
                            const std::string& place) {
  const auto found = std::find_if(kinds.begin(), kinds.end(),
                                  [&](const LayerKind& kind) { return kind.name == name; });
  if (found != kinds.end()) return *found;
  std::vector<std::string> names;
  for (const auto& kind : kinds) names.push_back(kind.name);
  user_error("{} is of no kind '{}': there are {}", place, shortened(name), fmt::join(names, ", "));
}

Config own_config(const LayerKind& kind, const Call& call, const LayerPlace& at) {
  auto keys = kind.options;
  for (auto& key : keys) {
    const bool inherited = kind.of_model && key.name != "width" && at.model.has(key.name);
    if (inherited) key.initial = at.model.toml_of(key.name);
  }
  return Config::of_words(config::Schema(std::move(keys)), call.settings,
                          fmt::format("{} ({})", at.place, kind.name));
}

std::vector<StackedLayer> make_stack(const std::vector<Call>& calls, const LayerPlace& at) {
  const auto kinds = layer_kinds();
  std::vector<StackedLayer> stack;
  auto below = at.below;
  auto image = at.image;
  for (std::size_t l = 1; l <= calls.size(); ++l) {
    const auto& call = calls[l - 1];
    const LayerPlace place{.model = at.model,
                           .inner = call.inner,
                           .stack = make_stack,
                           .place = fmt::format("{} layer {}", at.place, l),
                           .below = below,
                           .image = image,
                           .outputs = l == calls.size() ? at.outputs : 0};
    const auto& kind = kind_named(kinds, call.name, place.place);
    if (!call.inner.empty() && !kind.takes_layers) {
      user_error("{} ({}) takes no layers inside it", place.place, kind.name);
    }
    auto layer = kind.make(own_config(kind, call, place), place);
    below = layer.dense.out_features();
    check_numbers(static_cast<double>(below), "the units of a layer");
    image = layer.image;
    if (!layer.is_nothing) stack.push_back(std::move(layer));
  }
  if (stack.empty()) user_error("{} there is no layer that does something", at.place);
  return stack;
}

}  // namespace

bool has_stack(const Config& model) {
  return model.has("layers") && !model.text("layers").empty();
}

std::vector<StackedLayer> stack_of(const Config& model, std::int64_t inputs, std::int64_t outputs) {
  const auto calls = config::parse_calls(model.text("layers"), "layers");
  if (calls.empty()) user_error("layers names none");
  auto stack = make_stack(calls, {.model = model,
                                  .inner = calls,
                                  .stack = make_stack,
                                  .place = "layers:",
                                  .below = inputs,
                                  .image = square_of(inputs),
                                  .outputs = outputs});
  const auto given = stack.back().dense.out_features();
  if (given != outputs) {
    user_error("layers: layer {} gives {} units, and the targets have {} ({})", stack.size(), given,
               outputs, model.has("outputs") ? "outputs" : "the last of widths");
  }
  return stack;
}

nn::NetworkOptions options_of(const std::vector<StackedLayer>& stack) {
  std::vector<nn::DenseOptions> layers;
  for (const auto& layer : stack) layers.push_back(layer.dense);
  nn::NetworkOptions options(std::move(layers));
  for (std::size_t l = 1; l <= stack.size(); ++l) {
    if (stack[l - 1].maker) options = options.with_layer(l, stack[l - 1].maker);
  }
  return options.draw(false);
}

bool is_layer_kind(std::string_view name) {
  const auto kinds = layer_kinds();
  return std::any_of(kinds.begin(), kinds.end(),
                     [&](const LayerKind& kind) { return kind.name == name; });
}

std::string layer_kinds_doc() {
  std::vector<std::string> texts;
  for (const auto& kind : layer_kinds()) {
    std::vector<std::string> keys;
    for (const auto& key : kind.options) {
      const bool needed = key.initial == "0" && key.zero_is_off;
      keys.push_back(needed || key.initial == "\"\""
                         ? key.name
                         : fmt::format("{} = {}", key.name, key.initial));
    }
    texts.push_back(fmt::format("; {}: {}{}", kind.name, kind.doc,
                                keys.empty() ? "" : fmt::format(" ({})", fmt::join(keys, ", "))));
  }
  return fmt::format("{}", fmt::join(texts, ""));
}

}  // namespace pcxx::catalog
