#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// Things with a kind and settings, in a row, as one text:
///
///   conv2d(channels=16, kernel=3) block(dense(width=8) dense) dense(width=10)
namespace pcxx::config {

/// One of them: its settings as words, and what stands in a row inside.
struct Call {
  std::string name = {};
  std::vector<std::pair<std::string, std::string>> settings = {};
  std::vector<Call> inner = {};
};

/// None in an empty text. Throws UserError, one sentence that begins with `place`.
std::vector<Call> parse_calls(std::string_view text, const std::string& place);

std::string calls_text(const std::vector<Call>& calls);

/// Whether it can be a name or a value there.
bool is_call_word(std::string_view word);

}  // namespace pcxx::config
