#pragma once

#include <pcxx/core/state.h>
#include <pcxx/learning/factors.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace pcxx::optim {

/// The ascent direction of one layer: parameters move by + rate * direction; `.grad` is its
/// negative.
///   weight  [n_l, n_{l-1}] or [R, ...];  bias [n_l] or [R, n_l], undefined without bias
struct Direction {
  at::Tensor weight;
  at::Tensor bias;
};

/// A rescaling of the plain direction D_l, made from the factors of all L layers.
///
/// Works from the factors, so that nothing n x n is built where the batch is thinner than the
/// layer. A bias is one more presynaptic unit, fixed at 1. Numerical failure of one ensemble member
/// gives that member non-finite directions and leaves the others alone.
class Rescaling {
 public:
  virtual ~Rescaling() = default;

  /// Directions of layers 1..L (element l - 1); may advance the rescaling's own memory.
  virtual std::vector<Direction> directions(const std::vector<learning::LayerFactors>& layers) = 0;

  /// Sums over the samples of one layer from which `directions` can tell as much as from all its
  /// factors. Several processes that share a batch (parallel/shared_step.h) add up each one's, and
  /// give them back as `LayerFactors::sums`, wherever that takes less time. Empty, as for
  /// any rescaling that does not say otherwise: it always gets the factors of all samples.
  ///
  /// `layer.samples` counts all samples of the batch, and may exceed the rows that are at hand; of
  /// none of them, the sums are zeros of the same sizes, which say how long a message would be.
  virtual std::vector<at::Tensor> sums(const learning::LayerFactors& layer) const;

  /// Makes `.grad` of every weight and bias the negative direction; frozen ones (requires_grad
  /// false) are left without.
  virtual void write_gradients(const std::vector<learning::LayerFactors>& layers);

  virtual std::string_view name() const = 0;

  /// Numbers worth a look after training, by name: `zero_denominators` of alpha, `memory_condition`
  /// of the recursive projection. Most rescalings have none.
  virtual std::map<std::string, double> diagnostics() const { return {}; }

  /// Memory of past samples, if any; most rescalings have none. `set_state` refuses (c10::Error)
  /// the state of another rescaling or of other shapes.
  virtual State state() const { return {}; }
  virtual void set_state(const State&) {}
};

/// `none`: D_l as it is.
class Plain final : public Rescaling {
 public:
  std::vector<Direction> directions(const std::vector<learning::LayerFactors>& layers) override;
  /// E^T U.
  std::vector<at::Tensor> sums(const learning::LayerFactors& layer) const override;
  /// One product per layer, straight into `.grad`.
  void write_gradients(const std::vector<learning::LayerFactors>& layers) override;
  std::string_view name() const override { return "none"; }
};

/// u_{l-1} and xhat_{l-1} with a column of the bias unit appended where the layer has a bias.
at::Tensor with_bias_unit(const at::Tensor& activity, const learning::LayerFactors& layer);

/// Splits [W b]-shaped direction [n_l, n_{l-1} + 1] into weight and bias where the layer has a
/// bias.
Direction split_bias_unit(const at::Tensor& direction, const learning::LayerFactors& layer);

}  // namespace pcxx::optim
