#pragma once

#include <pcxx/learning/peers.h>
#include <pcxx/parallel/communicator.h>

#include <cstdint>

namespace pcxx::parallel {

/// The ranks that share a batch of so many samples, as a rule sees them.
class RankPeers final : public learning::Peers {
 public:
  RankPeers(Communicator& ranks, std::int64_t samples) : ranks_(ranks), samples_(samples) {}

  std::function<Tensors()> rows(Tensors mine) override;
  Tensors sums(Tensors mine) override;

 private:
  Communicator& ranks_;
  std::int64_t samples_;
};

}  // namespace pcxx::parallel
