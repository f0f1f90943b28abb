#include <pcxx/learning/rule.h>

#include "train/observer_parts.h"

namespace pcxx::train {
namespace {

// What a rule says of its last update.
class OfTheRule final : public Observer {
 public:
  void after_step(const MadeUpdate& update, const Record& record) override {
    for (const auto& [name, values] : update.rule.measurements()) record(name, values);
  }
};

}  // namespace

ObserverPart kalman_part() {
  ObserverPart part;
  part.name = "kalman";
  part.doc = "what kpc knows, and how much of its predicted change came true";
  part.make = [](const HeldOut&) { return std::make_unique<OfTheRule>(); };
  part.lanes = true;
  return part;
}

}  // namespace pcxx::train
