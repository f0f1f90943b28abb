#include <pcxx/core/error.h>
#include <pcxx/core/files.h>
#include <pcxx/version.h>
#include <torch/version.h>

#include "learning.h"
#include "metrics.h"
#include "network.h"
#include "optimizer.h"
#include "own_parts.h"
#include "training.h"

namespace nb = nanobind;

namespace pcxx::python {
namespace {

// A caller's mistake is a RuntimeError, as it is in torch, without the stack of C++.
void register_errors(nb::module_& m) {
  static nb::exception<UserError> user_error(m, "UserError", PyExc_ValueError);
  user_error.attr("__doc__") =
      "What a user can mend, in one sentence that names key and value: the programs' own.";
  nb::register_exception_translator([](const std::exception_ptr& thrown, void*) {
    try {
      std::rethrow_exception(thrown);
    } catch (const c10::Error& error) {
      PyErr_SetString(PyExc_RuntimeError, error.what_without_backtrace());
    } catch (const FileError& error) {
      PyErr_SetString(PyExc_OSError, error.what());
    }
  });
}

}  // namespace

NB_MODULE(_core, m) {
  m.doc() = "The C++ library; use it as pcxx.<name>.";
  m.attr("version") = PCXX_VERSION;
  m.attr("torch_series") =
      C10_STRINGIZE(TORCH_VERSION_MAJOR) "." C10_STRINGIZE(TORCH_VERSION_MINOR);
  register_errors(m);
  bind_network(m);
  bind_learning(m);
  bind_optimizer(m);
  bind_training(m);
  bind_metrics(m);
  bind_data(m);
  bind_own_layers(m);
}

}  // namespace pcxx::python
