#include <ATen/ATen.h>

#include "train/observer_parts.h"

namespace pcxx::train {
namespace {

// ||theta_after - theta_before|| / ||theta_before|| over all parameters. They change in place, so
// what they were is kept.
class UpdateSize final : public Observer {
 public:
  void before_step(const MadeUpdate& update, const Record&) override {
    const at::NoGradGuard no_grad;
    before_.clear();
    for (const auto& parameter : update.network.parameters()) before_.push_back(parameter.clone());
  }

  void after_step(const MadeUpdate& update, const Record& record) override {
    const at::NoGradGuard no_grad;
    at::Tensor moved;
    at::Tensor size;
    const auto parameters = update.network.parameters();
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      add(moved, square(parameters[i] - before_[i], update.network));
      add(size, square(before_[i], update.network));
    }
    record("update_size", moved.div(size).sqrt());
  }

 private:
  // [] or [R], float64.
  static at::Tensor square(const at::Tensor& x, const nn::NetworkImpl& network) {
    const auto squares = x.to(at::kDouble).square();
    return network.members() ? squares.reshape({*network.members(), -1}).sum(-1) : squares.sum();
  }
  static void add(at::Tensor& sum, const at::Tensor& term) {
    sum = sum.defined() ? sum + term : term;
  }

  std::vector<at::Tensor> before_;
};

}  // namespace

ObserverPart update_size_part() {
  ObserverPart part;
  part.name = "update_size";
  part.doc = "of all weights together, as a fraction of what they were";
  part.make = [](const HeldOut&) { return std::make_unique<UpdateSize>(); };
  return part;
}

}  // namespace pcxx::train
