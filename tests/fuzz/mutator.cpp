#include "fuzz/mutator.h"

#include <algorithm>
#include <array>
#include <utility>

namespace pcxx::fuzz {
namespace {

constexpr std::size_t kLongest = 4096;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

}  // namespace

Mutator::Mutator(std::vector<std::string> corpus, std::vector<std::string> words,
                 std::uint64_t seed)
    : corpus_(std::move(corpus)), words_(std::move(words)), random_(seed) {}

std::string Mutator::next() {
  auto input = any(corpus_);
  for (auto changes = 1 + below(5); changes > 0; --changes) mutate(input);
  if (input.size() > kLongest) input.resize(kLongest);
  return input;
}

// The modulo favours some numbers by less than one in a billion.
std::size_t Mutator::below(std::size_t bound) {
  return bound == 0 ? 0 : random_() % bound;
}

const std::string& Mutator::any(const std::vector<std::string>& list) {
  return list[below(list.size())];
}

void Mutator::mutate(std::string& input) {
  const auto at = below(input.size() + 1);
  switch (below(9)) {
    case 0:
      return change_byte(input);
    case 1:
      return change_number(input);
    case 2:
      return change_length(input);
    case 3:
      return repeat(input);
    case 4:
      return splice(input);
    case 5:
      return void(input.erase(at, 1 + below(below(2) == 0 ? 4 : 64)));
    case 6:
      return void(input.resize(at));
    case 7:
      return void(input.replace(at, below(8), any(words_)));
    default:
      return void(input.insert(at, any(words_)));
  }
}

void Mutator::change_byte(std::string& input) {
  if (input.empty()) return;
  auto& byte = input[below(input.size())];
  const auto bit = std::size_t{1} << below(8);
  byte = static_cast<char>(below(2) == 0 ? static_cast<unsigned char>(byte) ^ bit : below(256));
}

// A number in digits by one at an edge.
void Mutator::change_number(std::string& input) {
  constexpr std::array<const char*, 12> kEdges{"0",
                                               "-1",
                                               "1",
                                               "3",
                                               "65536",
                                               "4294967296",
                                               "9223372036854775807",
                                               "18446744073709551616",
                                               "1e308",
                                               "1e-308",
                                               "0.5",
                                               "-0.0"};
  auto begin = below(input.size() + 1);
  while (begin < input.size() && !is_digit(input[begin])) ++begin;
  auto end = begin;
  while (end < input.size() && is_digit(input[end])) ++end;
  input.replace(begin, end - begin, kEdges[below(kEdges.size())]);
}

// Four or eight bytes, big or little-endian, as binary formats have lengths.
void Mutator::change_length(std::string& input) {
  constexpr std::array<std::uint64_t, 10> kEdges{
      0, 1, 2, 0x7f, 0xff, 0x7fffffff, 0x80000000, 0xffffffff, 0x7fffffffffffffff, ~0ULL};
  const std::size_t size = below(2) == 0 ? 4 : 8;
  if (input.size() < size) return;
  auto value = below(3) == 0 ? input.size() - size + below(3) : kEdges[below(kEdges.size())];
  const auto at =
      below(2) == 0 ? size * below(input.size() / size) : below(input.size() - size + 1);
  for (std::size_t i = 0; i < size; ++i, value >>= 8) {
    input[at + i] = static_cast<char>(value & 0xffU);
  }
  if (below(2) == 0) {
    std::reverse(input.begin() + static_cast<std::ptrdiff_t>(at),
                 input.begin() + static_cast<std::ptrdiff_t>(at + size));
  }
}

void Mutator::repeat(std::string& input) {
  const auto at = below(input.size() + 1);
  const auto part = below(2) == 0 ? any(words_) : input.substr(at, 1 + below(32));
  std::string many;
  for (auto times = 1 + below(below(8) == 0 ? 200 : 4); times > 0; --times) many += part;
  input.insert(at, many);
}

void Mutator::splice(std::string& input) {
  const auto& other = any(corpus_);
  const auto from = below(other.size() + 1);
  input.replace(below(input.size() + 1), below(64), other, from,
                below(2) == 0 ? below(64) : std::string::npos);
}

}  // namespace pcxx::fuzz
