#pragma once

#include <pcxx/data/image_dataset.h>

#include <cstdint>

namespace pcxx::data {

/// Drawn digits 0 to 9, a data set that needs no files: pen strokes with random shape, slant,
/// proportions, thickness and position on 28 x 28 pixels, grey levels by antialiasing. Like
/// MNIST's, digits fill a box of about 20 x 20 pixels around their centre of mass, and about an
/// eighth of the area is ink. Labels are uniformly random.
///
///   auto train = drawn_digits(60'000, seed);
///   auto test = drawn_digits(10'000, seed, train.size());   // other samples of the same seed
///
/// Returns samples first .. first + count - 1. Sample i is a function of (seed, i) alone: neither
/// the count nor the number of threads matters.
Images drawn_digits(std::int64_t count, std::uint64_t seed, std::int64_t first = 0);

}  // namespace pcxx::data
