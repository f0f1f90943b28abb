#include <ATen/CPUGeneratorImpl.h>
#include <pcxx/core/random.h>

namespace pcxx {
namespace {

// Finaliser of splitmix64: neighbouring seeds give unrelated streams.
std::uint64_t mix(std::uint64_t value) {
  value += 0x9e3779b97f4a7c15ULL;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
  return value ^ (value >> 31);
}

}  // namespace

at::Generator make_generator(std::uint64_t seed, Purpose purpose) {
  return at::detail::createCPUGenerator(mix(mix(seed) + static_cast<std::uint64_t>(purpose)));
}

}  // namespace pcxx
