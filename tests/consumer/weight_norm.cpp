// measure = ["weight_norm"]: the norm of all parameters after every update.

#include <ATen/ATen.h>
#include <pcxx/train/observer.h>

#include "lab.h"

namespace {

using namespace pcxx;

class WeightNorm final : public train::Observer {
 public:
  void after_step(const train::MadeUpdate& update, const train::Record& record) override {
    const at::NoGradGuard no_grad;
    const auto members = update.network.members().value_or(1);
    at::Tensor square;  // of each member
    for (const auto& parameter : update.network.parameters()) {
      const auto mine = parameter.reshape({members, -1}).square().sum(1);
      square = square.defined() ? square + mine : mine;
    }
    record("weight_norm", update.network.members() ? square.sqrt() : square.sqrt().squeeze(0));
  }
};

}  // namespace

void add_weight_norm() {
  train::add_observer("weight_norm", "norm of all parameters",
                      [](const train::HeldOut&) { return std::make_unique<WeightNorm>(); });
}
