#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <pcxx/core/error.h>
#include <pcxx/core/files.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "config/settings.h"
#include "config/toml_text.h"
#include "core/text.h"

namespace pcxx::config {
namespace {

constexpr std::uint64_t kLongestFile = 4 << 20;
// More runs than that, or settings to run, no machine ends, and the product is a slip of the hand.
constexpr double kMostModels = 100'000;
constexpr double kMostRuns = 10'000'000;
// Numbers have to leave room for their products and inverses.
constexpr double kMostFloat32 = 1e30;
constexpr double kMostFloat64 = 1e300;

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const auto begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) + 1 - begin);
}

// The tables of [[models]].
const toml::array& model_tables(const toml::node& node, const Source& source) {
  const auto* array = node.as_array();
  if (array == nullptr || !array->is_homogeneous(toml::node_type::table)) {
    user_error("{}models are tables, each under a line [[models]] of its own",
               source.prefix(node.source()));
  }
  return *array;
}

// Keys of a grid, of the models or of what they have in common.
std::vector<std::string> swept_keys(const Schema& schema, bool per_model) {
  std::vector<std::string> names;
  for (const auto& key : schema.keys()) {
    const bool swept = key.shape == Shape::kSweep && !key.searched;
    if (swept && key.per_model == per_model) names.push_back(key.name);
  }
  return names;
}

template <typename Settings>
bool same_values(const Settings& a, const Settings& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.first == y.first && x.second.values == y.second.values;
  });
}

template <typename Models>
bool same_models(const Models& a, const Models& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const auto& x, const auto& y) { return same_values(x, y); });
}

}  // namespace

Config::Config(Schema schema) : schema_(std::move(schema)) {
  for (const auto& key : schema_.keys()) {
    try {
      settings_[key.name] = read_setting(key, key.initial, Source{"the default of " + key.name});
    } catch (const UserError& error) {
      TORCH_CHECK(false, error.what());
    }
  }
}

Config Config::read(Schema schema, const std::optional<std::filesystem::path>& file,
                    const std::vector<std::string>& assignments) {
  return parse(std::move(schema), file ? read_file(*file, kLongestFile) : "",
               file ? file->string() : "", assignments);
}

Config Config::parse(Schema schema, const std::string& toml, const std::string& name,
                     const std::vector<std::string>& assignments) {
  Config config(std::move(schema));
  config.load(toml, name);
  for (const auto& assignment : assignments) config.assign(assignment);
  config.check_precision();
  config.check_amount();
  config.drop_repeated_models();
  return config;
}

Config Config::of_words(Schema schema,
                        const std::vector<std::pair<std::string, std::string>>& words,
                        const std::string& place) {
  Config config(std::move(schema));
  const Source source{place};
  std::set<std::string> set;
  for (const auto& [name, word] : words) {
    const auto& key = known_key(config.schema_, name, source, {});
    if (!set.insert(key.name).second) user_error("{}: {} is set twice", place, key.name);
    config.settings_[key.name] = read_setting(key, assigned_toml(key, word), source);
  }
  return config;
}

namespace {

// The key that a name in a table stands for; the table must not have its old name beside it.
const Key& known_key(const Schema& schema, const toml::table& table, const toml::key& name,
                     const Source& source) {
  const auto& key = known_key(schema, name, source, name.source());
  if (name.str() != key.name && table.contains(key.name)) {
    user_error("{}{} is set twice, as {} too", source.prefix(name.source()), key.name,
               key.old_name);
  }
  return key;
}

}  // namespace

void Config::load(const std::string& text, const std::string& from) {
  const Source source{from, true};
  const auto document = config::parse(text, source);
  for (const auto& [name, node] : document) {
    if (name == "models") continue;
    const auto& key = known_key(schema_, document, name, source);
    settings_[key.name] = read_setting(key, node, source);
  }
  const auto* models = document.get("models");
  if (models == nullptr) return;
  std::vector<std::string> places;
  for (const auto& node : model_tables(*models, source)) {
    places.push_back(source.prefix(node.source()));
    if (node.as_table()->empty()) user_error("{}this [[models]] sets no key", places.back());
    auto& model = models_.emplace_back();
    for (const auto& [name, value] : *node.as_table()) {
      const auto& key = known_key(schema_, *node.as_table(), name, source);
      if (!key.per_model) {
        user_error("{}{} is the same for all models: set it above the first [[models]]",
                   source.prefix(name.source()), key.name);
      }
      model[key.name] = read_setting(key, value, source);
    }
  }
  check_models(places);
}

// A model that two tables make would count once, in silence.
void Config::check_models(const std::vector<std::string>& places) const {
  check_amount();
  std::set<std::string> made;
  auto alone = *this;
  for (std::size_t i = 0; i < models_.size(); ++i) {
    alone.models_ = {models_[i]};
    for (const auto& one : alone.models()) {
      if (made.insert(one.model_text()).second) continue;
      std::vector<std::string> texts;
      for (const auto& [name, setting] : models_[i]) {
        texts.push_back(fmt::format("{} = {}", name, one.toml_of(name)));
      }
      user_error("{}an earlier [[models]] makes the model {} already", places[i],
                 fmt::join(texts, ", "));
    }
  }
}

