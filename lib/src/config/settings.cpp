#include "config/settings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <pcxx/core/error.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <mutex>
#include <optional>
#include <set>

#include "config/calls.h"
#include "config/toml_text.h"
#include "core/text.h"

namespace pcxx::config {
namespace {

constexpr std::int64_t kMostValues = 1'000'000;
constexpr std::size_t kLongestSlip = 64;  // of what may be a slip of the hand

std::string_view kind_phrase(Kind kind) {
  constexpr std::array<std::string_view, 4> phrases = {"true or false", "a whole number",
                                                       "a number", "a text"};
  return phrases[static_cast<std::size_t>(kind)];
}

bool is_number(const Key& key) {
  return key.kind == Kind::kInteger || key.kind == Kind::kReal;
}

bool in_range(const Key& key, double number) {
  if (key.zero_is_off && number == 0) return true;
  const bool above = key.open_minimum ? number > key.minimum : number >= key.minimum;
  return above && number <= key.maximum;
}

// Reads or makes the setting of one key.
class ValueReader {
 public:
  ValueReader(const Key& key, const Source& source) : key_(key), source_(source) {}

  Setting read(const toml::node& node) const {
    if (const auto* table = node.as_table()) return range(*table);
    if (const auto* array = node.as_array()) {
      return key_.calls && is_tables(*array)
                 ? collect({checked(calls(*array), array->source())}, array->source())
                 : list(*array);
    }
    const auto value = one(node);
    return key_.shape == Shape::kSeeds ? count(value, node) : collect({value}, node.source());
  }

  // A list that is one value, or one value, or several to sweep over.
  Setting collect(std::vector<Value> values, const toml::source_region& place) const {
    if (key_.shape != Shape::kList) {
      if (values.empty()) fail(place, "{} is an empty list", key_.name);
      refuse_duplicates(values, place);
    }
    const bool listed =
        key_.shape == Shape::kList || key_.shape == Shape::kSeeds || values.size() > 1;
    auto toml = listed ? list_literal(values) : literal(values.front());
    return {std::move(values), std::move(toml)};
  }

  // The value as the key's kind, in range and among the choices.
  Value checked(Value value, const toml::source_region& place) const {
    if (key_.kind == Kind::kInteger) value = as_whole(value, place);
    if (const auto* whole = std::get_if<std::int64_t>(&value); whole && key_.kind == Kind::kReal) {
      value = static_cast<double>(*whole);
    }
    if (value.index() != static_cast<std::size_t>(key_.kind)) refuse(literal(value), place);
    if (const auto* text = std::get_if<std::string>(&value)) {
      if (text->find('\0') != std::string::npos) fail(place, "{} holds a zero byte", key_.name);
      if (key_.calls) parse_calls(*text, source_.prefix(place) + key_.name);
      const auto& choices = key_.choices;
      const bool chosen = std::any_of(choices.begin(), choices.end(),
                                      [&](const Choice& choice) { return choice.name == *text; });
      if (!choices.empty() && !chosen) refuse(literal(value), place);
    }
    if (const auto* whole = std::get_if<std::int64_t>(&value)) {
      check_range(static_cast<double>(*whole), value, place);
    }
    if (const auto* real = std::get_if<double>(&value)) {
      if (!std::isfinite(*real)) fail(place, "{} = {} is not finite", key_.name, *real);
      check_range(*real, value, place);
    }
    return value;
  }

 private:
  template <typename... Args>
  [[noreturn]] void fail(const toml::source_region& place, fmt::format_string<Args...> format,
                         Args&&... args) const {
    user_error("{}{}", source_.prefix(place), fmt::format(format, std::forward<Args>(args)...));
  }

  [[noreturn]] void refuse(const std::string& text, const toml::source_region& place) const {
    if (!key_.choices.empty()) {
      fail(place, "{} = {} is not one of {}", key_.name, shortened(text),
           fmt::join(choice_names(key_), ", "));
    }
    fail(place, "{} = {} is not {}", key_.name, shortened(text), kind_phrase(key_.kind));
  }

