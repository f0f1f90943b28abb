#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

/// JSON that may be anybody's: nothing throws, nothing recurses deeper than the text may nest, and
/// the time is linear in its length.
namespace pcxx::io {

inline constexpr std::size_t kJsonDepth = 64;  // lists and objects within each other

/// What is known of a text before it becomes values.
struct JsonOutline {
  bool valid = true;
  bool too_deep = false;
  std::string twice = {};  ///< first member that its object has twice
};

JsonOutline outline_of(std::string_view text);

/// Discarded (`is_discarded()`) when the text is no JSON, or too deep.
nlohmann::json parse_json(std::string_view text);

/// A whole number from 0 to the largest std::int64_t.
bool is_count(const nlohmann::json& value);

/// On one line, whatever bytes the texts in it have.
std::string json_line(const nlohmann::json& value);

}  // namespace pcxx::io
