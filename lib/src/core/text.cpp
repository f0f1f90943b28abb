#include "core/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

namespace pcxx {
namespace {

constexpr std::size_t kColumns = 100;

bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("_-+=:,./@%").find(c) != std::string_view::npos;
}

std::string hexadecimal(char c) {
  return fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
}

// The length of the UTF-8 character that a text begins with; 0 when it begins with none.
std::size_t character_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto first = byte(0);
  const std::size_t length = first < 0x80                    ? 1
                             : first >= 0xc2 && first < 0xe0 ? 2
                             : first >= 0xe0 && first < 0xf0 ? 3
                             : first >= 0xf0 && first < 0xf5 ? 4
                                                             : 0;
  if (length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0U) != 0x80) return 0;
  }
  // Written longer than needed, halves of a pair, and beyond the last character.
  const bool bad =
      length > 2 && ((first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) >= 0xa0) ||
                     (first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) >= 0x90));
  return bad ? 0 : length;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const auto length = character_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

// Of a word that is no UTF-8 all bytes beyond ASCII are escaped: a comment of TOML takes no others.
std::string shell_word(std::string_view word) {
  if (!word.empty() && std::all_of(word.begin(), word.end(), is_plain)) return std::string(word);
  const bool readable = is_utf8(word);
  const auto is_escaped = [&](char c) {
    return is_control(c) || (!readable && static_cast<unsigned char>(c) >= 0x80);
  };
  const bool escaped = std::any_of(word.begin(), word.end(), is_escaped);
  std::string out = escaped ? "$'" : "'";
  for (const char c : word) {
    if (is_escaped(c)) {
      out += hexadecimal(c);
    } else if (c == '\'') {
      out += escaped ? "\\'" : "'\\''";
    } else if (c == '\\' && escaped) {
      out += "\\\\";
    } else {
      out += c;
    }
  }
  return out + "'";
}

}  // namespace

void append_wrapped(std::string& out, const std::string& text, std::size_t indent) {
  std::istringstream words(text);
  std::size_t column = indent;
  bool first = true;
  for (std::string word; words >> word; first = false) {
    if (!first && column + 1 + word.size() > kColumns) {
      out += '\n' + std::string(indent, ' ');
      column = indent;
    } else if (!first) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
  }
  out += '\n';
}

std::string shortened(std::string_view text) {
  constexpr std::size_t kLongest = 100;
  if (text.size() <= kLongest) return one_line(text);
  auto end = kLongest;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0U) == 0x80U) --end;
  return one_line(text.substr(0, end)) + "...";
}

std::string shell_line(const std::vector<std::string>& words) {
  std::string line;
  for (const auto& word : words) {
    if (!line.empty()) line += ' ';
    line += shell_word(word);
  }
  return line;
}

std::string one_line(std::string_view text) {
  std::string line;
  for (const char c : text) {
    line += c == '\n'       ? "\\n"
            : c == '\t'     ? "\\t"
            : is_control(c) ? hexadecimal(c)
                            : std::string(1, c);
  }
  return line;
}

bool is_out_of_memory(std::string_view text) {
  return text.find("can't allocate memory") != text.npos || text.find("out of memory") != text.npos;
}

}  // namespace pcxx
