#pragma once

#include <pcxx/config/schema.h>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

/// Values as TOML text.
namespace pcxx::config {

/// A TOML string.
std::string quote(std::string_view text);

/// A value as TOML: strings quoted, reals with a dot or an exponent.
std::string literal(const Value& value);

/// Where brackets are nested, or keys dotted, deeper than any config needs; nothing where they are
/// not. A parser that calls itself would run out of stack there.
std::optional<std::size_t> too_deep(std::string_view toml);

/// TOML in which bare words, also within lists and tables, have become strings: [bp, pc] is
/// ["bp", "pc"]; what TOML reads as a number or truth value stays, and so do .5 and 1., as 0.5 and
/// 1.0.
std::string quote_bare_words(std::string_view text);

}  // namespace pcxx::config
