#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace pcxx::data {

/// Shuffled minibatches without replacement: a new random order of N samples in every epoch.
///
///   Minibatches minibatches(images.size(), seed);
///   auto batch = autoencoding_batch(images, minibatches.next(64), torch::kFloat32);
///
/// Batches follow each other without a gap: one that reaches the end of an epoch is filled up from
/// the next, so that all have the same size and each epoch visits every sample exactly once. The
/// order is a function of (seed, epoch) alone, so a position is all there is to save.
class Minibatches {
 public:
  struct Position {
    std::int64_t epoch = 0;
    /// How many samples of the epoch have been handed out, 0..N-1.
    std::int64_t sample = 0;
  };

  Minibatches(std::int64_t samples, std::uint64_t seed);

  /// The next `batch_size` indices, int64 [B] on the CPU.
  at::Tensor next(std::int64_t batch_size);

  const Position& position() const { return position_; }
  /// Continues from a position, with the same indices as the first time.
  void resume(const Position& position);

 private:
  void shuffle();

  std::int64_t samples_;
  std::uint64_t seed_;
  Position position_;
  at::Tensor order_;
};

}  // namespace pcxx::data
