#pragma once

#include <pcxx/parallel/communicator.h>
#include <pcxx/parallel/patience.h>

namespace pcxx::parallel {

/// The ranks of MPI_COMM_WORLD. Called from the thread that made it.
class MpiCommunicator final : public Communicator {
 public:
  explicit MpiCommunicator(WaitOptions options);
  /// Waits for the other ranks.
  ~MpiCommunicator() override;
  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::unique_ptr<Pending> start_sum(at::Tensor tensor) override;
  std::unique_ptr<Pending> start_gather(at::Tensor mine, at::Tensor all,
                                        const std::vector<std::int64_t>& counts) override;
  void broadcast(at::Tensor tensor) override;
  void wait_at_most(std::chrono::duration<double> limit) override { options_.limit = limit; }
  [[noreturn]] void abort(int code) override;

 private:
  WaitOptions options_;
  int rank_ = 0;
  int size_ = 1;
};

}  // namespace pcxx::parallel
