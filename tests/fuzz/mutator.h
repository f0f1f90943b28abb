#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace pcxx::fuzz {

/// Makes inputs from others: bytes and bits changed, words of the format put in, numbers and
/// lengths exchanged, parts left out, repeated and taken from another input. The same seed makes
/// the same inputs.
class Mutator {
 public:
  Mutator(std::vector<std::string> corpus, std::vector<std::string> words, std::uint64_t seed);

  std::string next();

 private:
  std::size_t below(std::size_t bound);
  const std::string& any(const std::vector<std::string>& list);
  void mutate(std::string& input);
  void change_byte(std::string& input);
  void change_number(std::string& input);
  void change_length(std::string& input);
  void repeat(std::string& input);
  void splice(std::string& input);

  std::vector<std::string> corpus_;
  std::vector<std::string> words_;
  std::mt19937_64 random_;
};

}  // namespace pcxx::fuzz
