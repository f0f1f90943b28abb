#pragma once

#include <pcxx/train/schema.h>

#include <string>
#include <string_view>

/// Values as TOML text.
namespace pcxx::train {

/// A TOML string.
std::string quote(std::string_view text);

/// A value as TOML: strings quoted, reals with a dot or an exponent.
std::string literal(const Value& value);

/// TOML in which bare words, also within lists and tables, have become strings: [bp, pc] is
/// ["bp", "pc"]; what TOML reads as a number or truth value stays.
std::string quote_bare_words(std::string_view text);

}  // namespace pcxx::train
