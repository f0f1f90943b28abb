#pragma once

#include <pcxx/data/batch.h>
#include <pcxx/learning/factors.h>
#include <pcxx/nn/network.h>

namespace pcxx::learning {

/// The batch with targets p + beta (y - p), where p is what the prediction says in their units.
data::Batch nudged_batch(const nn::NetworkImpl& network, const data::Batch& batch, double beta);

/// The mean of two steps of one batch by the same network (learning/predictive_coding.h says of
/// their factors and reports what that is).
Step mean_of(const Step& a, const Step& b);

}  // namespace pcxx::learning
