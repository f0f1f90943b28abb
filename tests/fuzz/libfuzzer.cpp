// The same formats for libFuzzer. The environment variable PCXX_FUZZ_TARGET names one:
//
//   PCXX_FUZZ_TARGET=toml fuzz_formats -runs=1000000 new_inputs tests/fuzz/corpus/toml

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <random>

#include "fuzz/targets.h"

// NOLINTBEGIN(readability-identifier-naming)

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);

namespace {

const pcxx::fuzz::Target& target() {
  static const auto& chosen = []() -> const pcxx::fuzz::Target& {
    const char* name = std::getenv("PCXX_FUZZ_TARGET");
    const auto& all = pcxx::fuzz::targets();
    const auto found = std::find_if(all.begin(), all.end(), [&](const auto& one) {
      return name != nullptr && one.name == name;
    });
    if (found != all.end()) return *found;
    std::cerr << "PCXX_FUZZ_TARGET names none of";
    for (const auto& one : all) std::cerr << ' ' << one.name;
    std::cerr << '\n';
    std::_Exit(2);
  }();
  return chosen;
}

std::string text(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  pcxx::fuzz::read(target(), text(data, size));
  return 0;
}

// Some inputs with another word of the format in them, some with their lengths right again.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t most, unsigned seed) {
  std::minstd_rand random(seed);
  std::string input;
  if (random() % 4 == 0) {
    const auto& words = target().words;
    input = text(data, size);
    input.replace(random() % (size + 1), random() % 8, words[random() % words.size()]);
  } else {
    input = text(data, LLVMFuzzerMutate(data, size, most));
  }
  if (target().repair && random() % 2 == 0) input = target().repair(input);
  const auto length = std::min(input.size(), most);
  std::copy_n(input.begin(), length, data);
  return length;
}

// NOLINTEND(readability-identifier-naming)
