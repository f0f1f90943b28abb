#include <ATen/ATen.h>
#include <pcxx/metrics/target_alignment.h>

#include <algorithm>

#include "train/observer_parts.h"

namespace pcxx::train {
namespace {

constexpr std::int64_t kHeldOutSamples = 64;

// Of the update that is about to be made, with the errors of its batch or of other samples.
class Alignment final : public Observer {
 public:
  Alignment(std::string metric, std::optional<data::Batch> samples)
      : metric_(std::move(metric)), samples_(std::move(samples)) {}

  void before_step(const MadeUpdate& update, const Record& record) override {
    const auto made = metrics::update_of_gradients(update.network);
    const auto& samples = samples_ ? *samples_ : update.batch;
    record(metric_, metrics::target_alignment(update.network, samples, made).mean);
  }

 private:
  std::string metric_;
  std::optional<data::Batch> samples_;
};

data::Batch first_samples(const data::Batch& batch) {
  const auto count = std::min(kHeldOutSamples, batch.input.size(-2));
  return {batch.input.narrow(-2, 0, count), batch.target.narrow(-2, 0, count)};
}

}  // namespace

ObserverPart target_alignment_part() {
  ObserverPart part;
  part.name = "target_alignment";
  part.doc = "of each update, with the errors of its batch";
  part.make = [](const HeldOut&) {
    return std::make_unique<Alignment>("target_alignment", std::nullopt);
  };
  part.lanes = true;
  return part;
}

ObserverPart held_out_alignment_part() {
  ObserverPart part;
  part.name = "held_out_alignment";
  part.doc = "with those of 64 samples that no run trains on";
  part.make = [](const HeldOut& held_out) {
    return std::make_unique<Alignment>("held_out_alignment", first_samples(held_out()));
  };
  return part;
}

}  // namespace pcxx::train
