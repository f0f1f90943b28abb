#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace pcxx::parallel {

/// A message that is under way.
class Pending {
 public:
  virtual ~Pending() = default;
  /// Returns once the result is where it belongs. Throws RanksLost (parallel/patience.h) when the
  /// other ranks do not answer.
  virtual void wait() = 0;
};

/// Processes, called ranks, that train one network together: rank = 0..size - 1. All ranks make the
/// same calls in the same order, with the same shapes and dtypes where no counts are given.
///
/// Tensors are contiguous, of any dtype with 4 or 8 bytes a number (sums: float32, float64, int64),
/// or bytes; on the CPU or, copied through it unless it is CUDA's and MPI reads its memory, on
/// another device.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  bool is_root() const { return rank() == 0; }

  /// Begins to replace `tensor` by its sum over the ranks, the same to the last bit on all of them.
  virtual std::unique_ptr<Pending> start_sum(at::Tensor tensor) = 0;
  /// Begins to fill `all` with the numbers of all ranks one after the other; rank r gives
  /// counts[r] of them.
  virtual std::unique_ptr<Pending> start_gather(at::Tensor mine, at::Tensor all,
                                                const std::vector<std::int64_t>& counts) = 0;
  /// Rank 0's numbers for all.
  virtual void broadcast(at::Tensor tensor) = 0;
  /// Sets the timeout of all later messages.
  virtual void wait_at_most(std::chrono::duration<double> limit) = 0;
  /// Ends the processes of all ranks, at once.
  [[noreturn]] virtual void abort(int code) = 0;

  /// Bytes of the messages that this rank has sent so far, as a ring sends them: 2 (N - 1) / N of
  /// what is summed, (N - 1) / N of what is gathered, and what rank 0 has broadcast.
  std::int64_t bytes() const { return bytes_; }

 protected:
  std::int64_t bytes_ = 0;
};

/// One process by itself: nothing to wait for.
class Alone final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  std::unique_ptr<Pending> start_sum(at::Tensor tensor) override;
  std::unique_ptr<Pending> start_gather(at::Tensor mine, at::Tensor all,
                                        const std::vector<std::int64_t>& counts) override;
  void broadcast(at::Tensor) override {}
  void wait_at_most(std::chrono::duration<double>) override {}
  [[noreturn]] void abort(int code) override;
};

/// The communicator of a single process.
Alone& alone();

/// A text of rank 0 for all.
std::string broadcast_text(Communicator& ranks, const std::string& text);

/// The texts of all ranks, in their order, on every rank.
std::vector<std::string> gather_texts(Communicator& ranks, const std::string& text);

/// The sum of each number over the ranks.
std::vector<double> sum_numbers(Communicator& ranks, const std::vector<double>& numbers);

/// Whether it is so on any rank.
bool any_rank(Communicator& ranks, bool here);

}  // namespace pcxx::parallel
