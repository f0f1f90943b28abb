#pragma once

#include <pcxx/config/config.h>
#include <pcxx/core/names.h>

#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

/// Things with a name, each described once: what it is called and does, its options, and how it is
/// made of a config.
namespace pcxx::config {

/// What is said of a value of a text key.
///   doc      what --help adds for it to the key's documentation; empty where that has it
///   options  its own keys
///   fixes    keys that mean nothing beside it, each with the TOML value that stands for them
struct Description {
  std::string name;
  std::string doc = {};
  std::vector<Key> options = {};
  std::vector<std::pair<std::string, std::string>> fixes = {};
};

/// The same, and how it is made of the config of one model: in any thread, and more than once.
template <typename Factory>
struct Part : Description {
  std::function<Factory> make = {};
};

/// The members of a struct of options, each with the key that sets it.
///
///   const auto keys = OptionKeys<optim::AlphaOptions>().add(
///       &optim::AlphaOptions::floor, {.name = "alpha_floor", .doc = "...", .minimum = 0});
///   Part<optim::Alpha(const Config&)> alpha{{.name = "alpha", .options = keys.keys()}};
///   alpha.make = [keys](const Config& model) { return optim::Alpha(keys.read(model)); };
///
/// Kind, choices and default follow from the member: bool, int64, double, an optional double (0 is
/// none), or an enumeration with names (core/names.h). Models may differ in it, and it may be
/// swept.
template <typename Options>
class OptionKeys {
 public:
  template <typename Member>
  OptionKeys& add(Member Options::* member, Key key) {
    describe(Options().*member, key);
    key.shape = Shape::kSweep;
    key.per_model = true;
    readers_.push_back([member, name = key.name](Options& options, const Config& config) {
      if (config.has(name)) read_member(options.*member, config, name);
    });
    keys_.push_back(std::move(key));
    return *this;
  }

  /// A member whose values have names that are no enumeration's, the first one its default. It is
  /// swept only where the key says so.
  template <typename Member>
  OptionKeys& add(Member Options::* member, Key key,
                  const std::vector<std::pair<std::string, Member>>& names) {
    key.kind = Kind::kText;
    for (const auto& [name, value] : names) key.choices.emplace_back(name);
    key.initial = default_text(names.front().first);
    key.per_model = true;
    readers_.push_back([member, names, key = key.name](Options& options, const Config& config) {
      if (!config.has(key)) return;
      for (const auto& [name, value] : names) {
        if (name == config.text(key)) options.*member = value;
      }
    });
    keys_.push_back(std::move(key));
    return *this;
  }

  const std::vector<Key>& keys() const { return keys_; }

  /// The options that a model's config asks for; defaults of the struct where it has no such key.
  Options read(const Config& config) const {
    Options options;
    for (const auto& reader : readers_) reader(options, config);
    return options;
  }

 private:
  template <typename Member>
  static void describe(const Member& initial, Key& key) {
    if constexpr (std::is_same_v<Member, std::optional<double>>) {
      return describe(initial.value_or(0), key);
    } else {
      Value value;
      if constexpr (std::is_enum_v<Member>) {
        for (const auto& named : kNames<Member>) key.choices.emplace_back(std::string(named.name));
        value = std::string(name_of(initial));
      } else {
        value = initial;
      }
      key.kind = static_cast<Kind>(value.index());
      if (key.initial.empty()) key.initial = default_text(value);
    }
  }

  template <typename Member>
  static void read_member(Member& member, const Config& config, const std::string& name) {
    if constexpr (std::is_same_v<Member, std::optional<double>>) {
      const double value = config.real(name);
      member = value == 0 ? std::nullopt : std::optional(value);
    } else if constexpr (std::is_enum_v<Member>) {
      member = value_named<Member>(config.text(name)).value();
    } else {
      member = std::get<Member>(config.values(name).front());
    }
  }

  std::vector<Key> keys_;
  std::vector<std::function<void(Options&, const Config&)>> readers_;
};

}  // namespace pcxx::config
