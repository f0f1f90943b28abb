#include "config/toml_text.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>

namespace pcxx::config {
namespace {

constexpr std::string_view kEndsWord = " \t\r\n,=[]{}";
constexpr std::string_view kEndsKey = "\n,=[]{}#";

bool is_toml_value(std::string_view word) {
  if (word.find('#') != std::string_view::npos) return false;
  try {
    return toml::parse(fmt::format("x = {}", word)).contains("x");
  } catch (const toml::parse_error&) {
    return false;
  }
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// ".5" and "1." with the digit that TOML wants beside the dot.
std::string with_digits(std::string_view word) {
  const auto dot = std::min(word.find('.'), word.size());
  const auto before = word.substr(0, dot);
  const auto after = word.substr(std::min(dot + 1, word.size()));
  const bool whole = !before.empty() && is_digit(before.back());
  const bool fraction = !after.empty() && is_digit(after.front());
  if (dot == word.size() || whole == fraction) return std::string(word);
  return fmt::format("{}{}.{}{}", before, whole ? "" : "0", fraction ? "" : "0", after);
}

// Of the string literal that the text starts with. One on a single line ends with that at the
// latest; one on several may end with up to two quotation marks of its own.
std::size_t string_length(std::string_view text) {
  const char mark = text.front();
  const std::string three(3, mark);
  const bool lines = text.starts_with(three);
  const auto end = std::string_view(three).substr(0, lines ? 3 : 1);
  for (auto i = end.size(); i < text.size(); ++i) {
    if (!lines && text[i] == '\n') return i;
    if (mark == '"' && text[i] == '\\') {
      ++i;
    } else if (text.substr(i).starts_with(end)) {
      i += end.size();
      for (int own = 0; lines && own < 2 && i < text.size() && text[i] == mark; ++own) ++i;
      return i;
    }
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

std::optional<std::size_t> too_deep(std::string_view toml) {
  constexpr int kDeepest = 64;
  int brackets = 0;
  int dots = 0;  // of one key
  for (std::size_t i = 0; i < toml.size(); ++i) {
    const char c = toml[i];
    if (c == '"' || c == '\'') {
      i += string_length(toml.substr(i)) - 1;
      continue;
    }
    if (c == '#') i = std::min(toml.find('\n', i), toml.size() - 1);
    if (c == '[' || c == '{') ++brackets;
    if ((c == ']' || c == '}') && brackets > 0) --brackets;
    if (c == '.') ++dots;
    if (kEndsKey.find(c) != std::string_view::npos) dots = 0;
    if (brackets > kDeepest || dots > kDeepest) return i;
  }
  return std::nullopt;
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
      const auto value = with_digits(word);
      out += is_toml_value(value) ? value : quote(word);
    }
    text.remove_prefix(length);
  }
  return out;
}

}  // namespace pcxx::config
