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

constexpr double kMostLayersOfAStack = 10'000;

Key repeat_key() {
  return {.name = "repeat",
          .kind = config::Kind::kInteger,
          .initial = "1",
          .minimum = 1,
          .maximum = kMostLayersOfAStack};
}

// All layers with their copies, those inside others too.
double count_layers(const std::vector<Call>& calls, const std::string& place) {
  double sum = 0;
  for (std::size_t l = 1; l <= calls.size(); ++l) {
    auto call = calls[l - 1];
    const auto here = fmt::format("{} layer {}", place, l);
    std::erase_if(call.settings, [](const auto& setting) { return setting.first != "repeat"; });
    const auto own = Config::of_words(config::Schema({repeat_key()}), call.settings,
                                      fmt::format("{} ({})", here, shortened(call.name)));
    const double inside = count_layers(call.inner, here + ",");
    sum += static_cast<double>(own.integer("repeat")) * std::max(1.0, inside);
  }
  return sum;
}

void check_count(const std::vector<Call>& calls) {
  const double count = count_layers(calls, "layers:");
  if (count <= kMostLayersOfAStack) return;
  user_error("layers: repeat makes {:g} layers, more than the {:g} that are possible", count,
             kMostLayersOfAStack);
}

const LayerKind& kind_of(const std::vector<LayerKind>& kinds, const Call& call,
                         const std::string& place) {
  const auto found = std::find_if(kinds.begin(), kinds.end(),
                                  [&](const LayerKind& kind) { return kind.name == call.name; });
  if (found == kinds.end()) {
    std::vector<std::string> names;
    for (const auto& kind : kinds) names.push_back(kind.name);
    user_error("{} is of no kind '{}': there are {}", place, shortened(call.name),
               fmt::join(names, ", "));
  }
  if (!call.inner.empty() && !found->takes_layers) {
    user_error("{} ({}) takes no layers inside it", place, call.name);
  }
  return *found;
}

Config own_config(const LayerKind& kind, const Call& call, const Config& model,
                  const std::string& place) {
  auto keys = kind.options;
  for (auto& key : keys) {
    const bool inherited = kind.of_model && key.name != "width" && model.has(key.name);
    if (inherited) key.initial = model.toml_of(key.name);
  }
  keys.push_back(repeat_key());
  return Config::of_words(config::Schema(std::move(keys)), call.settings,
                          fmt::format("{} ({})", place, kind.name));
}

// The number of the last layer that may have another width than the one below it.
std::size_t last_of_own_width(const std::vector<LayerKind>& kinds, const std::vector<Call>& calls) {
  const auto keeps = [&](const Call& call) {
    return std::any_of(kinds.begin(), kinds.end(), [&](const LayerKind& kind) {
      return kind.keeps_width && kind.name == call.name;
    });
  };
  const auto found = std::find_if_not(calls.rbegin(), calls.rend(), keeps);
  return static_cast<std::size_t>(std::distance(found, calls.rend()));
}

std::vector<StackedLayer> make_stack(const std::vector<Call>& calls, const LayerPlace& at) {
  const auto kinds = layer_kinds();
  const auto open = last_of_own_width(kinds, calls);
  std::vector<StackedLayer> stack;
  auto below = at.below;
  auto image = at.image;
  for (std::size_t l = 1; l <= calls.size(); ++l) {
    const auto& call = calls[l - 1];
    const auto place = fmt::format("{} layer {}", at.place, l);
    const auto& kind = kind_of(kinds, call, place);
    const auto own = own_config(kind, call, at.model, place);
    const auto copies = own.integer("repeat");
    for (std::int64_t copy = 1; copy <= copies; ++copy) {
      const bool last = l == open && copy == copies;
      auto layer =
          kind.make(own, {.model = at.model,
                          .inner = call.inner,
                          .stack = make_stack,
                          .place = copy == 1 ? place : fmt::format("{} (copy {})", place, copy),
                          .below = below,
                          .image = image,
                          .outputs = last ? at.outputs : 0});
      below = layer.dense.out_features();
      check_numbers(static_cast<double>(below), "the units of a layer");
      image = layer.image;
      if (!layer.is_nothing) stack.push_back(std::move(layer));
    }
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
  check_count(calls);
  auto stack = make_stack(calls, {.model = model,
                                  .inner = calls,
                                  .stack = make_stack,
                                  .place = "layers:",
                                  .below = inputs,
                                  .image = square_of(inputs),
                                  .outputs = outputs});
  const auto given = stack.back().dense.out_features();
  if (given != outputs) {
    user_error("layers: layer {} gives {} units, and the targets have {} ({})", calls.size(), given,
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
  return fmt::format("{}; any of them: repeat = 1, so many in a row", fmt::join(texts, ""));
}

}  // namespace pcxx::catalog
