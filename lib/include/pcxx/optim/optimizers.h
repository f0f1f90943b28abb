#pragma once

#include <pcxx/core/state.h>
#include <torch/optim/optimizer.h>

#include <memory>
#include <string_view>
#include <vector>

/// LibTorch's optimizers by the names that configs use, and what others need for checkpoints.
namespace pcxx::optim {

/// "sgd", "adam", "adamw" or "rmsprop", with PyTorch's defaults but for the rate. Throws c10::Error
/// on any other name.
std::unique_ptr<torch::optim::Optimizer> make_optimizer(std::string_view name,
                                                        std::vector<at::Tensor> parameters,
                                                        double learning_rate);

/// What an optimizer that is none of LibTorch's remembers between its steps.
///
///   class HeavyBall : public torch::optim::Optimizer, public WithMemory {
///    public:
///     using Optimizer::Optimizer;
///     State memory() const override { return {{"velocity", velocity_}}; }
///     void set_memory(const State& memory) override {
///       velocity_ = entry_like(memory, "velocity", velocity_);
///     }
///    private:
///     at::Tensor velocity_;
///   };
///
/// Checkpoints hold it beside the learning rates, and a resumed run gets it back.
class WithMemory {
 public:
  virtual ~WithMemory() = default;

  /// Tensors by name; they may be the optimizer's own, which the caller copies.
  virtual State memory() const = 0;

  /// Takes a memory. Throws c10::Error, and changes nothing, when it does not fit the parameters.
  virtual void set_memory(const State& memory) = 0;
};

}  // namespace pcxx::optim
