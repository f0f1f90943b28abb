#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace pcxx::train {

/// One value of a config key.
using Value = std::variant<bool, std::int64_t, double, std::string>;

/// The text with the fewest digits that reads back as the same value; strings without quotes.
std::string to_string(const Value& value);

/// The type of a key's values.
enum class Kind { kBoolean, kInteger, kReal, kText };

/// How many values a key holds.
enum class Shape {
  kOne,    ///< exactly one value
  kSweep,  ///< a value, a list, or a range { from, to, points, scale = "log" | "linear" } of
           ///< numbers
  kList,   ///< a list that is one value, such as the widths of a network; may be empty
  kSeeds,  ///< a list, a range { from, to } (both ends belong to it), or a count n for 0..n-1
};

/// A config key: type, default, limits and documentation.
struct Key {
  std::string name = {};
  Kind kind = Kind::kReal;
  std::string initial = {};  ///< default, as TOML
  std::string doc = {};
  Shape shape = Shape::kOne;
  std::vector<std::string> choices = {};  ///< of a text key; empty admits any text
  double minimum = -std::numeric_limits<double>::infinity();
  double maximum = std::numeric_limits<double>::infinity();
  bool open_minimum = false;  ///< the minimum itself is out of range
  bool zero_is_off = false;   ///< 0 is admitted beside the range
  bool per_model = false;     ///< may stand in a [[models]] table
};

/// The limits of a number for people: "above 0", "at least 1, or 0"; empty where any is in range.
std::string limits(const Key& key);

/// Every key of the programs' common vocabulary, with the paper's value as default.
const std::vector<Key>& vocabulary();

struct Extension;

/// The keys of one program, with what it has added to them (train/extend.h).
///
///   auto schema = Schema({"rule", "rescaling", "width", "steps"})
///                     .initial("width", "20")
///                     .one({"width"});
class Schema {
 public:
  /// Picks keys from the vocabulary, in the order given. `threads`, `device` are always added, and
  /// `layer` is left out where there is nothing to choose.
  /// Throws c10::Error on a name that is not in the vocabulary, and where a key is named twice.
  explicit Schema(const std::vector<std::string>& names);

  /// Adds a key of the program's own.
  Schema& add(Key key);
  /// Replaces the default of a key by a TOML value.
  Schema& initial(std::string_view name, std::string toml);
  /// Makes keys hold one value each: the program does not sweep them.
  Schema& one(const std::vector<std::string>& names);
  /// Leaves these choices to a text key, and no parts of the user's own.
  Schema& choices(std::string_view name, std::vector<std::string> choices);
  /// Takes a choice from a text key.
  Schema& without(std::string_view name, std::string_view choice);

  const std::vector<Key>& keys() const { return keys_; }
  /// nullptr when there is no such key.
  const Key* find(std::string_view name) const;
  /// The known key closest to a misspelt one, by edit distance.
  const std::string& nearest(std::string_view name) const;
  /// Every key with its default and documentation, for --help.
  std::string help() const;

 private:
  Key& at(std::string_view name);
  void extend(std::string_view name, const Extension& extension);
  std::vector<Key> keys_;
};

}  // namespace pcxx::train
