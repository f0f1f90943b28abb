#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace pcxx::config {

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

/// A value that a text key admits.
///   doc    what --help adds for it to the key's documentation; empty where that has it
///   fixes  keys that mean nothing beside this choice, each with the TOML value that stands for
///   them
struct Choice {
  std::string name = {};
  std::string doc = {};
  std::vector<std::pair<std::string, std::string>> fixes = {};

  Choice() = default;
  Choice(const char* choice) : name(choice) {}
  Choice(std::string choice) : name(std::move(choice)) {}
  Choice(std::string choice, std::string text,
         std::vector<std::pair<std::string, std::string>> fixed = {})
      : name(std::move(choice)), doc(std::move(text)), fixes(std::move(fixed)) {}
};

/// A config key: type, default, limits and documentation.
struct Key {
  std::string name = {};
  Kind kind = Kind::kReal;
  std::string initial = {};  ///< default, as TOML
  std::string doc = {};
  Shape shape = Shape::kOne;
  std::vector<Choice> choices = {};  ///< of a text key; empty admits any text
  double minimum = -std::numeric_limits<double>::infinity();
  double maximum = std::numeric_limits<double>::infinity();
  bool open_minimum = false;  ///< the minimum itself is out of range
  bool zero_is_off = false;   ///< 0 is admitted beside the range
  bool per_model = false;     ///< may stand in a [[models]] table
  bool searched = false;      ///< one model has all of its values; the best is found
  bool free = false;          ///< results do not depend on it, or only on the files it leads to
  bool calls = false;  ///< a text of name(key=value, ..)s, which may stand as tables with a `kind`
  bool file = false;   ///< names a file, and results depend on what is in it
  /// Where the key is an option of another key's choices: of that key, of these choices.
  std::string of_key = {};
  std::vector<std::string> of_choices = {};
  std::string old_name = {};  ///< taken too until the next release, with a note
};

/// A default as TOML, in the fewest characters: 0 for 0.0.
std::string default_text(const Value& value);

/// The names of a text key's choices.
std::vector<std::string> choice_names(const Key& key);

/// The limits of a number for people: "above 0", "at least 1, or 0"; empty where any is in range.
std::string limits(const Key& key);

/// The keys of one program; catalog/vocabulary.h makes it of their names.
///
///   auto schema = catalog::schema({"rule", "rescaling", "width", "steps"})
///                     .initial("width", "20")
///                     .one({"width"});
class Schema {
 public:
  /// Throws c10::Error where two keys have one name.
  explicit Schema(std::vector<Key> keys = {});

  /// Adds a key behind the others.
  Schema& add(Key key);
  /// Replaces the default of a key by a TOML value.
  Schema& initial(std::string_view name, std::string toml);
  /// Makes keys hold one value each: the program does not sweep them.
  Schema& one(const std::vector<std::string>& names);
  /// Leaves these choices to a text key, and takes the options of all others.
  Schema& choices(std::string_view name, std::vector<std::string> choices);
  /// Takes a choice from a text key.
  Schema& without(std::string_view name, std::string_view choice);

  const std::vector<Key>& keys() const { return keys_; }
  /// nullptr when there is no such key.
  const Key* find(std::string_view name) const;
  /// The key that had this name in the last release; nullptr when none had.
  const Key* renamed(std::string_view old_name) const;
  /// The keys that are free, and those that name files.
  std::vector<std::string> free_keys() const;
  std::vector<std::string> file_keys() const;
  /// The known key closest to a misspelt one, by edit distance.
  const std::string& nearest(std::string_view name) const;
  /// Every key with its default and documentation, for --help.
  std::string help() const;

 private:
  Key& at(std::string_view name);
  std::vector<Key> keys_;
};

}  // namespace pcxx::config
