#pragma once

#include <pcxx/data/batch.h>
#include <pcxx/learning/factors.h>
#include <pcxx/nn/network.h>

#include <string_view>

namespace pcxx::learning {

/// A learning rule turns a batch into the factors of each layer's update. Rules differ only here;
/// nothing downstream knows which one runs.
class LearningRule {
 public:
  virtual ~LearningRule() = default;

  virtual Step factors(const nn::NetworkImpl& network, const data::Batch& batch) const = 0;

  virtual std::string_view name() const = 0;
};

}  // namespace pcxx::learning