  // 1e3 and 1000.0 are 1000.
  Value as_whole(const Value& value, const toml::source_region& place) const {
    const auto* real = std::get_if<double>(&value);
    if (real == nullptr || std::trunc(*real) != *real) return value;
    check_range(*real, value, place);
    if (std::abs(*real) >= 0x1p63) return value;
    return static_cast<std::int64_t>(*real);
  }

  void check_range(double number, const Value& value, const toml::source_region& place) const {
    if (in_range(key_, number)) return;
    fail(place, "{} = {} is out of range: it must be {}", key_.name, literal(value), limits(key_));
  }

  void refuse_duplicates(const std::vector<Value>& values, const toml::source_region& place) const {
    auto sorted = values;
    std::sort(sorted.begin(), sorted.end());
    const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
    if (twice == sorted.end()) return;
    fail(place, "{} has {} twice", key_.name, shortened(literal(*twice)));
  }

  static std::string list_literal(const std::vector<Value>& values) {
    std::vector<std::string> texts;
    for (const auto& value : values) texts.push_back(literal(value));
    return fmt::format("[{}]", fmt::join(texts, ", "));
  }

  Value one(const toml::node& node) const {
    std::optional<Value> value;
    if (const auto* v = node.as_boolean()) value = v->get();
    if (const auto* v = node.as_integer()) value = v->get();
    if (const auto* v = node.as_floating_point()) value = v->get();
    if (const auto* v = node.as_string()) value = v->get();
    if (!value) refuse(kind_of(node), node.source());
    return checked(*value, node.source());
  }

  static bool is_tables(const toml::array& array) {
    return !array.empty() && array.is_homogeneous(toml::node_type::table);
  }

  // Tables as the text that they stand for.
  std::string calls(const toml::array& array) const {
    std::vector<Call> calls;
    for (const auto& node : array) calls.push_back(call(*node.as_table(), calls.size() + 1));
    return calls_text(calls);
  }

  Call call(const toml::table& table, std::size_t number) const {
    Call made;
    for (const auto& [name, node] : table) {
      const auto* inner = node.as_array();
      const bool tables = inner != nullptr && is_tables(*inner);
      const auto word = tables ? calls(*inner) : call_word(name.str(), node, number);
      if (name == "kind") {
        made.name = word;
      } else if (tables) {
        made.inner = parse_calls(word, source_.prefix(node.source()) + key_.name);
      } else {
        made.settings.emplace_back(std::string(name.str()), word);
      }
    }
    if (made.name.empty()) fail(table.source(), "{}: table {} has no kind", key_.name, number);
    return made;
  }

  std::string call_word(std::string_view name, const toml::node& node, std::size_t number) const {
    std::string word;
    if (const auto* v = node.as_boolean()) word = to_string(v->get());
    if (const auto* v = node.as_integer()) word = to_string(v->get());
    if (const auto* v = node.as_floating_point()) word = to_string(v->get());
    if (const auto* v = node.as_string()) word = v->get();
    if (!is_call_word(word) || !is_call_word(name)) {
      fail(node.source(), "{}: table {}: {} = {} is not one word or number", key_.name, number,
           shortened(name), word.empty() ? kind_of(node) : quote(word));
    }
    return word;
  }

  static std::string kind_of(const toml::node& node) {
    if (node.is_array()) return "[...]";
    if (node.is_table()) return "{...}";
    return "a date or time";
  }

  Setting list(const toml::array& array) const {
    if (key_.shape == Shape::kOne) {
      fail(array.source(), "{} takes one value, not a list", key_.name);
    }
    std::vector<Value> values;
    for (const auto& node : array) values.push_back(one(node));
    return collect(std::move(values), array.source());
  }

