#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <pcxx/core/error.h>
#include <pcxx/core/files.h>

#include <algorithm>

#include "train/settings.h"

namespace pcxx::train {
namespace {

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const auto begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) + 1 - begin);
}

// For messages.
std::string on_one_line(std::string text) {
  std::replace_if(text.begin(), text.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  return text;
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
    const bool swept = key.shape == Shape::kSweep && key.name != "learning_rate";
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
  return parse(std::move(schema), file ? read_file(*file) : "", file ? file->string() : "",
               assignments);
}

Config Config::parse(Schema schema, const std::string& toml, const std::string& name,
                     const std::vector<std::string>& assignments) {
  Config config(std::move(schema));
  config.load(toml, name);
  for (const auto& assignment : assignments) config.assign(assignment);
  return config;
}

void Config::load(const std::string& text, const std::string& from) {
  const Source source{from, true};
  const auto document = train::parse(text, source);
  for (const auto& [name, node] : document) {
    if (name == "models") continue;
    const auto& key = known_key(schema_, name, source, name.source());
    settings_[key.name] = read_setting(key, node, source);
  }
  const auto* models = document.get("models");
  if (models == nullptr) return;
  for (const auto& node : model_tables(*models, source)) {
    auto& model = models_.emplace_back();
    for (const auto& [name, value] : *node.as_table()) {
      const auto& key = known_key(schema_, name, source, name.source());
      if (!key.per_model) {
        user_error("{}{} is the same for all models: set it above the first [[models]]",
                   source.prefix(name.source()), key.name);
      }
      model[key.name] = read_setting(key, value, source);
    }
  }
}

void Config::assign(const std::string& assignment) {
  const Source source{"--set " + on_one_line(assignment)};
  const auto sign = assignment.find('=');
  if (sign == std::string::npos) user_error("{}: no '=': write --set key=value", source.name);
  const auto name = trim(std::string_view(assignment).substr(0, sign));
  if (name.empty()) user_error("{}: no key: write --set key=value", source.name);
  const auto& key = known_key(schema_, name, source, {});
  const auto value = trim(std::string_view(assignment).substr(sign + 1));
  settings_[key.name] = read_setting(key, assigned_toml(key, value), source);
  for (auto& model : models_) model.erase(key.name);
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
      for (const auto& value : cell.values(key)) finer.push_back(cell.with(key, {value}));
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
  for (const auto& model : models_.empty() ? std::vector<Settings>(1) : models_) {
    auto merged = *this;
    merged.models_.clear();
    for (const auto& [name, setting] : model) merged.settings_[name] = setting;
    for (auto& one : merged.grid(parts)) {
      if (is_kalman(one) && one.has("learning_rate")) one = one.with("learning_rate", {1.0});
      if (std::find(all.begin(), all.end(), one) == all.end()) all.push_back(std::move(one));
    }
  }
  return all;
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

bool is_collapsed(const Config& model) {
  return model.has("collapsed") && model.boolean("collapsed");
}

bool is_kalman(const Config& model) {
  return model.has("rule") && model.text("rule") == "kpc";
}

std::string model_name(const Config& model) {
  auto name = model.text("rule");
  const auto& rescaling = model.text("rescaling");
  if (rescaling != "none") name += " + " + rescaling;
  if (is_collapsed(model)) name += ", collapsed";
  return name;
}

}  // namespace pcxx::train
