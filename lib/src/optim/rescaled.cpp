#include <c10/util/Type.h>
#include <pcxx/core/residency.h>
#include <pcxx/optim/rescaled.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/lbfgs.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>
#include <torch/serialize/archive.h>

#include "optim/gradients.h"

namespace pcxx::optim {
namespace {

// What an archive must agree with: types, names, shapes and dtypes, as one text.
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

// What the optimizers of LibTorch remember of a parameter that is as large as the parameter.
std::vector<at::Tensor> memory_of(const torch::optim::OptimizerParamState& state) {
  using namespace torch::optim;
  if (const auto* sgd = dynamic_cast<const SGDParamState*>(&state)) return {sgd->momentum_buffer()};
  if (const auto* adam = dynamic_cast<const AdamParamState*>(&state)) {
    return {adam->exp_avg(), adam->exp_avg_sq()};
  }
  if (const auto* adamw = dynamic_cast<const AdamWParamState*>(&state)) {
    return {adamw->exp_avg(), adamw->exp_avg_sq()};
  }
  if (const auto* rms = dynamic_cast<const RMSpropParamState*>(&state)) return {rms->square_avg()};
  return {};
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

void Rescaled::save(torch::serialize::OutputArchive& archive) const {
  archive.write("signature", c10::IValue(signature(*inner_, *rescaling_)));
  torch::serialize::OutputArchive inner(archive.compilation_unit());
  inner_->save(inner);
  archive.write("optimizer", inner);
  torch::serialize::OutputArchive memory(archive.compilation_unit());
  rescaling_->save(memory);
  archive.write("rescaling", memory);
}

void Rescaled::load(torch::serialize::InputArchive& archive) {
  c10::IValue saved;
  TORCH_CHECK(archive.try_read("signature", saved) && saved.isString(),
              "the archive holds no rescaled optimizer");
  const auto expected = signature(*inner_, *rescaling_);
  TORCH_CHECK(saved.toStringRef() == expected, "the archive was written by ", saved.toStringRef(),
              " but is loaded into ", expected);
  torch::serialize::InputArchive memory;
  archive.read("rescaling", memory);
  rescaling_->load(memory);
  torch::serialize::InputArchive inner;
  archive.read("optimizer", inner);
  inner_->load(inner);
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
