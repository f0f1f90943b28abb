#include <ATen/ATen.h>
#include <pcxx/inference/curvature.h>
#include <pcxx/parallel/shared_step.h>
#include <pcxx/parallel/slice.h>

#include "train/observer_parts.h"

namespace pcxx::train {
namespace {

constexpr std::int64_t kCurvatureEvery = 10;  // steps
constexpr const char* kCurvature = "inference_curvature";

class Inference final : public Observer {
 public:
  void learnt(const MadeUpdate& update, const Record& record) override {
    if (!update.step.report) return;
    for (const auto& [name, values] : inference::measurements(*update.step.report)) {
      if (name != kCurvature) record(name, values);
    }
    if (update.index % kCurvatureEvery == 0) record(kCurvature, curvature(update));
  }

 private:
  // The largest of all samples. It changes slowly: once in a while is enough, and costs next to
  // nothing.
  static at::Tensor curvature(const MadeUpdate& update) {
    constexpr int kIterations = 5;
    const auto mine = parallel::slice(update.batch, update.ranks);
    const auto here = mine.input.size(-2) > 0
                          ? inference::curvature(update.network, mine, kIterations)
                          : none_of(update.network);
    return parallel::gather_samples(update.ranks, here, update.batch.samples).amax(-1);
  }

  static at::Tensor none_of(const nn::NetworkImpl& network) {
    std::vector<std::int64_t> sizes{0};
    if (network.members()) sizes.insert(sizes.begin(), *network.members());
    return at::empty(sizes, network.tensor_options());
  }
};

}  // namespace

ObserverPart inference_part() {
  ObserverPart part;
  part.name = "inference";
  part.doc = "how an iterative one went";
  part.make = [](const HeldOut&) { return std::make_unique<Inference>(); };
  part.lanes = true;
  part.occasional = {kCurvature};
  return part;
}

}  // namespace pcxx::train
