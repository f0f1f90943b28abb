#pragma once

#include <pcxx/config/schema.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pcxx::config {

/// What a key was set to.
struct Setting {
  std::vector<Value> values;
  std::string toml;  ///< as written back: a range stays a range
};

/// A resolved configuration: every key of a schema with its value or values.
///
///   auto config = Config::read(schema, "quick.toml", {"learning_rate=[0.1,1]", "init=kaiming"});
///   for (const Config& model : config.models())        // one per rule and rescaling
///     train(model.text("rule"), model.reals("learning_rate"));
///
/// In a file keys stand at the top level; `[[models]]` tables name any set of models, each with the
/// keys that differ (rule, rescaling, learning_rate, ...):
///
///   width = 20
///   learning_rate = { from = 1e-3, to = 1, points = 10 }
///   [[models]]
///   rule = "bp"
///   [[models]]
///   rule = "pc"
///   rescaling = "decorrelation"
///   learning_rate = 0.5
///
/// A range { from, to, points } is spaced evenly in the logarithm unless scale = "linear"; where
/// whole numbers are wanted, its values are rounded.
///
/// Unknown, mistyped or out-of-range keys throw UserError with the place (file:line:column or the
/// --set in question), the key and, when there is no such key, the nearest known one. So do
/// [[models]] that set nothing or repeat a model, numbers beyond 1e30 where dtype is float32 and
/// beyond 1e300 elsewhere (or below the inverses, where they must be above 0), and lists that
/// together ask for more than 100,000 models or 10,000,000 runs. A whole number may be written as
/// 1e3 or 1000.0.
class Config {
 public:
  /// The schema's defaults. Throws c10::Error when a key does not admit its own default.
  explicit Config(Schema schema);

  /// Defaults, then the file if there is one, then the assignments "key=value" in their order. The
  /// value of an assignment is any TOML value, .5 and 1. are numbers too; bare words are strings,
  /// also inside lists, and the
  /// value of a key that admits any text, such as a path, need not be quoted whatever it holds. An
  /// assignment also overrides the key in every [[models]] table.
  static Config read(Schema schema, const std::optional<std::filesystem::path>& file,
                     const std::vector<std::string>& assignments = {});

  /// The same from TOML text; `name` stands for the file in messages.
  static Config parse(Schema schema, const std::string& toml, const std::string& name,
                      const std::vector<std::string>& assignments = {});

  /// The defaults, and some keys set to what would stand behind the = of an assignment; messages
  /// begin with `place`.
  static Config of_words(Schema schema,
                         const std::vector<std::pair<std::string, std::string>>& words,
                         const std::string& place);

  const Schema& schema() const { return schema_; }
  bool has(std::string_view name) const { return schema_.find(name) != nullptr; }

  /// The single value of a key. Throws c10::Error when the key is not in the schema, has another
  /// kind, or holds several values.
  bool boolean(std::string_view name) const;
  std::int64_t integer(std::string_view name) const;
  double real(std::string_view name) const;
  const std::string& text(std::string_view name) const;

  /// All values of a key, ranges expanded.
  const std::vector<Value>& values(std::string_view name) const;
  std::vector<std::int64_t> integers(std::string_view name) const;
  std::vector<double> reals(std::string_view name) const;
  std::vector<std::string> texts(std::string_view name) const;

  /// True when the key has several values to sweep over, here or in one of the models.
  bool swept(std::string_view name) const;
  /// True when some [[models]] table sets the key.
  bool set_by_models(std::string_view name) const;

  /// The same config with other values of one key, checked like a user's; [[models]] that set the
  /// key keep their own. Throws c10::Error when the key is not in the schema.
  Config with(std::string_view name, const std::vector<Value>& values) const;
  /// The same config with one key set from TOML text, for example "[0.1, 1]".
  Config with_toml(std::string_view name, const std::string& toml) const;

  /// One config per combination of the values of `keys`; the last key varies fastest.
  std::vector<Config> grid(const std::vector<std::string>& keys) const;

  /// The tasks and shapes of a sweep, on each of which all models run: the grid over the swept keys
  /// that are the same for all models.
  std::vector<Config> cells() const;

  /// One config per model: each [[models]] table (or the shared keys alone) over the shared keys,
  /// and the grid over the swept keys that may differ from model to model (rule, rescaling,
  /// regularisation, ...). Keys that are searched, such as learning_rate, keep their values. Models
  /// that come out equal count once.
  std::vector<Config> models() const;

  /// The whole config as TOML; `read` of it gives this config again.
  std::string toml() const;

  /// One key's value as TOML.
  std::string toml_of(std::string_view name) const;

  /// The first key, in the schema's order, that two configs of one program set otherwise, here or
  /// in their models ("models"), leaving out some keys.
  friend std::optional<std::string> first_difference(const Config& a, const Config& b,
                                                     const std::vector<std::string>& leave_out);

  /// Same keys with the same values, in the shared part and in the models.
  friend bool operator==(const Config& a, const Config& b);

 private:
  using Settings = std::map<std::string, Setting, std::less<>>;

  void load(const std::string& text, const std::string& from);
  std::string models_toml() const;
  void assign(const std::string& assignment);
  void check_models(const std::vector<std::string>& places) const;
  void drop_repeated_models();
  void check_precision() const;
  void check_amount() const;
  std::string model_text() const;
  void fix();
  const Setting& setting(std::string_view name) const;
  const Value& single(std::string_view name, Kind kind) const;
  template <typename T>
  std::vector<T> all(std::string_view name, Kind kind) const;

  Schema schema_;
  Settings settings_;
  std::vector<Settings> models_;
};

}  // namespace pcxx::config