  Setting count(const Value& value, const toml::node& node) const {
    const auto n = std::get<std::int64_t>(value);
    if (n < 1 || n > kMostValues) {
      fail(node.source(), "{} = {} is not a count from 1 to {}; a list [{}] names one seed",
           key_.name, n, kMostValues, n);
    }
    return {consecutive(0, n - 1), literal(value)};
  }

  static std::vector<Value> consecutive(std::int64_t from, std::int64_t to) {
    std::vector<Value> values;
    for (std::int64_t i = 0; i <= to - from; ++i) values.emplace_back(from + i);
    return values;
  }

  Setting range(const toml::table& table) const {
    if (key_.shape == Shape::kSeeds) return seed_range(table);
    if (key_.shape != Shape::kSweep || !is_number(key_)) {
      fail(table.source(), "{} takes {}, not a table", key_.name,
           key_.shape == Shape::kOne ? "one value" : "a value or a list");
    }
    refuse_other_parts(table, {"from", "to", "points", "scale"});
    const auto from = end(table, "from");
    const auto to = end(table, "to");
    const auto points = this->points(table);
    const auto scale = this->scale(table);
    if (scale == "log" && std::min(number_of(from), number_of(to)) <= 0) {
      fail(table.source(),
           "a log range of {} stays above 0, unlike {} to {}: for others take scale = \"linear\"",
           key_.name, literal(from), literal(to));
    }
    auto toml = fmt::format("{{ from = {}, to = {}, points = {}, scale = \"{}\" }}", literal(from),
                            literal(to), points, scale);
    std::vector<Value> values;
    for (const double number : spaced(number_of(from), number_of(to), points, scale == "log")) {
      Value value = number;
      if (key_.kind == Kind::kInteger) value = std::int64_t{std::llround(number)};
      values.push_back(checked(value, table.source()));
    }
    refuse_duplicates(values, table.source());
    return {std::move(values), std::move(toml)};
  }

  Setting seed_range(const toml::table& table) const {
    refuse_other_parts(table, {"from", "to"});
    const auto from = std::get<std::int64_t>(end(table, "from"));
    const auto to = std::get<std::int64_t>(end(table, "to"));
    if (from > to) fail(table.source(), "{} goes from {} down to {}", key_.name, from, to);
    if (to - from >= kMostValues) {
      fail(table.source(), "{} from {} to {} are more than {}", key_.name, from, to, kMostValues);
    }
    return {consecutive(from, to), fmt::format("{{ from = {}, to = {} }}", from, to)};
  }

  void refuse_other_parts(const toml::table& table,
                          const std::vector<std::string_view>& parts) const {
    for (const auto& [name, node] : table) {
      if (std::find(parts.begin(), parts.end(), name.str()) != parts.end()) continue;
      fail(name.source(), "'{}' is not a part of the range of {}, which has {}",
           shortened(name.str()), key_.name, fmt::join(parts, ", "));
    }
  }

  const toml::node& part(const toml::table& table, std::string_view name) const {
    const auto* node = table.get(name);
    if (node == nullptr) fail(table.source(), "the range of {} lacks '{}'", key_.name, name);
    return *node;
  }

  Value end(const toml::table& table, std::string_view name) const {
    return one(part(table, name));
  }

  static double number_of(const Value& value) {
    const auto* whole = std::get_if<std::int64_t>(&value);
    return whole ? static_cast<double>(*whole) : std::get<double>(value);
  }

  std::int64_t points(const toml::table& table) const {
    const auto& node = part(table, "points");
    const auto number = node.is_number() ? node.value_or(0.0) : 0;
    const auto points = number >= 2 && number <= kMostValues ? std::llround(number) : 0;
    if (static_cast<double>(points) != number || points == 0) {
      fail(node.source(), "points in the range of {} is not a whole number from 2 to {}", key_.name,
           kMostValues);
    }
    return points;
  }

