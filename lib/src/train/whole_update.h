#pragma once

#include <ATen/core/Tensor.h>
#include <pcxx/nn/network.h>

#include <vector>

namespace pcxx::train {

/// Several steps of a network as one update, for those who look at both of its ends.
class WholeUpdate {
 public:
  /// Begins with the parameters as they are.
  explicit WholeUpdate(const nn::NetworkImpl& network);

  /// Adds the gradients of a step.
  void add_gradients();

  /// After the last step: the parameters are those of the start again, and `.grad` is the sum of
  /// all gradients.
  void rewind();
  /// And the parameters are those of the end.
  void finish();

 private:
  std::vector<at::Tensor> parameters_;
  std::vector<at::Tensor> before_;
  std::vector<at::Tensor> after_;
  std::vector<at::Tensor> gradients_;  // undefined where there is none
};

}  // namespace pcxx::train