// What an assignment has made equal counts once, and is written once: files say no model twice.
void Config::drop_repeated_models() {
  std::set<std::string> made;
  std::vector<Settings> kept;
  auto alone = *this;
  for (const auto& model : models_) {
    alone.models_ = {model};
    const auto all = alone.models();
    std::vector<Settings> fresh;
    for (const auto& one : all) {
      if (!made.insert(one.model_text()).second) continue;
      auto& settings = fresh.emplace_back();
      for (const auto& [name, setting] : model) settings[name] = one.settings_.at(name);
    }
    if (fresh.size() == all.size()) fresh = {model};
    kept.insert(kept.end(), fresh.begin(), fresh.end());
  }
  models_ = std::move(kept);
}

void Config::assign(const std::string& assignment) {
  const Source source{"--set " + shortened(assignment)};
  const auto sign = assignment.find('=');
  if (sign == std::string::npos) user_error("{}: no '=': write --set key=value", source.name);
  const auto name = trim(std::string_view(assignment).substr(0, sign));
  if (name.empty()) user_error("{}: no key: write --set key=value", source.name);
  const auto& key = known_key(schema_, name, source, {});
  const auto value = trim(std::string_view(assignment).substr(sign + 1));
  settings_[key.name] = read_setting(key, assigned_toml(key, value), source);
  for (auto& model : models_) {
    if (model.erase(key.name) > 0 && model.empty()) model[key.name] = settings_[key.name];
  }
}

// Numbers that the networks' precision does not hold, or makes 0 where that is out of range.
void Config::check_precision() const {
  if (!has("dtype")) return;
  const auto dtypes = texts("dtype");
  const bool single = std::find(dtypes.begin(), dtypes.end(), "float32") != dtypes.end();
  const double most = single ? kMostFloat32 : kMostFloat64;
  const auto check = [&](const Settings& settings) {
    for (const auto& [name, setting] : settings) {
      const auto& key = *schema_.find(name);
      if (key.kind != Kind::kReal) continue;
      for (const auto& value : setting.values) {
        const double size = std::abs(std::get<double>(value));
        const bool small = key.open_minimum && size < 1 / most;
        if (!small && size <= most) continue;
        user_error("{} = {} is too {} for dtype = '{}', which takes numbers from {:g} to {:g}",
                   name, to_string(value), small ? "small" : "large",
                   single ? "float32" : "float64", 1 / most, most);
      }
    }
  };
  check(settings_);
  for (const auto& model : models_) check(model);
}

// The product of all that is swept, which is not made before it is known to be small enough.
void Config::check_amount() const {
  double models = 0;
  double runs = 0;
  for (const auto& model : models_.empty() ? std::vector<Settings>(1) : models_) {
    double product = 1;
    double repeats = 1;
    for (const auto& key : schema_.keys()) {
      const auto own = model.find(key.name);
      const auto& values = (own != model.end() ? own->second : settings_.at(key.name)).values;
      const auto count = static_cast<double>(values.size());
      if (key.shape == Shape::kSeeds || key.searched) {
        repeats *= count;
      } else if (key.shape == Shape::kSweep) {
        product *= count;
      }
    }
    models += product;
    runs += product * repeats;
  }
  if (models <= kMostModels && runs <= kMostRuns) return;
  user_error(
      "the values of all keys together ask for {:g} models and {:g} runs, more than the {:g} and "
      "{:g} that are possible",
      models, runs, kMostModels, kMostRuns);
}

const Setting& Config::setting(std::string_view name) const {
  const auto found = settings_.find(name);
  TORCH_CHECK(found != settings_.end(), "the config has no key '", name, "'");
  return found->second;
}

const Value& Config::single(std::string_view name, Kind kind) const {
  const auto& values = setting(name).values;
  TORCH_CHECK(schema_.find(name)->kind == kind, "'", name, "' is of another kind");
  TORCH_CHECK(values.size() == 1, "'", name, "' has ", values.size(), " values, not one");
  return values.front();
}

template <typename T>
std::vector<T> Config::all(std::string_view name, Kind kind) const {
  const auto& found = values(name);
  TORCH_CHECK(schema_.find(name)->kind == kind, "'", name, "' is of another kind");
  std::vector<T> result;
  for (const auto& value : found) result.push_back(std::get<T>(value));
  return result;
}

bool Config::boolean(std::string_view name) const {
  return std::get<bool>(single(name, Kind::kBoolean));
}

std::int64_t Config::integer(std::string_view name) const {
  return std::get<std::int64_t>(single(name, Kind::kInteger));
}

double Config::real(std::string_view name) const {
  return std::get<double>(single(name, Kind::kReal));
}