  std::string scale(const toml::table& table) const {
    const auto* node = table.get("scale");
    auto scale = node == nullptr ? "log" : node->value_or(std::string());
    if (scale != "log" && scale != "linear") {
      fail(node->source(), "scale in the range of {} is not one of log, linear", key_.name);
    }
    return scale;
  }

  // Powers of ten come out exact.
  static std::vector<double> spaced(double from, double to, std::int64_t points, bool log) {
    std::vector<double> numbers;
    for (std::int64_t i = 0; i < points; ++i) {
      const double t = static_cast<double>(i) / static_cast<double>(points - 1);
      numbers.push_back(log ? std::pow(10, std::lerp(std::log10(from), std::log10(to), t))
                            : std::lerp(from, to, t));
    }
    numbers.front() = from;
    numbers.back() = to;
    return numbers;
  }

  const Key& key_;
  const Source& source_;
};

bool takes_any_text(const Key& key) {
  return key.kind == Kind::kText && key.shape == Shape::kOne && key.choices.empty();
}

void note_once(const Key& key) {
  static std::mutex mutex;
  static std::set<std::string> noted;
  const std::lock_guard lock(mutex);
  if (!noted.insert(key.name).second) return;
  fmt::print(stderr,
             "note: the key '{}' is called '{}' now, and the next release takes that alone\n",
             key.old_name, key.name);
}

}  // namespace

std::string Source::prefix(const toml::source_region& region) const {
  if (name.empty()) return {};
  return lines ? fmt::format("{}:{}:{}: ", name, region.begin.line, region.begin.column)
               : name + ": ";
}

toml::table parse(std::string_view text, const Source& source) {
  if (const auto place = too_deep(text)) {
    const auto before = text.substr(0, *place);
    const auto line = 1 + std::count(before.begin(), before.end(), '\n');
    const auto column = *place - (before.rfind('\n') + 1) + 1;
    user_error("{}brackets or keys are nested more than 64 deep",
               source.prefix({.begin = {static_cast<toml::source_index>(line),
                                        static_cast<toml::source_index>(column)},
                              .end = {},
                              .path = {}}));
  }
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& error) {
    user_error("{}not valid TOML: {}", source.prefix(error.source()),
               one_line(error.description()));
  }
}

const Key& known_key(const Schema& schema, std::string_view name, const Source& source,
                     const toml::source_region& region) {
  if (const auto* key = schema.find(name)) return *key;
  if (const auto* key = schema.renamed(name)) {
    note_once(*key);
    return *key;
  }
  const auto meant = name.size() > kLongestSlip
                         ? "--help shows all keys"
                         : fmt::format("did you mean '{}'?", schema.nearest(name));
  user_error("{}no key is called '{}'; {}", source.prefix(region), shortened(name), meant);
}

Setting read_setting(const Key& key, const toml::node& node, const Source& source) {
  return ValueReader(key, source).read(node);
}

Setting read_setting(const Key& key, std::string_view toml, const Source& source) {
  if (toml.empty()) user_error("{}: no value", source.name);
  const auto table = parse(fmt::format("value = {}", toml), source);
  if (table.size() != 1) user_error("{}: more than one value", source.name);
  return read_setting(key, *table.get("value"), source);
}

Setting make_setting(const Key& key, const std::vector<Value>& values) {
  const Source source;
  const ValueReader reader(key, source);
  if (key.shape == Shape::kOne && values.size() != 1) {
    user_error("{} takes one value, not {}", key.name, values.size());
  }
  std::vector<Value> checked;
  for (const auto& value : values) checked.push_back(reader.checked(value, {}));
  return reader.collect(std::move(checked), {});
}

std::string assigned_toml(const Key& key, std::string_view text) {
  const bool quoted = text.starts_with('"') || text.starts_with('\'');
  if (key.calls && !quoted && !text.starts_with('[')) return quote(text);
  return takes_any_text(key) && !quoted ? quote(text) : quote_bare_words(text);
}

}  // namespace pcxx::config
