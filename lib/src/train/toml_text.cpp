#include "train/toml_text.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>

namespace pcxx::train {
namespace {

constexpr std::string_view kEndsWord = " \t\r\n,=[]{}";

bool is_toml_value(std::string_view word) {
  if (word.find('#') != std::string_view::npos) return false;
  try {
    return toml::parse(fmt::format("x = {}", word)).contains("x");
  } catch (const toml::parse_error&) {
    return false;
  }
}

// Of the string literal that the text starts with.
std::size_t string_length(std::string_view text) {
  const char mark = text.front();
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (text[i] == mark) return i + 1;
    if (mark == '"' && text[i] == '\\') ++i;
  }
  return text.size();
}

}  // namespace

std::string quote(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      quoted += fmt::format("\\u{:04X}", static_cast<unsigned>(c));
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

std::string literal(const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return quote(*text);
  auto text = to_string(value);
  const bool looks_whole = text.find_first_not_of("+-0123456789") == std::string::npos;
  if (std::holds_alternative<double>(value) && looks_whole) text += ".0";
  return text;
}

std::string quote_bare_words(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    auto length = std::size_t{1};
    if (text.front() == '"' || text.front() == '\'') {
      length = string_length(text);
      out += text.substr(0, length);
    } else if (kEndsWord.find(text.front()) != std::string_view::npos) {
      out += text.front();
    } else {
      length = std::min(text.find_first_of(kEndsWord), text.size());
      const auto word = text.substr(0, length);
      out += is_toml_value(word) ? std::string(word) : quote(word);
    }
    text.remove_prefix(length);
  }
  return out;
}

}  // namespace pcxx::train
