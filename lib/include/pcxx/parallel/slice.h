#pragma once

#include <ATen/core/Tensor.h>
#include <pcxx/data/batch.h>
#include <pcxx/parallel/communicator.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace pcxx::parallel {

/// The part of a batch, or of any other row of samples, that one rank takes.
struct Slice {
  std::int64_t first = 0;
  std::int64_t count = 0;
};

/// Of `samples`, cut into `size` parts as even as can be, larger ones first; where there are fewer
/// samples than ranks, the last ones get none.
Slice slice_of(std::int64_t samples, int rank, int size);

/// The counts of all ranks.
std::vector<std::int64_t> slice_counts(std::int64_t samples, int size);

/// This rank's samples of a batch; `samples`, the B of every 1/B, stays that of the whole batch.
data::Batch slice(const data::Batch& batch, const Communicator& ranks);

/// Rows [.., b, n] of every rank's slice, on their way.
class PendingRows {
 public:
  PendingRows(Communicator& ranks, const at::Tensor& rows, std::int64_t samples);

  /// Those of all ranks, [.., samples, n], in the order of the batch.
  at::Tensor wait();

 private:
  at::Tensor all_;  // the samples first, so that a rank's numbers lie in one piece
  std::unique_ptr<Pending> pending_;
};

/// The same at once; with one rank the rows themselves.
at::Tensor gather_rows(Communicator& ranks, const at::Tensor& rows, std::int64_t samples);

/// One number a sample, [.., b] of each rank as [.., samples].
at::Tensor gather_samples(Communicator& ranks, const at::Tensor& values, std::int64_t samples);

}  // namespace pcxx::parallel
