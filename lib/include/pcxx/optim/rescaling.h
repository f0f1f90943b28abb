#pragma once

#include <pcxx/learning/factors.h>

#include <torch/serialize/archive.h>

#include <memory>
#include <string_view>
#include <vector>

namespace pcxx::optim {

/// The ascent direction of one layer: parameters move by + rate * direction; `.grad` is its negative.
///   weight  [n_l, n_{l-1}] or [R, ...];  bias [n_l] or [R, n_l], undefined without bias
struct Direction {
  at::Tensor weight;
  at::Tensor bias;
};

/// A rescaling of the plain direction D_l, made from the factors of all L layers. Numerical failure
/// of one ensemble member gives that member non-finite directions and leaves the others alone.
class Rescaling {
 public:
  virtual ~Rescaling() = default;

  /// Directions of layers 1..L (element l - 1); may advance the rescaling's own memory.
  virtual std::vector<Direction> directions(const std::vector<learning::LayerFactors>& layers) = 0;

  virtual std::string_view name() const = 0;

  /// Memory of past samples, if any; most rescalings have none.
  virtual void save(torch::serialize::OutputArchive&) const {}
  virtual void load(torch::serialize::InputArchive&) {}
};

/// `none`: D_l as it is.
class Plain final : public Rescaling {
 public:
  std::vector<Direction> directions(const std::vector<learning::LayerFactors>& layers) override;
  std::string_view name() const override { return "none"; }
};

}  // namespace pcxx::optim
