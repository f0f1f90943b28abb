#pragma once

#include <cstdint>

namespace pcxx::parallel {

/// How ranks put a layer together.
enum class Exchange {
  kSum,     ///< the sums over each rank's samples are added up
  kGather,  ///< every rank gets the factors of all samples
};

/// What takes less time. Of N ranks each sends 2 (N - 1) / N of the numbers that are summed, and
/// (N - 1) / N of those that are gathered. Every rank then makes the sums of all samples from the
/// factors, though, where it would have made 1 / N of them: `rows` multiplications for each number.
/// A number on its way counts as much as 80 of these, as with 10 Gbit/s in float32 and 50 GFLOP/s.
///
///   summed    numbers in the sums over the samples; 0 where there are none that would do
///   gathered  numbers in the factors of the whole batch
///   rows      of the whole batch
Exchange cheaper(std::int64_t summed, std::int64_t gathered, std::int64_t rows);

}  // namespace pcxx::parallel
