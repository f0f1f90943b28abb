#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <pcxx/config/schema.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/text.h"

namespace pcxx::config {
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
                                         : fmt::format("{}", fmt::join(choice_names(key), " | "));
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

std::string default_text(const Value& value) {
  return std::holds_alternative<std::string>(value) ? '"' + to_string(value) + '"'
                                                    : to_string(value);
}

std::vector<std::string> choice_names(const Key& key) {
  std::vector<std::string> names;
  for (const auto& choice : key.choices) names.push_back(choice.name);
  return names;
}

Schema::Schema(std::vector<Key> keys) {
  for (auto& key : keys) add(std::move(key));
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
  auto& key = at(name);
  std::vector<Choice> left;
  for (auto& choice : choices) {
    const auto known = std::find_if(key.choices.begin(), key.choices.end(),
                                    [&](const Choice& c) { return c.name == choice; });
    left.push_back(known == key.choices.end() ? Choice(choice) : *known);
  }
  key.choices = std::move(left);
  const auto left_out = [&](const std::string& choice) {
    return std::find(choices.begin(), choices.end(), choice) == choices.end();
  };
  std::erase_if(keys_, [&](const Key& option) {
    return option.of_key == name &&
           std::all_of(option.of_choices.begin(), option.of_choices.end(), left_out);
  });
  return *this;
}

Schema& Schema::without(std::string_view name, std::string_view choice) {
  std::erase_if(at(name).choices, [&](const Choice& c) { return c.name == choice; });
  return *this;
}

const Key* Schema::find(std::string_view name) const {
  const auto key =
      std::find_if(keys_.begin(), keys_.end(), [&](const Key& k) { return k.name == name; });
  return key == keys_.end() ? nullptr : &*key;
}

const Key* Schema::renamed(std::string_view old_name) const {
  if (old_name.empty()) return nullptr;
  const auto found = std::find_if(keys_.begin(), keys_.end(),
                                  [&](const Key& key) { return key.old_name == old_name; });
  return found == keys_.end() ? nullptr : &*found;
}

Key& Schema::at(std::string_view name) {
  const auto key =
      std::find_if(keys_.begin(), keys_.end(), [&](const Key& k) { return k.name == name; });
  TORCH_CHECK(key != keys_.end(), "the schema has no key '", name, "'");
  return *key;
}

std::vector<std::string> Schema::free_keys() const {
  std::vector<std::string> names;
  for (const auto& key : keys_) {
    if (key.free) names.push_back(key.name);
  }
  return names;
}

std::vector<std::string> Schema::file_keys() const {
  std::vector<std::string> names;
  for (const auto& key : keys_) {
    if (key.file) names.push_back(key.name);
  }
  return names;
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
    auto doc = key.doc;
    for (const auto& choice : key.choices) {
      if (!choice.doc.empty()) doc += fmt::format("; {}: {}", choice.name, choice.doc);
    }
    add(key.name, doc);
    add("", facts(key));
  }
  out += '\n';
  add("sweep", "takes a value or a list to sweep over; of numbers also a range");
  add("", R"({ from = 1e-3, to = 1, points = 10, scale = "log" }, where scale may be "linear")");
  add("per model", "may also stand in a [[models]] table, for that model alone");
  return out;
}

}  // namespace pcxx::config
