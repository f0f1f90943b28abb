// The same formats for libFuzzer, one program each: PCXX_FUZZ_TARGET names it.

#include <algorithm>
#include <cstdint>

#include "fuzz/targets.h"

// NOLINTNEXTLINE(readability-identifier-naming)
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto& target =
      *std::find_if(pcxx::fuzz::targets().begin(), pcxx::fuzz::targets().end(),
                    [](const pcxx::fuzz::Target& one) { return one.name == PCXX_FUZZ_TARGET; });
  pcxx::fuzz::read(target, std::string(reinterpret_cast<const char*>(data), size));
  return 0;
}
