#pragma once

#include <nanobind/nanobind.h>
#include <pcxx/nn/network.h>

#include "words.h"

namespace pcxx::python {

/// A network, and the words that it was made of: what rules are checked against.
struct Net {
  nn::Network module;
  Words words;

  const nn::NetworkImpl& operator*() const { return *module; }
  const nn::NetworkImpl* operator->() const { return module.get(); }
};

void bind_network(nanobind::module_& m);

}  // namespace pcxx::python
