#pragma once

#include <ATen/core/Generator.h>

#include <cstdint>

namespace pcxx {

/// What random numbers are for. Each purpose draws from a stream of its own, so that, for example,
/// another number of training batches leaves the weights as they were. Values from 1000 on are free
/// for purposes of one's own: `static_cast<Purpose>(1000)`.
enum class Purpose : std::uint64_t {
  kWeights = 1,
  kTeacher = 2,
  kInputs = 3,
  kTargets = 4,
  kNoise = 5,
  kShuffle = 6,
  kDigits = 7,
  kHeldOut = 8,
  kReluTeacher = 9,
};

/// A CPU generator for one purpose of one run; streams of different (seed, purpose) pairs are
/// unrelated. Draws are made on the CPU in float64 and then cast and moved, so that results do not
/// depend on dtype or device.
at::Generator make_generator(std::uint64_t seed, Purpose purpose);

}  // namespace pcxx
