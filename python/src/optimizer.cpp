#include "optimizer.h"

#include <ATen/ATen.h>
#include <pcxx/catalog/experiment.h>
#include <pcxx/core/error.h>

#include "own_parts.h"
#include "tensor.h"

namespace nb = nanobind;

namespace pcxx::python {
namespace {

void construct_optimizer(Optimizer* self, nb::object network, const Words& words,
                         nb::object own_optimizer, nb::object own_rescaling_object) {
  const auto& net = nb::cast<const Net&>(network);
  const auto model = model_of(joined(net.words, words), "Optimizer");
  const auto parameters = net->parameters();
  auto inner = own_optimizer.is_none()
                   ? catalog::make_optimizer(model, parameters, model.real("learning_rate"))
                   : python::own_optimizer(std::move(own_optimizer), parameters);
  auto rescaling = own_rescaling_object.is_none()
                       ? catalog::make_rescaling(model)
                       : python::own_rescaling(std::move(own_rescaling_object));
  new (self) Optimizer{std::move(network), words, {std::move(inner), std::move(rescaling)}};
}

void take_step(Optimizer& self, const learning::Step& step) {
  const nb::gil_scoped_release release;
  const at::NoGradGuard no_grad;
  self.made.step(step);
}

void write_gradients(Optimizer& self, const learning::Step& step) {
  const nb::gil_scoped_release release;
  const at::NoGradGuard no_grad;
  self.made.write_gradients(step);
}

double learning_rate(const Optimizer& self) {
  return self.made.inner().param_groups().front().options().get_lr();
}

void set_learning_rate(Optimizer& self, double rate) {
  if (!(rate > 0)) user_error("learning_rate = {} is not above 0", rate);
  for (auto& group : self.made.inner().param_groups()) group.options().set_lr(rate);
}

}  // namespace

void bind_optimizer(nb::module_& m) {
  nb::class_<Optimizer>(m, "Optimizer", "Base of pcxx.Optimizer.")
      .def("__init__", &construct_optimizer, nb::arg("net"), nb::arg("words"),
           nb::arg("optimizer").none(), nb::arg("rescaling").none(),
           nb::sig("def __init__(self, net: Network, words: Sequence[tuple[str, str]], "
                   "optimizer: object | None, rescaling: object | None) -> None"),
           "Throws UserError for a name or key that there is not.")
      .def("step", &take_step, nb::arg("step"),
           "One update of all parameters along a step's rescaled "
           "directions.")
      .def("write_gradients", &write_gradients, nb::arg("step"),
           "The first half of a step: `.grad` of every parameter becomes the negative direction.")
      .def_prop_rw("learning_rate", &learning_rate, &set_learning_rate, "For schedules; above 0.")
      .def(
          "diagnostics", [](const Optimizer& self) { return self.made.rescaling().diagnostics(); },
          "Numbers of the rescaling worth a look after training, by name.")
      .def(
          "state", [](const Optimizer& self) { return self.made.state(); },
          "Memory and learning rates of the optimizer, and memory of the rescaling, by name.")
      .def(
          "set_state", [](Optimizer& self, const State& state) { self.made.set_state(state); },
          nb::arg("state"),
          "Goes on from there. Throws RuntimeError, and changes nothing, for the "
          "state of another optimizer.")
      .def_prop_ro(
          "net", [](const Optimizer& self) { return self.network; },
          nb::sig("def net(self) -> Network"), "The network whose parameters it moves.")
      .def_ro("_words", &Optimizer::words);
}

}  // namespace pcxx::python
