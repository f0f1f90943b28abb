#pragma once

#include <nanobind/nanobind.h>
#include <pcxx/optim/rescaled.h>

#include "network.h"

namespace pcxx::python {

/// An optimizer of one network, fed with rescaled directions.
struct Optimizer {
  nanobind::object network;  ///< the Python object of the network
  Words words;
  optim::Rescaled made;
};

void bind_optimizer(nanobind::module_& m);

}  // namespace pcxx::python
