#include <ATen/ATen.h>
#include <pcxx/parallel/slice.h>

#include <algorithm>

namespace pcxx::parallel {

Slice slice_of(std::int64_t samples, int rank, int size) {
  const auto least = samples / size;
  const auto larger = samples % size;  // ranks with one more
  return {.first = rank * least + std::min<std::int64_t>(rank, larger),
          .count = least + (rank < larger ? 1 : 0)};
}

std::vector<std::int64_t> slice_counts(std::int64_t samples, int size) {
  std::vector<std::int64_t> counts;
  for (int rank = 0; rank < size; ++rank) counts.push_back(slice_of(samples, rank, size).count);
  return counts;
}

data::Batch slice(const data::Batch& batch, const Communicator& ranks) {
  const auto [first, count] = slice_of(batch.input.size(-2), ranks.rank(), ranks.size());
  return {batch.input.narrow(-2, first, count), batch.target.narrow(-2, first, count),
          batch.samples};
}

PendingRows::PendingRows(Communicator& ranks, const at::Tensor& rows, std::int64_t samples) {
  const auto mine = rows.movedim(-2, 0).contiguous();
  auto shape = mine.sizes().vec();
  shape.front() = samples;
  all_ = at::empty(shape, mine.options());
  auto counts = slice_counts(samples, ranks.size());
  for (auto& count : counts) count *= all_.numel() / samples;
  pending_ = ranks.start_gather(mine, all_, counts);
}

at::Tensor PendingRows::wait() {
  pending_->wait();
  return all_.movedim(0, -2);
}

at::Tensor gather_rows(Communicator& ranks, const at::Tensor& rows, std::int64_t samples) {
  if (ranks.size() == 1) return rows;
  return PendingRows(ranks, rows, samples).wait();
}

at::Tensor gather_samples(Communicator& ranks, const at::Tensor& values, std::int64_t samples) {
  return gather_rows(ranks, values.unsqueeze(-1), samples).squeeze(-1);
}

}  // namespace pcxx::parallel
