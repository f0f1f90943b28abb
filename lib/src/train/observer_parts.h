#pragma once

#include <pcxx/config/part.h>
#include <pcxx/train/observer.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

/// The observers as configs name them. Each is described in its own file; the list is here.
namespace pcxx::train {

/// A value of `measure`.
///   lanes       whether the lanes of ensemble/ measure it, or have nothing to measure
///   occasional  its metrics that are not measured at every step
struct ObserverPart : config::Part<std::unique_ptr<Observer>(const HeldOut& held_out)> {
  bool lanes = false;
  std::vector<std::string> occasional = {};
};

ObserverPart target_alignment_part();
ObserverPart held_out_alignment_part();
ObserverPart inference_part();
ObserverPart kalman_part();
ObserverPart update_size_part();

inline std::vector<ObserverPart> observer_parts() {
  return {target_alignment_part(), held_out_alignment_part(), inference_part(), kalman_part(),
          update_size_part()};
}

}  // namespace pcxx::train
