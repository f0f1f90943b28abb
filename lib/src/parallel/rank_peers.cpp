#include "parallel/rank_peers.h"

#include <memory>

#include "parallel/messages.h"

namespace pcxx::parallel {

std::function<learning::Peers::Tensors()> RankPeers::rows(Tensors mine) {
  const auto pending = std::make_shared<PendingColumns>(ranks_, mine, samples_);
  return [pending] { return pending->wait(); };
}

learning::Peers::Tensors RankPeers::sums(Tensors mine) {
  return PendingSums(ranks_, std::move(mine)).wait();
}

}  // namespace pcxx::parallel
