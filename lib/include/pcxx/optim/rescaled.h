#pragma once

#include <pcxx/optim/rescaling.h>
#include <torch/optim/optimizer.h>

#include <concepts>
#include <memory>
#include <utility>
#include <vector>

namespace pcxx::optim {

/// Any first-order optimizer, fed with rescaled directions in place of gradients.
///
///   Rescaled optimizer(torch::optim::SGD(network->parameters(), 0.1),
///                      std::make_unique<Projection>());
///   optimizer.step(rule.factors(*network, batch));
///
/// The optimizer is an ordinary one behind `inner()`, for schedulers, parameter groups and their
/// options. A layer with a frozen weight or bias (requires_grad false) gets no gradient there.
class Rescaled {
 public:
  /// Throws c10::Error for LBFGS, which evaluates the network several times a step.
  Rescaled(std::unique_ptr<torch::optim::Optimizer> inner, std::unique_ptr<Rescaling> rescaling);

  template <std::derived_from<torch::optim::Optimizer> Optimizer>
  Rescaled(Optimizer inner, std::unique_ptr<Rescaling> rescaling)
      : Rescaled(std::make_unique<Optimizer>(std::move(inner)), std::move(rescaling)) {}

  /// One update of all parameters.
  void step(const learning::Step& step);
  /// The same in a network of Dense layers.
  void step(const std::vector<learning::LayerFactors>& layers);

  /// The first half of a step: `.grad` of every parameter becomes the negative direction.
  /// `inner().step()` is the second. Throws c10::Error when factors, memory of the rescaling or
  /// state of the optimizer are on another device than the parameters.
  void write_gradients(const learning::Step& step);
  /// The same in a network of Dense layers.
  void write_gradients(const std::vector<learning::LayerFactors>& layers);

  torch::optim::Optimizer& inner() { return *inner_; }
  const torch::optim::Optimizer& inner() const { return *inner_; }
  Rescaling& rescaling() { return *rescaling_; }
  const Rescaling& rescaling() const { return *rescaling_; }

  /// Memory and learning rates of the optimizer, and memory of the rescaling. Throws c10::Error for
  /// optimizers other than LibTorch's if they keep a memory.
  State state() const;
  /// Goes on from there. Throws c10::Error, and changes nothing, when the state is of another
  /// optimizer, another rescaling, or parameters of other shapes or dtypes.
  void set_state(const State& state);

  /// The same for `torch::save(optimizer, path)` and `torch::load`. Load only what you trust:
  /// LibTorch's reader runs the code that an archive holds.
  void save(torch::serialize::OutputArchive& archive) const;
  void load(torch::serialize::InputArchive& archive);

 private:
  std::unique_ptr<torch::optim::Optimizer> inner_;
  std::unique_ptr<Rescaling> rescaling_;
};

torch::serialize::OutputArchive& operator<<(torch::serialize::OutputArchive& archive,
                                            const Rescaled& optimizer);
torch::serialize::InputArchive& operator>>(torch::serialize::InputArchive& archive,
                                           Rescaled& optimizer);

}  // namespace pcxx::optim
