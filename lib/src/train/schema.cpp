#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <pcxx/train/schema.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "train/registry.h"
#include "train/text.h"

namespace pcxx::train {
namespace {

// Levenshtein's: insertions, deletions and replacements.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const auto replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

std::string_view kind_name(Kind kind) {
  switch (kind) {
    case Kind::kBoolean:
      return "true or false";
    case Kind::kInteger:
      return "whole number";
    case Kind::kReal:
      return "number";
    case Kind::kText:
      return "text";
  }
  TORCH_CHECK(false, "unknown kind ", static_cast<int>(kind));
}

std::string_view shape_name(Shape shape) {
  switch (shape) {
    case Shape::kOne:
      return "";
    case Shape::kSweep:
      return "sweep";
    case Shape::kList:
      return "list";
    case Shape::kSeeds:
      return "list, range or count";
  }
  TORCH_CHECK(false, "unknown shape ", static_cast<int>(shape));
}

// "number, above 0; default 0.1; sweep, per model".
std::string facts(const Key& key) {
  std::string text = key.choices.empty() ? std::string(kind_name(key.kind))
                                         : fmt::format("{}", fmt::join(key.choices, " | "));
  if (const auto bounds = limits(key); !bounds.empty()) text += ", " + bounds;
  text += "; default " + key.initial;
  const auto shape = shape_name(key.shape);
  if (!shape.empty()) text += fmt::format("; {}", shape);
  if (key.per_model) text += "; per model";
  return text;
}

}  // namespace

std::string to_string(const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  return std::visit([](const auto& v) { return fmt::format("{}", v); }, value);
}

std::string limits(const Key& key) {
  std::string text;
  if (std::isfinite(key.minimum)) {
    text = key.open_minimum ? fmt::format("above {}", key.minimum)
                            : fmt::format("at least {}", key.minimum);
  }
  if (std::isfinite(key.maximum)) {
    text += fmt::format("{}at most {}", text.empty() ? "" : " and ", key.maximum);
  }
  return key.zero_is_off ? text + ", or 0" : text;
}

Schema::Schema(const std::vector<std::string>& names) {
  auto all = names;
  for (const char* name : {"threads", "device"}) {
    if (std::find(names.begin(), names.end(), name) == names.end()) all.emplace_back(name);
  }
  for (const auto& name : all) {
    const auto& known = vocabulary();
    const auto key =
        std::find_if(known.begin(), known.end(), [&](const Key& k) { return k.name == name; });
    TORCH_CHECK(key != known.end(), "the vocabulary has no key '", name, "'");
    if (name == "layer" && extensions_of(name).empty()) continue;  // nothing to choose
    add(*key);
    for (const auto& extension : extensions_of(name)) extend(name, extension);
  }
}

void Schema::extend(std::string_view name, const Extension& extension) {
  auto& key = at(name);
  key.choices.push_back(extension.name);
  key.doc += fmt::format("; {}: {}", extension.name, extension.doc);
  for (const auto& own : extension.keys) add(own);
}

Schema& Schema::add(Key key) {
  TORCH_CHECK(find(key.name) == nullptr, "the schema has a key '", key.name, "' already");
  keys_.push_back(std::move(key));
  return *this;
}

Schema& Schema::initial(std::string_view name, std::string toml) {
  at(name).initial = std::move(toml);
  return *this;
}

Schema& Schema::one(const std::vector<std::string>& names) {
  for (const auto& name : names) at(name).shape = Shape::kOne;
  return *this;
}

Schema& Schema::choices(std::string_view name, std::vector<std::string> choices) {
  const auto& known = vocabulary();
  auto& key = at(name);
  key.doc =
      std::find_if(known.begin(), known.end(), [&](const Key& k) { return k.name == name; })->doc;
  key.choices = std::move(choices);
  for (const auto& extension : extensions_of(name)) {
    for (const auto& own : extension.keys) {
      std::erase_if(keys_, [&](const Key& k) { return k.name == own.name; });
    }
  }
  return *this;
}

Schema& Schema::without(std::string_view name, std::string_view choice) {
  std::erase(at(name).choices, choice);
  return *this;
}

const Key* Schema::find(std::string_view name) const {
  const auto key =
      std::find_if(keys_.begin(), keys_.end(), [&](const Key& k) { return k.name == name; });
  return key == keys_.end() ? nullptr : &*key;
}

Key& Schema::at(std::string_view name) {
  const auto key =
      std::find_if(keys_.begin(), keys_.end(), [&](const Key& k) { return k.name == name; });
  TORCH_CHECK(key != keys_.end(), "the schema has no key '", name, "'");
  return *key;
}

const std::string& Schema::nearest(std::string_view name) const {
  const auto key = std::min_element(keys_.begin(), keys_.end(), [&](const Key& a, const Key& b) {
    return edit_distance(name, a.name) < edit_distance(name, b.name);
  });
  return key->name;
}

std::string Schema::help() const {
  std::size_t longest = 0;
  for (const auto& key : keys_) longest = std::max(longest, key.name.size());
  std::string out;
  const auto add = [&](std::string_view name, const std::string& text) {
    out += fmt::format("  {:<{}}  ", name, longest);
    append_wrapped(out, text, longest + 4);
  };
  for (const auto& key : keys_) {
    add(key.name, key.doc);
    add("", facts(key));
  }
  out += '\n';
  add("sweep", "takes a value or a list to sweep over; of numbers also a range");
  add("", R"({ from = 1e-3, to = 1, points = 10, scale = "log" }, where scale may be "linear")");
  add("per model", "may also stand in a [[models]] table, for that model alone");
  return out;
}

}  // namespace pcxx::train
