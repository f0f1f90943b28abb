#pragma once

#include <pcxx/optim/rescaling.h>

namespace pcxx::optim {

/// Of RecursiveProjection.
struct RecursiveProjectionOptions {
  /// lambda: a sample's weight falls by this factor with every update.
  double forgetting = 0.95;
  /// Q starts at prior_scale I, the delta below.
  double prior_scale = 1;
};

/// Largest lambda_max / lambda_min over matrices Q [n, n] or [R, n, n], one a layer; infinite where
/// a Q is singular or not finite, 1 where there is none.
double memory_condition(const std::vector<at::Tensor>& memory);

/// `recursive_projection` (not in the paper): the projection with a memory, recursive least squares
/// with forgetting. Per layer Q = (sum over past updates of lambda^age Xhat^T Xhat + lambda^t /
/// delta I)^-1:
///
///   K = Q Xhat^T (lambda I + Xhat Q Xhat^T)^-1,   D_l = E^T K^T,   Q <- (Q - K Xhat Q) / lambda
///
/// with a B x B solve; at B = 1 it costs O(n^2) and no solve. Q is kept symmetric, and once its
/// mean eigenvalue exceeds a bound (1e6 in float64, 1e3 in float32, or delta if that is more) it
/// stops forgetting until new samples have brought it down: directions that no sample excites would
/// otherwise grow without limit and take the precision of all others with them.
class RecursiveProjection final : public Rescaling {
 public:
  explicit RecursiveProjection(RecursiveProjectionOptions options = {});

  std::vector<Direction> directions(const std::vector<learning::LayerFactors>& layers) override;
  std::string_view name() const override { return "recursive_projection"; }
  std::map<std::string, double> diagnostics() const override;

  State state() const override;
  void set_state(const State& state) override;

  /// Q of layer l = 1..L, [n, n] or [R, n, n]; n counts the bias unit. Empty before the first
  /// update.
  const std::vector<at::Tensor>& memory() const { return memory_; }

  /// Of memory().
  double memory_condition() const { return optim::memory_condition(memory_); }

 private:
  RecursiveProjectionOptions options_;
  std::vector<at::Tensor> memory_;
};

}  // namespace pcxx::optim
