#include <c10/util/Type.h>
#include <pcxx/core/residency.h>
#include <pcxx/optim/rescaled.h>
#include <torch/optim/lbfgs.h>
#include <torch/serialize/archive.h>

#include <sstream>

#include "optim/gradients.h"
#include "optim/optimizer_state.h"

namespace pcxx::optim {
namespace {

// Of its state.
constexpr const char* kSignature = "signature";
constexpr const char* kInner = "inner.";
constexpr const char* kRescaling = "rescaling.";

// Of an archive: all names, a line each.
constexpr const char* kNames = "names";

std::string archive_key(std::size_t i) {
  return c10::str("tensor", i);
}

// What a state must agree with: types, names, shapes and dtypes, as one text.
std::string signature(const torch::optim::Optimizer& inner, const Rescaling& rescaling) {
  auto text = c10::str(c10::demangle(typeid(inner).name()), ", ", rescaling.name(), ":");
  for (const auto& group : inner.param_groups()) {
    for (const auto& parameter : group.params()) {
      text += c10::str(" ", parameter.sizes(), " ", parameter.dtype());
    }
    text += ';';
  }
  return text;
}

void check_residency_of(const std::vector<learning::LayerFactors>& layers) {
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const auto& layer = layers[i];
    const auto device = layer.weight.device();
    check_residency(layer.bias, device, "the bias of layer ", i + 1);
    check_residency(layer.error, device, "the error of layer ", i + 1);
    check_residency(layer.presynaptic, device, "the presynaptic activity of layer ", i + 1);
    check_residency(layer.feedforward, device, "the feed-forward activity of layer ", i + 1);
  }
}

void check_residency_of(const torch::optim::Optimizer& optimizer) {
  for (const auto& group : optimizer.param_groups()) {
    for (const auto& parameter : group.params()) {
      const auto state = optimizer.state().find(parameter.unsafeGetTensorImpl());
      if (state == optimizer.state().end()) continue;
      for (const auto& memory : memory_of(*state->second)) {
        check_residency(memory, parameter.device(), "the state of the optimizer");
      }
    }
  }
}

}  // namespace

Rescaled::Rescaled(std::unique_ptr<torch::optim::Optimizer> inner,
                   std::unique_ptr<Rescaling> rescaling)
    : inner_(std::move(inner)), rescaling_(std::move(rescaling)) {
  TORCH_CHECK(inner_ && rescaling_, "an optimizer and a rescaling are needed");
  TORCH_CHECK(dynamic_cast<torch::optim::LBFGS*>(inner_.get()) == nullptr,
              "a rescaling wraps first-order optimizers, not LBFGS");
}

void Rescaled::write_gradients(const std::vector<learning::LayerFactors>& layers) {
  check_residency_of(layers);
  check_residency_of(*inner_);
  rescaling_->write_gradients(layers);
}

void Rescaled::write_gradients(const learning::Step& step) {
  write_gradients(step.layers);
  for (const auto& own : step.own) {
    for (std::size_t i = 0; i < own.parameters.size(); ++i) {
      const auto& direction = own.directions[i];
      check_residency(direction, own.parameters[i].device(), "a direction of layer ", own.layer);
      if (direction.defined()) write_negative(own.parameters[i], direction);
    }
  }
}

void Rescaled::step(const learning::Step& step) {
  write_gradients(step);
  inner_->step();
}

void Rescaled::step(const std::vector<learning::LayerFactors>& layers) {
  write_gradients(layers);
  inner_->step();
}

State Rescaled::state() const {
  State state{{kSignature, as_bytes(signature(*inner_, *rescaling_))}};
  add_below(state, kInner, state_of(*inner_));
  add_below(state, kRescaling, rescaling_->state());
  return state;
}

void Rescaled::set_state(const State& state) {
  TORCH_CHECK(state.contains(kSignature), "the state is of no rescaled optimizer");
  const auto theirs = text_of_bytes(state.at(kSignature));
  const auto ours = signature(*inner_, *rescaling_);
  TORCH_CHECK(theirs == ours, "the state is of ", theirs, " but is given to ", ours);
  const auto before = state_of(*inner_);
  optim::set_state(*inner_, entries_below(state, kInner));
  try {
    rescaling_->set_state(entries_below(state, kRescaling));
  } catch (...) {
    optim::set_state(*inner_, before);
    throw;
  }
}

void Rescaled::save(torch::serialize::OutputArchive& archive) const {
  std::string names;
  std::size_t count = 0;
  for (const auto& [name, tensor] : state()) {
    archive.write(archive_key(count++), tensor);
    names += name + '\n';
  }
  archive.write(kNames, c10::IValue(names));
}

void Rescaled::load(torch::serialize::InputArchive& archive) {
  c10::IValue names;
  TORCH_CHECK(archive.try_read(kNames, names) && names.isString(),
              "the archive holds no rescaled optimizer");
  State state;
  std::istringstream lines(names.toStringRef());
  std::size_t count = 0;
  for (std::string name; std::getline(lines, name);) {
    archive.read(archive_key(count++), state[name]);
  }
  set_state(state);
}

torch::serialize::OutputArchive& operator<<(torch::serialize::OutputArchive& archive,
                                            const Rescaled& optimizer) {
  optimizer.save(archive);
  return archive;
}

torch::serialize::InputArchive& operator>>(torch::serialize::InputArchive& archive,
                                           Rescaled& optimizer) {
  optimizer.load(archive);
  return archive;
}

}  // namespace pcxx::optim
