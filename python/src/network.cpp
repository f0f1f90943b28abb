#include "network.h"

#include <ATen/ATen.h>
#include <pcxx/catalog/experiment.h>
#include <pcxx/core/error.h>
#include <pcxx/io/checkpoint.h>
#include <pcxx/nn/feedforward.h>

#include <algorithm>
#include <sstream>

#include "data.h"
#include "tensor.h"

namespace nb = nanobind;

namespace pcxx::python {
namespace {

using Named = std::vector<std::pair<std::string, at::Tensor>>;

void construct_network(Net* self, const Words& words, std::int64_t seed,
                       const std::string& device) {
  const auto model = model_of(words, "Network");
  new (self) Net{catalog::draw_network(model, seed, at::Device(device)), words};
}

// Takes what LibTorch's modules take, with gradients.
at::Tensor forward(const Net& self, const at::Tensor& x) {
  const nb::gil_scoped_release release;
  return self->forward(x);
}

at::Tensor predict(const Net& self, nb::handle x) {
  const auto input = inputs_of(x, *self);
  const nb::gil_scoped_release release;
  const at::NoGradGuard no_grad;
  return self->loss().outcome(self->forward(values_of(input, *self)));
}

std::vector<at::Tensor> feedforward(const Net& self, nb::handle x) {
  const auto input = inputs_of(x, *self);
  const nb::gil_scoped_release release;
  return nn::feedforward(*self, values_of(input, *self)).activities;
}

Named parameters(const Net& self) {
  Named result;
  for (const auto& parameter : self->named_parameters()) {
    result.emplace_back(parameter.key(), parameter.value());
  }
  return result;
}

// All are looked at before the first is changed.
void load_state(Net& self, const std::map<std::string, at::Tensor>& state) {
  const auto own = self.module->named_parameters();
  for (const auto& [name, tensor] : state) {
    const auto* found = own.find(name);
    if (found == nullptr) user_error("the network has no parameter '{}'", name);
    if (found->sizes() == tensor.sizes()) continue;
    std::ostringstream shapes;
    shapes << found->sizes() << " in the network, not " << tensor.sizes();
    user_error("'{}' is {}", name, shapes.str());
  }
  for (const auto& parameter : own) {
    if (!state.contains(parameter.key())) user_error("the state has no '{}'", parameter.key());
  }
  const at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : state) own[name].copy_(tensor);
}

void to(Net& self, std::optional<at::ScalarType> dtype, const std::optional<std::string>& device) {
  const auto type = dtype.value_or(self->tensor_options().dtype().toScalarType());
  if (type != at::kFloat && type != at::kDouble) {
    user_error("dtype = '{}' is not one of float32, float64", c10::toString(type));
  }
  self.module->to(device ? at::Device(*device) : self->device(), type);
  self.words = joined(self.words, {{"dtype", type == at::kFloat ? "float32" : "float64"}});
}

void save(const Net& self, const std::string& path, const io::Metadata& metadata) {
  io::save_network(self.module, path, metadata);
}

// The layers as the key `layers` writes them; a layer that has no text for itself ends it.
std::string layers_of(const Net& self) {
  std::string text;
  for (std::size_t l = 1; l <= self->size(); ++l) {
    const auto layer = self->layer(l).description();
    if (layer.empty()) return {};
    text += (l > 1 ? " " : "") + layer;
  }
  return text;
}

// The words of the same network, whatever it was made of.
Words described(const Net& self) {
  const auto layers = layers_of(self);
  if (layers.empty()) return self.words;
  return {{"widths", "[" + std::to_string(self->in_features()) + ", " +
                         std::to_string(self->out_features()) + "]"},
          {"layers", layers},
          {"loss", std::string(self->loss().name())},
          {"dtype", word_of(self.words, "dtype", "float64")}};
}

std::vector<std::int64_t> widths(const Net& self) {
  std::vector<std::int64_t> result{self->in_features()};
  for (std::size_t l = 1; l <= self->size(); ++l) {
    result.push_back(self->layer(l).out_features());
  }
  return result;
}

std::pair<at::Tensor, at::Tensor> pull_back(const nn::Layer& layer, const at::Tensor& x,
                                            const at::Tensor& signal) {
  const nb::gil_scoped_release release;
  const at::NoGradGuard no_grad;
  auto pulled = layer.pull_back(x, layer.run(x).kept, signal, {});
  return {pulled.error, pulled.input};
}

void bind_layer(nb::module_& m) {
  nb::class_<nn::Layer>(m, "Layer", "Layer l of a network: a view, which keeps the network alive.")
      .def_prop_ro("in_features", &nn::Layer::in_features, "n_{l-1}.")
      .def_prop_ro("out_features", &nn::Layer::out_features, "n_l.")
      .def_prop_ro(
          "weight", [](const nn::Layer& self) { return self.affine().weight; },
          nb::sig("def weight(self) -> torch.Tensor | None"),
          "W_l [n_l, n_{l-1}], of a convolution [C_out, C_in, k, k]; None where it has none.")
      .def_prop_ro(
          "bias", [](const nn::Layer& self) { return self.affine().bias; },
          nb::sig("def bias(self) -> torch.Tensor | None"), "b_l [n_l]; None where it has none.")
      .def_prop_ro("description", &nn::Layer::description,
                   "What it is, as the key `layers` writes it; empty where it has no text.")
      .def("pull_back", &pull_back, nb::arg("x"), nb::arg("signal"),
           nb::sig("def pull_back(self, x: torch.Tensor, signal: torch.Tensor) -> "
                   "tuple[torch.Tensor | None, torch.Tensor]"),
           "The signal [B, n_l] at the layer's output, x [B, n_{l-1}] at its input, sent back: "
           "(signal times f', signal for the layer below). The first is None for a layer without "
           "a weight.");
}

}  // namespace

