#include "own_parts.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <pcxx/catalog/extend.h>
#include <pcxx/core/error.h>

#include <algorithm>
#include <string>

#include "tensor.h"

namespace nb = nanobind;

namespace pcxx::python {
namespace {

// An object of Python whose last reference may go without the interpreter's lock.
class Own {
 public:
  explicit Own(nb::object object) : object_(std::move(object)) {}
  ~Own() {
    const nb::gil_scoped_acquire acquire;
    object_.reset();
  }
  Own(const Own&) = delete;
  Own& operator=(const Own&) = delete;

  const nb::object& operator*() const { return object_; }

  bool has(const char* method) const { return nb::hasattr(object_, method); }

  // `name`, or the class's.
  std::string name() const {
    const auto named = has("name") ? nb::object(object_.attr("name"))
                                   : nb::object(object_.type().attr("__name__"));
    return nb::cast<std::string>(nb::str(named));
  }

  State state() const {
    const nb::gil_scoped_acquire acquire;
    return has("state") ? nb::cast<State>(object_.attr("state")()) : State();
  }

  void set_state(const State& state) {
    const nb::gil_scoped_acquire acquire;
    if (has("set_state")) object_.attr("set_state")(state);
  }

 private:
  nb::object object_;
};

class OwnRule final : public learning::LearningRule {
 public:
  OwnRule(nb::object object, nb::object network)
      : own_(std::move(object)), network_(std::move(network)), name_(own_.name()) {}

  learning::Step factors(const nn::NetworkImpl&, const data::Batch& batch) override {
    const nb::gil_scoped_acquire acquire;
    const at::AutoGradMode with_gradients(true);
    const auto made = (*own_).attr("factors")(*network_, batch.input, batch.target);
    if (nb::isinstance<learning::Step>(made)) return nb::cast<learning::Step>(made);
    user_error("rule = '{}' made no pcxx.Step, but a {}", name_,
               nb::cast<std::string>(nb::str(made.type().attr("__name__"))));
  }
  std::string_view name() const override { return name_; }
  State state() const override { return own_.state(); }
  void set_state(const State& state) override { own_.set_state(state); }

 private:
  Own own_;
  Own network_;
  std::string name_;
};

optim::Direction direction_of(nb::handle made) {
  if (!nb::isinstance<nb::tuple>(made)) return {nb::cast<at::Tensor>(made), {}};
  const auto pair = nb::borrow<nb::tuple>(made);
  optim::Direction direction{nb::cast<at::Tensor>(pair[0]), {}};
  if (pair.size() > 1 && !pair[1].is_none()) direction.bias = nb::cast<at::Tensor>(pair[1]);
  return direction;
}

class OwnRescaling final : public optim::Rescaling {
 public:
  explicit OwnRescaling(nb::object object) : own_(std::move(object)), name_(own_.name()) {}

  std::vector<optim::Direction> directions(
      const std::vector<learning::LayerFactors>& layers) override {
    const nb::gil_scoped_acquire acquire;
    std::vector<optim::Direction> result;
    const nb::object made = (*own_).attr("directions")(layers);
    for (const auto direction : nb::iter(made)) result.push_back(direction_of(direction));
    check(layers, result);
    return result;
  }
  std::string_view name() const override { return name_; }
  State state() const override { return own_.state(); }
  void set_state(const State& state) override { own_.set_state(state); }

 private:
  void check(const std::vector<learning::LayerFactors>& layers,
             const std::vector<optim::Direction>& made) const {
    if (made.size() != layers.size()) {
      user_error("rescaling = '{}' made {} directions of {} layers", name_, made.size(),
                 layers.size());
    }
    for (std::size_t l = 0; l < layers.size(); ++l) {
      const auto size = layers[l].weight.numel();
      if (made[l].weight.numel() == size && made[l].bias.defined() == layers[l].bias.defined()) {
        continue;
      }
      user_error("rescaling = '{}' made a direction of layer {} that does not fit its parameters",
                 name_, l + 1);
    }
  }

  Own own_;
  std::string name_;
};

struct NoOptions : public torch::optim::OptimizerCloneableOptions<NoOptions> {};

class OwnOptimizer final : public torch::optim::Optimizer {
 public:
  OwnOptimizer(nb::object object, std::vector<at::Tensor> parameters)
      : Optimizer(std::move(parameters), std::make_unique<NoOptions>()), own_(std::move(object)) {}

  torch::Tensor step(LossClosure = nullptr) override {
    const nb::gil_scoped_acquire acquire;
    (*own_).attr("step")();
    return {};
  }

 private:
  Own own_;
};

// A module of PyTorch as a layer: its parameters are the layer's.
class OwnLayer final : public nn::Layer {
 public:
  OwnLayer(nb::object module, std::string name, std::int64_t in, std::int64_t out)
      : Layer(in, out), own_(std::move(module)), name_(std::move(name)) {
    for (const auto item : nb::iter((*own_).attr("named_parameters")())) {
      auto key = nb::cast<std::string>(item[0]);
      std::replace(key.begin(), key.end(), '.', '_');
      register_parameter(key, nb::cast<at::Tensor>(item[1]));
    }
  }

  at::Tensor forward(const at::Tensor& x) const override {
    const nb::gil_scoped_acquire acquire;
    return nb::cast<at::Tensor>((*own_).attr("forward")(x));
  }

  void draw_(at::Generator generator) override {
    const nb::gil_scoped_acquire acquire;
    auto seed = nb::module_::import_("torch").attr("Generator")();
    seed.attr("manual_seed")(generator.current_seed());
    (*own_).attr("draw_")(seed);
  }

  std::string description() const override {
    return fmt::format("{}(width={})", name_, out_features());
  }

 private:
  Own own_;
  std::string name_;
};

void add_layer(const std::string& name, nb::object make, const std::string& doc) {
  // Kept for as long as the process lives: the catalog outlives the interpreter.
  auto* made_by = new nb::object(std::move(make));
  catalog::add_layer({.name = name, .doc = doc}, [=](const config::Config&) -> nn::LayerMaker {
    return [=](std::int64_t in, std::int64_t out) {
      const nb::gil_scoped_acquire acquire;
      return std::make_shared<OwnLayer>((*made_by)(in, out), name, in, out);
    };
  });
}

}  // namespace

std::unique_ptr<learning::LearningRule> own_rule(nb::object object, nb::object network) {
  return std::make_unique<OwnRule>(std::move(object), std::move(network));
}

std::unique_ptr<optim::Rescaling> own_rescaling(nb::object object) {
  return std::make_unique<OwnRescaling>(std::move(object));
}

std::unique_ptr<torch::optim::Optimizer> own_optimizer(nb::object object,
                                                       std::vector<at::Tensor> parameters) {
  return std::make_unique<OwnOptimizer>(std::move(object), std::move(parameters));
}

void bind_own_layers(nb::module_& m) {
  m.def("add_layer", &add_layer, nb::arg("name"), nb::arg("make"), nb::arg("doc") = "",
        nb::sig("def add_layer(name: str, make: Callable[[int, int], torch.nn.Module], "
                "doc: str = \"\") -> None"),
        "Makes modules of PyTorch a kind of layer, for `layers` of a Network: "
        "\"name(width=32) dense\". make(n_in, n_out) gives a module with `forward(x)`, [B, n_in] "
        "-> [B, n_out], of operations that autograd can follow and in which samples do not "
        "interact, and `draw_(generator)`, which draws its parameters in place; they are float64 "
        "on the CPU then. Throws RuntimeError where the name is taken.");
}

}  // namespace pcxx::python
