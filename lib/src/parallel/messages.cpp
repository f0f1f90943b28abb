#include "parallel/messages.h"

#include <ATen/ATen.h>

namespace pcxx::parallel {

PendingSums::PendingSums(Communicator& ranks, std::vector<at::Tensor> tensors)
    : tensors_(std::move(tensors)) {
  std::vector<at::Tensor> flat;
  for (const auto& tensor : tensors_) flat.push_back(tensor.reshape({-1}));
  message_ = at::cat(flat);
  pending_ = ranks.start_sum(message_);
}

std::vector<at::Tensor> PendingSums::wait() {
  pending_->wait();
  std::vector<at::Tensor> sums;
  std::int64_t place = 0;
  for (const auto& tensor : tensors_) {
    sums.push_back(message_.narrow(0, place, tensor.numel()).view(tensor.sizes()));
    place += tensor.numel();
  }
  return sums;
}

PendingColumns::PendingColumns(Communicator& ranks, const std::vector<at::Tensor>& columns,
                               std::int64_t samples)
    : rows_(ranks, at::cat(columns, -1), samples) {
  for (const auto& column : columns) widths_.push_back(column.size(-1));
}

std::vector<at::Tensor> PendingColumns::wait() {
  auto columns = rows_.wait().split_with_sizes(widths_, -1);
  for (auto& column : columns) column = column.contiguous();
  return columns;
}

}  // namespace pcxx::parallel
