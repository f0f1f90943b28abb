#include <pcxx/train/observer.h>
#include <pcxx/train/training.h>

#include "catalog/registry.h"
#include "core/lists.h"
#include "train/observer_parts.h"

namespace pcxx::train {
namespace {

catalog::Registry<ObserverPart>& observers() {
  static catalog::Registry<ObserverPart> registry("measure", observer_parts());
  return registry;
}

}  // namespace

void add_observer(std::string name, std::string doc, MakeObserver make) {
  ObserverPart part;
  part.name = std::move(name);
  part.doc = std::move(doc);
  part.make = std::move(make);
  observers().add(std::move(part));
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

bool needs_tensors(const std::string& measured) {
  const auto* found = observers().find(measured);
  return found != nullptr && !found->lanes;
}

bool is_occasional(const std::string& metric) {
  if (metric == kDeadUnits) return true;
  return observers().any(
      [&](const ObserverPart& part) { return contains(part.occasional, metric); });
}

}  // namespace pcxx::train
