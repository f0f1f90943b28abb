#include <pcxx/core/residency.h>
#include <pcxx/nn/dense.h>
#include <torch/serialize/archive.h>

#include <cmath>

#include "nn/strict_load.h"

namespace pcxx::nn {

DenseImpl::DenseImpl(DenseOptions given) : options(given) {
  TORCH_CHECK(options.in_features() > 0 && options.out_features() > 0,
              "a dense layer needs positive widths, not ", options.in_features(), " -> ",
              options.out_features());
  TORCH_CHECK(!options.residual() || options.in_features() == options.out_features(),
              "a residual layer needs equal widths, not ", options.in_features(), " -> ",
              options.out_features());
  TORCH_CHECK(options.members().value_or(1) > 0, "an ensemble needs at least one member, not ",
              *options.members());
  DenseImpl::reset();
}

void DenseImpl::reset() {
  std::vector<std::int64_t> lead;
  if (options.members()) {
    lead.push_back(*options.members());
  }
  auto weight_shape = lead;
  weight_shape.insert(weight_shape.end(), {options.out_features(), options.in_features()});
  auto numbers = torch::zeros(weight_shape);
  if (options.draw()) {
    const double bound = 1 / std::sqrt(static_cast<double>(options.in_features()));
    numbers.uniform_(-bound, bound);
  }
  weight = register_parameter("weight", numbers);
  if (options.bias()) {
    auto bias_shape = lead;
    bias_shape.push_back(options.out_features());
    bias = register_parameter("bias", torch::zeros(bias_shape));
  } else {
    bias = register_parameter("bias", {}, /*requires_grad=*/false);
  }
}

void DenseImpl::pretty_print(std::ostream& stream) const {
  stream << "pcxx::nn::Dense(" << options.in_features() << " -> " << options.out_features() << ", "
         << nn::name(options.activation());
  if (options.bias()) stream << ", bias";
  if (options.residual()) stream << ", residual";
  if (options.members()) stream << ", members=" << *options.members();
  stream << ")";
}

void DenseImpl::load(torch::serialize::InputArchive& archive) {
  load_strictly(*this, archive);
}

torch::Tensor DenseImpl::forward(const torch::Tensor& x) const {
  TORCH_CHECK(x.scalar_type() == weight.scalar_type(), "the input is ", x.scalar_type(),
              ", but the weight is ", weight.scalar_type());
  check_residency(x, weight.device(), "the input");
  TORCH_CHECK(!options.members() || x.dim() >= 2, "expected a batch [B, ", options.in_features(),
              "] or [R, B, n], not one of shape ", x.sizes());
  auto z = torch::matmul(x, weight.mT());
  if (bias.defined()) {
    z = z + (options.members() ? bias.unsqueeze(-2) : bias);
  }
  const auto a = activate(z, options.activation());
  return options.residual() ? x + a : a;
}

}  // namespace pcxx::nn
