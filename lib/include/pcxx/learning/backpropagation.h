#pragma once

#include <pcxx/learning/rule.h>

namespace pcxx::learning {

/// Backpropagation on 1/2 ||y - yhat||^2 (eq. 6): e_L = r * f_L', e_l = (W_{l+1}^T e_{l+1}) * f_l',
/// presynaptic activity xhat. Written out, no autograd.
class Backpropagation final : public LearningRule {
 public:
  Step factors(const nn::NetworkImpl& network, const data::Batch& batch) override;
  std::string_view name() const override { return "bp"; }
};

}  // namespace pcxx::learning