void bind_network(nb::module_& m) {
  bind_layer(m);
  nb::class_<Net>(m, "Network", "Base of pcxx.Network.")
      .def("__init__", &construct_network, nb::arg("words"), nb::arg("seed") = 0,
           nb::arg("device") = "cpu",
           "Draws the network that the keys of a config stand for. Throws UserError.")
      .def("__call__", &forward, nb::arg("x"),
           "Prediction [.., n_L] for x [.., n_0] of the network's dtype and device, as "
           "torch.nn.Linear takes it. Differentiable by autograd, in x and in the parameters.")
      .def("predict", &predict, nb::arg("x").noconvert(),
           nb::sig("def predict(self, x: ArrayLike) -> torch.Tensor"),
           "What the network says of x [N, n_0], [N, n_L], in the units of the targets: "
           "probabilities where the loss is one of logits. x: any dtype, uint8 as images in "
           "[0, 255].")
      .def("feedforward", &feedforward, nb::arg("x"),
           nb::sig("def feedforward(self, x: ArrayLike) -> list[torch.Tensor]"),
           "The activities xhat_l [N, n_l] of the target-free pass, l = 0..L, without autograd.")
      .def("named_parameters", &parameters,
           "(name, tensor) of every parameter, such as layer1.weight: those of the network, not "
           "copies.")
      .def("load_state_dict", &load_state, nb::arg("state"),
           "Copies parameters by name. Throws UserError, and changes nothing, where names or "
           "shapes are others.")
      .def("_to", &to, nb::arg("dtype").none(), nb::arg("device").none())
      .def("_save", &save, nb::arg("path"), nb::arg("metadata"))
      .def("_described", &described)
      .def_ro("_words", &Net::words)
      .def_prop_ro(
          "layers",
          [](const Net& self) {
            nb::list layers;
            const auto owner = nb::find(self);
            for (std::size_t l = 1; l <= self->size(); ++l) {
              layers.append(
                  nb::cast(&self.module->layer(l), nb::rv_policy::reference_internal, owner));
            }
            return layers;
          },
          nb::sig("def layers(self) -> list[Layer]"), "Layers 1..L.")
      .def_prop_ro("widths", &widths, "n_0, ..., n_L.")
      .def_prop_ro(
          "loss", [](const Net& self) { return std::string(self->loss().name()); },
          "What predictions are wrong by: \"squared_error\", \"cross_entropy\", ...")
      .def_prop_ro(
          "dtype", [](const Net& self) { return self->tensor_options().dtype().toScalarType(); },
          "torch.float32 or torch.float64.")
      .def_prop_ro(
          "device", [](const Net& self) { return self->device().str(); }, "Such as \"cpu\".")
      .def_prop_ro(
          "is_linear", [](const Net& self) { return self->is_linear(); },
          "Whether every layer is linear, with or without residual and bias.");
}

}  // namespace pcxx::python
