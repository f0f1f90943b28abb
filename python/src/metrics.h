#pragma once

#include <nanobind/nanobind.h>

namespace pcxx::python {

void bind_metrics(nanobind::module_& m);
void bind_data(nanobind::module_& m);

}  // namespace pcxx::python
