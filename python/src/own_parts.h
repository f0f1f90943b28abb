#pragma once

#include <nanobind/nanobind.h>
#include <pcxx/learning/rule.h>
#include <pcxx/optim/rescaling.h>
#include <torch/optim/optimizer.h>

#include <memory>
#include <vector>

/// Parts written in Python, which have the methods of those of the library. They may be called
/// without the interpreter's lock, which they take; what they raise comes through.
namespace pcxx::python {

/// `object.factors(net, x, y)` makes a Step; `network` is the Python object of the network that the
/// rule will be given. `state()` and `set_state(state)` where it has them.
std::unique_ptr<learning::LearningRule> own_rule(nanobind::object object, nanobind::object network);

/// `object.directions(layers)` makes of the factors of all layers a direction each: of the weight,
/// or a pair of those of weight and bias. `state()` and `set_state(state)` where it has them.
std::unique_ptr<optim::Rescaling> own_rescaling(nanobind::object object);

/// `object.step()` moves the parameters along their `.grad`, as a torch.optim.Optimizer of Python
/// does.
std::unique_ptr<torch::optim::Optimizer> own_optimizer(nanobind::object object,
                                                       std::vector<at::Tensor> parameters);

void bind_own_layers(nanobind::module_& m);

}  // namespace pcxx::python
