#pragma once

#include <pcxx/data/minibatches.h>
#include <pcxx/learning/rule.h>
#include <pcxx/nn/network.h>
#include <pcxx/optim/rescaled.h>
#include <pcxx/run/parts.h>

namespace pcxx::train {

/// All that a training run must remember to go on bit by bit: weights, memory of the rule, state of
/// the optimizer, memory of the rescaling, position in the data.
///
///   job.advance(1, [&] { return training_state(network, rule, optimizer, minibatches); });
run::Part training_state(const nn::Network& network, const learning::LearningRule& rule,
                         const optim::Rescaled& optimizer, const data::Minibatches& minibatches);

/// The same without a position: of data that keep their own.
run::Part training_state(const nn::Network& network, const learning::LearningRule& rule,
                         const optim::Rescaled& optimizer);

/// Goes back to such a state, on whatever device the network is. Throws c10::Error when it is of
/// another network, rule, optimizer or rescaling.
void restore(const run::Part& state, nn::Network& network, learning::LearningRule& rule,
             optim::Rescaled& optimizer, data::Minibatches& minibatches);
void restore(const run::Part& state, nn::Network& network, learning::LearningRule& rule,
             optim::Rescaled& optimizer);

/// The weights alone, on the CPU: a part's entries `weight.<name>`.
run::Part weights_of(const nn::Network& network);
void restore_weights(const run::Part& part, nn::Network& network);

}  // namespace pcxx::train
