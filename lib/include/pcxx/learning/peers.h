#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace pcxx::learning {

/// Processes that share a batch, each with its slice of the samples, as a rule sees them that
/// weighs samples against each other (learning/rule.h, `shared_factors`). All make the same calls
/// in the same order, with the same shapes but for the number of samples.
class Peers {
 public:
  virtual ~Peers() = default;

  using Tensors = std::vector<at::Tensor>;

  /// Begins to send rows [.., b, n] of this process's samples. The result, called once, waits for
  /// those of all samples, [.., B, n] in the order of the batch.
  virtual std::function<Tensors()> rows(Tensors mine) = 0;

  /// The sums over the processes, the same to the last bit on all of them.
  virtual Tensors sums(Tensors mine) = 0;
};

/// One process, which has all samples.
class NoPeers final : public Peers {
 public:
  std::function<Tensors()> rows(Tensors mine) override {
    return [mine = std::move(mine)] { return mine; };
  }
  Tensors sums(Tensors mine) override { return mine; }
};

}  // namespace pcxx::learning
