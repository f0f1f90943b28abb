#pragma once

#include <ATen/core/Tensor.h>
#include <pcxx/learning/rule.h>
#include <pcxx/nn/feedforward.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace pcxx::learning {

/// Of IncrementalPredictiveCoding.
struct IncrementalOptions {
  /// T: passes over each batch, and steps of the weights.
  std::int64_t passes = 16;
  /// gamma: step of the activities.
  double step_size = 0.2;
};

/// Incremental predictive coding (rule `ipc`; Salvatori et al. 2023): activities and weights go
/// down the energy together, where predictive coding lets the activities settle first. Activities
/// start at the feed-forward pass, x_l = xhat_l, with x_0 and x_L clamped. Each of T passes finds
/// eps_l = x_l - (prediction of layer l) with the weights as they are now (eps_L: minus the
/// gradient of the loss), and then all move at once:
///
///   hidden activities  x_l <- x_l - gamma (eps_l - (J_{l+1})^T eps_{l+1}),  J = d prediction / d x
///   weights            a step with e_l = eps_l f_l'(W_l x_{l-1}), presynaptic activity x_{l-1}
///
/// So of the first pass only the last layer learns, of the second the last two, and fewer passes
/// than layers leave the first ones as they are. The cost is that of T steps of backpropagation.
///
/// `factors` makes one pass, and is called T times for each batch (`steps_per_batch`), each step
/// taken before the next. Between these calls the rule keeps the activities; it has no memory of
/// past batches. Throws c10::Error where another batch comes before the T calls are made: its
/// target must be the same tensor.
///
/// `feedforward` of the factors and the prediction of the step are those of the pass that the batch
/// began with. Nothing waits for the activities to settle, and the report says how far they are:
/// energy and residual of the last pass, before its move; a sample has converged where the residual
/// is at most that at which inference stops by default (1e-3), and never is unstable: activities
/// that grow without bound become errors that are not finite, and want a smaller gamma.
class IncrementalPredictiveCoding final : public LearningRule {
 public:
  /// Throws c10::Error unless there is a pass and a positive step.
  explicit IncrementalPredictiveCoding(IncrementalOptions options = {});

  Step factors(const nn::NetworkImpl& network, const data::Batch& batch) override;
  std::string_view name() const override { return "ipc"; }
  std::int64_t steps_per_batch() const override { return options_.passes; }

 private:
  /// The batch that is being learnt.
  struct Current {
    at::Tensor target;                   // as it was handed in
    nn::Feedforward pass;                // that the batch began with
    std::vector<at::Tensor> activities;  // x_0..x_L
    std::int64_t passes = 0;             // made so far
    at::Tensor first_gradient;           // its norm, [.., B]
  };

  void begin(const nn::NetworkImpl& network, const data::Batch& batch);
  void check_same(const data::Batch& batch) const;

  IncrementalOptions options_;
  std::optional<Current> current_;
};

}  // namespace pcxx::learning