const std::string& Config::text(std::string_view name) const {
  return std::get<std::string>(single(name, Kind::kText));
}

const std::vector<Value>& Config::values(std::string_view name) const {
  return setting(name).values;
}

std::vector<std::int64_t> Config::integers(std::string_view name) const {
  return all<std::int64_t>(name, Kind::kInteger);
}

std::vector<double> Config::reals(std::string_view name) const {
  return all<double>(name, Kind::kReal);
}

std::vector<std::string> Config::texts(std::string_view name) const {
  return all<std::string>(name, Kind::kText);
}

bool Config::swept(std::string_view name) const {
  const auto several = [&](const Settings& settings) {
    const auto found = settings.find(name);
    return found != settings.end() && found->second.values.size() > 1;
  };
  TORCH_CHECK(has(name), "the config has no key '", name, "'");
  return schema_.find(name)->shape == Shape::kSweep &&
         (several(settings_) || std::any_of(models_.begin(), models_.end(), several));
}

bool Config::set_by_models(std::string_view name) const {
  TORCH_CHECK(has(name), "the config has no key '", name, "'");
  return std::any_of(models_.begin(), models_.end(),
                     [&](const Settings& model) { return model.contains(name); });
}

Config Config::with(std::string_view name, const std::vector<Value>& values) const {
  TORCH_CHECK(has(name), "the config has no key '", name, "'");
  auto copy = *this;
  copy.settings_[std::string(name)] = make_setting(*schema_.find(name), values);
  return copy;
}

Config Config::with_toml(std::string_view name, const std::string& toml) const {
  TORCH_CHECK(has(name), "the config has no key '", name, "'");
  auto copy = *this;
  copy.settings_[std::string(name)] =
      read_setting(*schema_.find(name), toml, Source{fmt::format("{} = {}", name, toml)});
  return copy;
}

std::vector<Config> Config::grid(const std::vector<std::string>& keys) const {
  std::vector<Config> cells{*this};
  for (const auto& key : keys) {
    if (values(key).size() < 2) continue;
    std::vector<Config> finer;
    for (const auto& cell : cells) {
      const auto one = cell.with(key, {values(key).front()});  // copied without the long list
      for (const auto& value : values(key)) finer.push_back(one.with(key, {value}));
    }
    cells = std::move(finer);
  }
  return cells;
}

std::vector<Config> Config::cells() const {
  return grid(swept_keys(schema_, false));
}

std::vector<Config> Config::models() const {
  const auto parts = swept_keys(schema_, true);
  std::vector<Config> all;
  std::set<std::string> known;
  for (const auto& model : models_.empty() ? std::vector<Settings>(1) : models_) {
    auto merged = *this;
    merged.models_.clear();
    for (const auto& [name, setting] : model) merged.settings_[name] = setting;
    for (auto& one : merged.grid(parts)) {
      one.fix();
      if (known.insert(one.model_text()).second) all.push_back(std::move(one));
    }
  }
  return all;
}

// Keys that mean nothing beside the choices of others get what stands for them.
void Config::fix() {
  for (const auto& key : schema_.keys()) {
    for (const auto& choice : key.choices) {
      if (choice.fixes.empty() || values(key.name).front() != Value(choice.name)) continue;
      for (const auto& [name, toml] : choice.fixes) {
        const auto* fixed = schema_.find(name);
        if (fixed != nullptr) settings_[name] = read_setting(*fixed, toml, Source{choice.name});
      }
    }
  }
}

// Whatever may differ from model to model; the same for equal ones alone.
std::string Config::model_text() const {
  std::string text;
  for (const auto& key : schema_.keys()) {
    if (!key.per_model) continue;
    for (const auto& value : values(key.name)) text += literal(value) + ',';
    text += ';';
  }
  return text;
}

std::string Config::toml() const {
  std::string out;
  for (const auto& key : schema_.keys())
    out += fmt::format("{} = {}\n", key.name, toml_of(key.name));
  return out + models_toml();
}

std::string Config::models_toml() const {
  std::string out;
  for (const auto& model : models_) {
    out += "\n[[models]]\n";
    for (const auto& key : schema_.keys()) {
      const auto found = model.find(key.name);
      if (found != model.end()) out += fmt::format("{} = {}\n", key.name, found->second.toml);
    }
  }
  return out;
}

std::string Config::toml_of(std::string_view name) const {
  return setting(name).toml;
}

std::optional<std::string> first_difference(const Config& a, const Config& b,
                                            const std::vector<std::string>& leave_out) {
  for (const auto& key : a.schema_.keys()) {
    if (std::find(leave_out.begin(), leave_out.end(), key.name) != leave_out.end()) continue;
    if (a.values(key.name) != b.values(key.name)) return key.name;
  }
  if (!same_models(a.models_, b.models_)) return "models";
  return std::nullopt;
}

bool operator==(const Config& a, const Config& b) {
  return same_values(a.settings_, b.settings_) && same_models(a.models_, b.models_);
}

}  // namespace pcxx::config
