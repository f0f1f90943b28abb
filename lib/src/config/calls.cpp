#include "config/calls.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <pcxx/core/error.h>

#include "core/text.h"

namespace pcxx::config {
namespace {

constexpr std::string_view kBetweenWords = " \t\r\n";
constexpr std::string_view kEndsCallWord = " \t\r\n,=()[]{}\"'#";
constexpr int kDeepest = 16;

class CallsReader {
 public:
  CallsReader(std::string_view text, const std::string& place) : text_(text), place_(place) {}

  std::vector<Call> all() {
    auto calls = row(0);
    if (at_ < text_.size()) fail();
    return calls;
  }

 private:
  [[noreturn]] void fail() const {
    user_error("{}: '{}' is not a row of name(key=value, ...), from character {} on", place_,
               shortened(text_), at_ + 1);
  }

  char next() {
    at_ = std::min(text_.find_first_not_of(kBetweenWords, at_), text_.size());
    return at_ < text_.size() ? text_[at_] : '\0';
  }

  bool skip(char c) {
    if (next() != c) return false;
    ++at_;
    return true;
  }

  std::string word() {
    next();
    const auto end = std::min(text_.find_first_of(kEndsCallWord, at_), text_.size());
    if (end == at_) fail();
    const auto found = text_.substr(at_, end - at_);
    at_ = end;
    return std::string(found);
  }

  std::vector<Call> row(int depth) {
    if (depth > kDeepest) fail();
    std::vector<Call> calls;
    while (next() != '\0' && next() != ',' && next() != ')') {
      auto& call = calls.emplace_back(Call{word(), {}, {}});
      if (skip('(')) read_inside(call, depth);
    }
    return calls;
  }

  void read_inside(Call& call, int depth) {
    while (!skip(')')) {
      const auto start = at_;
      auto name = word();
      if (skip('=')) {
        call.settings.emplace_back(std::move(name), word());
      } else {
        at_ = start;
        for (auto& inner : row(depth + 1)) call.inner.push_back(std::move(inner));
      }
      if (!skip(',') && next() != ')') fail();
    }
  }

  std::string_view text_;
  const std::string& place_;
  std::size_t at_ = 0;
};

}  // namespace

std::vector<Call> parse_calls(std::string_view text, const std::string& place) {
  return CallsReader(text, place).all();
}

std::string calls_text(const std::vector<Call>& calls) {
  std::vector<std::string> texts;
  for (const auto& call : calls) {
    std::vector<std::string> inside;
    for (const auto& [name, word] : call.settings) inside.push_back(name + '=' + word);
    if (!call.inner.empty()) inside.push_back(calls_text(call.inner));
    texts.push_back(fmt::format("{}({})", call.name, fmt::join(inside, ", ")));
  }
  return fmt::format("{}", fmt::join(texts, " "));
}

bool is_call_word(std::string_view word) {
  return !word.empty() && word.find_first_of(kEndsCallWord) == std::string_view::npos;
}

}  // namespace pcxx::config
