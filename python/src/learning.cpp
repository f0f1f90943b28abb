#include "learning.h"

#include <ATen/ATen.h>
#include <pcxx/catalog/experiment.h>
#include <pcxx/core/error.h>
#include <pcxx/optim/rescaling.h>

#include "data.h"
#include "own_parts.h"
#include "tensor.h"

namespace nb = nanobind;

namespace pcxx::python {
namespace {

learning::Step factors(Rule& self, const Net& network, nb::handle x, nb::handle y) {
  auto& rule = self.of(network);
  const auto batch = samples_of(x, y, *network).batch(*network);
  const nb::gil_scoped_release release;
  const at::NoGradGuard no_grad;
  return rule.factors(*network, batch);
}

std::map<std::string, double> diagnostics(const Rule& self) {
  return self.made() == nullptr ? std::map<std::string, double>() : self.made()->diagnostics();
}

// Of the weights, and of the biases where there are any.
std::vector<std::pair<at::Tensor, at::Tensor>> directions(const learning::Step& step) {
  const at::NoGradGuard no_grad;
  std::vector<std::pair<at::Tensor, at::Tensor>> result;
  for (const auto& layer : step.layers) {
    result.emplace_back(learning::weight_direction(layer),
                        layer.bias.defined() ? learning::bias_direction(layer) : at::Tensor());
  }
  return result;
}

inference::Equilibrium infer(const Words& words, const Net& network, nb::handle x, nb::handle y) {
  const auto method = catalog::make_inference(model_of(joined(network.words, words), "Inference"));
  const auto batch = samples_of(x, y, *network).batch(*network);
  const nb::gil_scoped_release release;
  const at::NoGradGuard no_grad;
  return method->infer(*network, batch);
}

void bind_report(nb::module_& m) {
  using inference::Report;
  nb::class_<Report>(m, "Report", "How an inference went, per sample [B].")
      .def_ro("method", &Report::method, "Name of the inference.")
      .def_ro("energy", &Report::energy, "E_b after inference, float64.")
      .def_ro("residual", &Report::residual,
              "Norm of the energy's gradient, relative to the feed-forward pass, float64.")
      .def_ro("gap_bound", &Report::gap_bound,
              "The energy lies no further above its minimum, float64; NaN where it says nothing.")
      .def_ro("passes", &Report::steps, "Passes (forward and back) until the sample stopped.")
      .def_ro("converged", &Report::converged, "bool.")
      .def_ro("unstable", &Report::unstable, "Whether its fixed step size was too large.")
      .def_ro("step_size", &Report::step_size, "0 for methods that have none.")
      .def_ro("curvature", &Report::curvature, "Of the energy; 0 where it was not measured.")
      .def_prop_ro(
          "regime", [](const Report& self) { return std::string(name(self.regime())); },
          "\"backprop-like\", \"intermediate\" or \"equilibrium\".")
      .def("__repr__", &Report::brief);
}

void bind_factors(nb::module_& m) {
  using learning::LayerFactors;
  nb::class_<LayerFactors>(
      m, "LayerFactors",
      "What an update of one layer is made of: D_l = (1/samples) sum_b error_b presynaptic_b^T.")
      .def(
          "__init__",
          [](LayerFactors* self, at::Tensor weight, at::Tensor error, at::Tensor presynaptic,
             at::Tensor feedforward, std::int64_t samples, std::optional<at::Tensor> bias) {
            new (self) LayerFactors{.weight = std::move(weight),
                                    .bias = bias.value_or(at::Tensor()),
                                    .error = std::move(error),
                                    .presynaptic = std::move(presynaptic),
                                    .feedforward = std::move(feedforward),
                                    .samples = samples};
          },
          nb::arg("weight"), nb::arg("error"), nb::arg("presynaptic"), nb::arg("feedforward"),
          nb::arg("samples"), nb::arg("bias").none() = nb::none(),
          "Of a layer with a weight [n_l, n_{l-1}]; the others as the properties say.")
      .def_ro("weight", &LayerFactors::weight, "The parameter W_l itself.")
      .def_prop_ro(
          "bias", [](const LayerFactors& self) { return self.bias; },
          nb::sig("def bias(self) -> torch.Tensor | None"), "The parameter b_l itself, or None.")
      .def_ro("error", &LayerFactors::error, "e_l [B, n_l], already multiplied by f_l'.")
      .def_ro("presynaptic", &LayerFactors::presynaptic,
              "u_{l-1} [B, n_{l-1}]: xhat for backpropagation, x* for predictive coding.")
      .def_ro("feedforward", &LayerFactors::feedforward, "xhat_{l-1} [B, n_{l-1}].")
      .def_ro("samples", &LayerFactors::samples, "The B of 1/B.")
      .def_ro("locations", &LayerFactors::locations, "Rows of each sample, one behind the other.")
      .def_ro("bias_unit", &LayerFactors::bias_unit, "What a bias multiplies in each row.");
}

void bind_step(nb::module_& m) {
  using learning::Step;
  nb::class_<Step>(m, "Step", "What a learning rule makes of a batch.")
      .def(
          "__init__",
          [](Step* self, std::vector<learning::LayerFactors> layers, at::Tensor prediction) {
            new (self) Step();
            self->layers = std::move(layers);
            self->prediction = std::move(prediction);
          },
          nb::arg("layers"), nb::arg("prediction"),
          "Of the factors of all layers and the prediction yhat [B, n_L], for rules of your own.")
      .def_ro("layers", &Step::layers, "Factors of the layers with a weight, in their order.")
      .def_ro("prediction", &Step::prediction, "The target-free prediction yhat [B, n_L].")
      .def_ro("report", &Step::report, "How its inference went; None for rules that do not infer.")
      .def_prop_ro(
          "directions", &directions,
          nb::sig("def directions(self) -> list[tuple[torch.Tensor, torch.Tensor | None]]"),
          "(D_l, that of the bias or None) of each of `layers`, not rescaled: parameters "
          "move by + learning_rate * direction.");
}

void bind_equilibrium(nb::module_& m) {
  using inference::Equilibrium;
  const auto errors = [](const Equilibrium& self) {
    return std::vector<at::Tensor>(self.errors.begin() + 1, self.errors.end());
  };
  nb::class_<Equilibrium>(m, "Equilibrium", "The end of an inference.")
      .def_ro("activities", &Equilibrium::activities, "x_l [B, n_l], l = 0..L; x_L is the target.")
      .def_prop_ro("errors", errors,
                   "eps_l [B, n_l] of layers l = 1..L, the first that of layer 1.")
      .def_prop_ro(
          "feedforward", [](const Equilibrium& self) { return self.feedforward.activities; },
          "xhat_l [B, n_l], l = 0..L: where it started.")
      .def_ro("report", &Equilibrium::report);
  m.def("_infer", &infer, nb::arg("words"), nb::arg("net"), nb::arg("x"), nb::arg("y"));
}

}  // namespace

learning::LearningRule& Rule::of(const Net& network, const Words& optimizer) {
  if (rule_ && network_ == network.module.get()) return *rule_;
  if (rule_ && !rule_->state().empty() && waiting_.empty()) {
    user_error("rule = '{}' remembers another network: make a rule for each", rule_->name());
  }
  if (own_.is_valid()) {
    rule_ = own_rule(own_, nb::find(network));
  } else {
    const auto words = joined(joined(network.words, optimizer), words_);
    rule_ = catalog::make_rule(model_of(words, "Rule"));
  }
  network_ = network.module.get();
  if (!waiting_.empty()) rule_->set_state(std::exchange(waiting_, {}));
  return *rule_;
}

State Rule::state() const {
  return rule_ ? rule_->state() : waiting_;
}

void Rule::set_state(State state) {
  if (rule_) {
    rule_->set_state(state);
  } else {
    waiting_ = std::move(state);
  }
}

void bind_learning(nb::module_& m) {
  bind_report(m);
  bind_factors(m);
  bind_step(m);
  bind_equilibrium(m);
  nb::class_<Rule>(m, "Rule", "Base of pcxx.Rule.")
      .def(
          "__init__",
          [](Rule* self, const Words& words) {
            model_of(words, "Rule");
            new (self) Rule(words);
          },
          nb::arg("words"), "Throws UserError for a rule or key that there is not.")
      .def("__init__", [](Rule* self, nb::object own) { new (self) Rule(std::move(own)); })
      .def("factors", &factors, nb::arg("net"), nb::arg("x"), nb::arg("y"),
           nb::sig("def factors(self, net: Network, x: ArrayLike, y: ArrayLike) -> Step"),
           "What the batch teaches the network: x [B, n_0], y [B, n_L] or labels int64 [B]. May "
           "advance the rule's own memory, so call it once for each update that is made.")
      .def("diagnostics", &diagnostics, "Numbers worth a look after training, by name.")
      .def("state", &Rule::state, "Memory of past batches by name; most rules have none.")
      .def("set_state", &Rule::set_state, nb::arg("state"))
      .def_prop_ro("_words", &Rule::words);
}

}  // namespace pcxx::python
