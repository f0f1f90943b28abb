#include "inference/autograd_energy.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

namespace pcxx::inference {
namespace {

at::Tensor square_of_rows(const at::Tensor& t) {
  return t.flatten(1).square().sum(-1);
}

}  // namespace

AutogradEnergy::AutogradEnergy(const std::vector<Layer>& layers, const at::Tensor& input,
                               at::Tensor target)
    : layers_(&layers), target_(std::move(target)) {
  const at::NoGradGuard no_grad;
  first_output_ = layers.front()(input);
  auto output = first_output_;
  for (std::size_t l = 1; l < layers.size(); ++l) {
    errors_.push_back(at::zeros_like(output.flatten(1), at::MemoryFormat::Contiguous));
    output = layers[l](output);
  }
  TORCH_CHECK(output.sizes() == target_.sizes(), "the last layer gives ", output.sizes(),
              ", but the target is ", target_.sizes());
  forward(/*last=*/false);
}

AutogradEnergy::AutogradEnergy(const AutogradEnergy& whole, const at::Tensor& rows)
    : layers_(whole.layers_),
      first_output_(whole.first_output_.index_select(0, rows)),
      target_(whole.target_.index_select(0, rows)) {
  for (const auto& eps : whole.errors_) errors_.push_back(eps.index_select(0, rows));
}

void AutogradEnergy::forward(bool last) {
  const at::AutoGradMode with_grad(!last);
  leaves_.clear();
  hidden_.clear();
  auto output = first_output_;
  for (std::size_t l = 1; l < layers_->size(); ++l) {
    leaves_.push_back(errors_[l - 1].detach().requires_grad_(!last));
    hidden_.push_back(output + leaves_.back().view_as(output));
    output = (*layers_)[l](hidden_.back());
  }
  prediction_ = output;
  output_square_ = square_of_rows(target_ - output);
}

std::vector<at::Tensor> AutogradEnergy::gradients() {
  energy_squares_ = output_square_.detach().clone();
  gradient_squares_ = at::zeros_like(energy_squares_);
  if (errors_.empty()) return {};
  const auto half = at::full_like(energy_squares_, 0.5);
  auto gradients = torch::autograd::grad({output_square_}, leaves_, {half});
  for (std::size_t l = 0; l < gradients.size(); ++l) {
    gradients[l] = (gradients[l] + errors_[l]).contiguous();
    gradient_squares_.add_(square_of_rows(gradients[l]));
    energy_squares_.add_(square_of_rows(errors_[l]));
  }
  return gradients;
}

std::unique_ptr<Energy> AutogradEnergy::select(const at::Tensor& rows) const {
  return std::unique_ptr<Energy>(new AutogradEnergy(*this, rows));
}

at::Tensor AutogradEnergy::energy() const {
  auto sum = output_square_.detach().clone();
  for (const auto& eps : errors_) sum.add_(square_of_rows(eps));
  return sum.mul_(0.5);
}

}  // namespace pcxx::inference
