#pragma once

#include <cstdint>

namespace pcxx::parallel {

/// How ranks put a layer together.
enum class Exchange {
  kSum,     ///< the sums over each rank's samples are added up
  kGather,  ///< every rank gets the factors of all samples
};

/// What moves fewer bytes: of N ranks each sends 2 (N - 1) / N of the numbers that are summed, and
/// (N - 1) / N of those that are gathered, so that the sums win up to half the numbers of the
/// factors.
///
///   summed    numbers in the sums over the samples; 0 where there are none that would do
///   gathered  numbers in the factors of the whole batch
Exchange shorter(std::int64_t summed, std::int64_t gathered);

}  // namespace pcxx::parallel
