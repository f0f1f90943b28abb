#include "train/whole_update.h"

#include <ATen/ATen.h>

namespace pcxx::train {
namespace {

std::vector<at::Tensor> copies(const std::vector<at::Tensor>& parameters) {
  std::vector<at::Tensor> result;
  for (const auto& parameter : parameters) result.push_back(parameter.detach().clone());
  return result;
}

void set(std::vector<at::Tensor>& parameters, const std::vector<at::Tensor>& values) {
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < parameters.size(); ++i) parameters[i].copy_(values[i]);
}

}  // namespace

WholeUpdate::WholeUpdate(const nn::NetworkImpl& network)
    : parameters_(network.parameters()),
      before_(copies(parameters_)),
      gradients_(parameters_.size()) {}

void WholeUpdate::add_gradients() {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const auto& gradient = parameters_[i].grad();
    auto& sum = gradients_[i];
    if (gradient.defined()) sum = sum.defined() ? sum.add_(gradient) : gradient.clone();
  }
}

void WholeUpdate::rewind() {
  after_ = copies(parameters_);
  set(parameters_, before_);
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (gradients_[i].defined()) parameters_[i].mutable_grad().copy_(gradients_[i]);
  }
}

void WholeUpdate::finish() {
  set(parameters_, after_);
}

}  // namespace pcxx::train
