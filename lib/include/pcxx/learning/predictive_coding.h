#pragma once

#include <pcxx/inference/inference.h>
#include <pcxx/learning/rule.h>

#include <memory>

namespace pcxx::learning {

/// Predictive coding (eq. 7): activities settle first, then e_l = eps*_l f_l'(W_l x*_{l-1}) and
/// presynaptic activity x*.
class PredictiveCoding final : public LearningRule {
 public:
  /// Closed form for linear networks, L-BFGS with its default settings for all others.
  PredictiveCoding() = default;
  explicit PredictiveCoding(std::shared_ptr<const inference::Inference> inference)
      : inference_(std::move(inference)) {}

  Step factors(const nn::NetworkImpl& network, const data::Batch& batch) override;
  std::string_view name() const override { return "pc"; }

 private:
  std::shared_ptr<const inference::Inference> inference_;
};

}  // namespace pcxx::learning
