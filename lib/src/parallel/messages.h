#pragma once

#include <ATen/core/Tensor.h>
#include <pcxx/parallel/communicator.h>
#include <pcxx/parallel/slice.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace pcxx::parallel {

/// The sums of several tensors over the ranks, in one message.
class PendingSums {
 public:
  PendingSums(Communicator& ranks, std::vector<at::Tensor> tensors);
  std::vector<at::Tensor> wait();

 private:
  std::vector<at::Tensor> tensors_;
  at::Tensor message_;
  std::unique_ptr<Pending> pending_;
};

/// Several kinds of rows [.., b, n] of every rank's samples, in one message.
class PendingColumns {
 public:
  PendingColumns(Communicator& ranks, const std::vector<at::Tensor>& columns, std::int64_t samples);
  /// Those of all samples, [.., samples, n].
  std::vector<at::Tensor> wait();

 private:
  std::vector<std::int64_t> widths_;
  PendingRows rows_;
};

}  // namespace pcxx::parallel
