#include <ATen/ATen.h>
#include <pcxx/config/part.h>
#include <pcxx/inference/curvature.h>
#include <pcxx/metrics/target_alignment.h>
#include <pcxx/parallel/shared_step.h>
#include <pcxx/parallel/slice.h>
#include <pcxx/train/observer.h>

#include <algorithm>

#include "catalog/registry.h"
#include "train/image_record.h"

namespace pcxx::train {
namespace {

constexpr std::int64_t kHeldOutSamples = 64;  // in the alignment
constexpr std::int64_t kCurvatureEvery = 10;  // steps
constexpr const char* kCurvature = "inference_curvature";

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

class Inference final : public Observer {
 public:
  void learnt(const MadeUpdate& update, const Record& record) override {
    if (!update.step.report) return;
    for (const auto& [name, values] : inference::measurements(*update.step.report)) {
      if (name != kCurvature) record(name, values);
    }
    if (update.network.is_dense() && update.index % kCurvatureEvery == 0) {
      record(kCurvature, curvature(update));
    }
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

// What a rule says of its last update.
class OfTheRule final : public Observer {
 public:
  void after_step(const MadeUpdate& update, const Record& record) override {
    for (const auto& [name, values] : update.rule.measurements()) record(name, values);
  }
};

data::Batch first_samples(const data::Batch& batch) {
  const auto count = std::min(kHeldOutSamples, batch.input.size(-2));
  return {batch.input.narrow(-2, 0, count), batch.target.narrow(-2, 0, count)};
}

using ObserverPart = config::Part<std::unique_ptr<Observer>(const HeldOut& held_out)>;

ObserverPart part(std::string name, std::string doc, MakeObserver make) {
  ObserverPart made;
  made.name = std::move(name);
  made.doc = std::move(doc);
  made.make = std::move(make);
  return made;
}

std::vector<ObserverPart> observer_parts() {
  return {
      part("target_alignment", "of each update, with the errors of its batch",
           [](const HeldOut&) {
             return std::make_unique<Alignment>("target_alignment", std::nullopt);
           }),
      part("held_out_alignment", "with those of 64 samples that no run trains on",
           [](const HeldOut& held_out) {
             return std::make_unique<Alignment>("held_out_alignment", first_samples(held_out()));
           }),
      part("inference", "how an iterative one went",
           [](const HeldOut&) { return std::make_unique<Inference>(); }),
      part("kalman", "what kpc knows, and how much of its predicted change came true",
           [](const HeldOut&) { return std::make_unique<OfTheRule>(); }),
  };
}

catalog::Registry<ObserverPart>& observers() {
  static catalog::Registry<ObserverPart> registry("measure", observer_parts());
  return registry;
}

}  // namespace

void add_observer(std::string name, std::string doc, MakeObserver make) {
  observers().add(part(std::move(name), std::move(doc), std::move(make)));
}

std::vector<std::unique_ptr<Observer>> make_observers(const std::vector<std::string>& measure,
                                                      const HeldOut& held_out) {
  std::vector<std::unique_ptr<Observer>> made;
  for (const auto& name : measure) {
    if (const auto* found = observers().find(name)) made.push_back(found->make(held_out));
  }
  return made;
}

config::Key measure_key(const std::string& initial, const std::vector<config::Choice>& more) {
  config::Key key{.name = "measure",
                  .kind = config::Kind::kText,
                  .initial = initial,
                  .doc = "what to record at every step beside the errors",
                  .shape = config::Shape::kList};
  for (const auto& description : {observers().built_in(), observers().added()}) {
    for (const auto& observer : description) key.choices.emplace_back(observer.name, observer.doc);
  }
  key.choices.insert(key.choices.end(), more.begin(), more.end());
  return key;
}

// Lanes measure the alignment of a batch; what an iterative inference or kpc would say does not
// occur there.
bool needs_tensors(const std::string& measured) {
  const auto added = observers().added();
  return measured == "held_out_alignment" ||
         std::any_of(added.begin(), added.end(),
                     [&](const config::Description& part) { return part.name == measured; });
}

bool is_occasional(const std::string& metric) {
  return metric == kCurvature || metric == kDeadUnits;
}

}  // namespace pcxx::train
