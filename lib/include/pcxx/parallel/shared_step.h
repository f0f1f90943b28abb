#pragma once

#include <pcxx/data/batch.h>
#include <pcxx/learning/rule.h>
#include <pcxx/nn/network.h>
#include <pcxx/optim/rescaling.h>
#include <pcxx/parallel/communicator.h>

namespace pcxx::parallel {

/// The step of a batch whose samples are spread over the ranks: each runs the rule, inference and
/// all, on its slice, and they put together what the rescaling needs of every layer, so that all
/// take the same update, which is one process's to rounding.
///
///   auto step = shared_step(rule, *network, batch, optimizer.rescaling(), ranks);
///   optimizer.step(step);
///
/// Of a layer either the rescaling's sums over the samples are added up (optim/rescaling.h), or
/// where that takes longer (parallel/exchange.h), as in a batch that is thinner than the layer, the
/// factors are gathered, but for the inputs, which all ranks have. Messages of one layer are under
/// way while those of the next are computed. The report covers all samples; `prediction` only those
/// of this rank's slice.
///
/// `batch` is the whole batch, the same on every rank; it may have fewer samples than there are
/// ranks. A rule that weighs samples against each other exchanges what it needs by itself, or is
/// refused, with c10::Error (learning/rule.h, `Sharing`).
learning::Step shared_step(learning::LearningRule& rule, const nn::NetworkImpl& network,
                           const data::Batch& batch, const optim::Rescaling& rescaling,
                           Communicator& ranks);

}  // namespace pcxx::parallel
