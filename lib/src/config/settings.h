#pragma once

#include <pcxx/config/config.h>
#include <toml++/toml.h>

#include <string>
#include <string_view>
#include <vector>

/// From TOML to checked values and back. Whatever a key does not admit throws UserError.
namespace pcxx::config {

/// Where TOML comes from, for messages.
struct Source {
  std::string name;    ///< "quick.toml" or "--set width=20"
  bool lines = false;  ///< whether line and column mean something to the user

  /// "quick.toml:3:5: ", or the name alone; empty where there is no name.
  std::string prefix(const toml::source_region& region) const;
};

toml::table parse(std::string_view text, const Source& source);

/// The key of that name, which stands at `region`.
const Key& known_key(const Schema& schema, std::string_view name, const Source& source,
                     const toml::source_region& region);

Setting read_setting(const Key& key, const toml::node& node, const Source& source);
Setting read_setting(const Key& key, std::string_view toml, const Source& source);
Setting make_setting(const Key& key, const std::vector<Value>& values);

/// What stands after the = of an assignment, as TOML: a key that admits any text takes it whole,
/// otherwise bare words become strings.
std::string assigned_toml(const Key& key, std::string_view text);

}  // namespace pcxx::config
