#include <pcxx/nn/dense.h>

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
  weight = register_parameter("weight", torch::zeros(weight_shape));
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

torch::Tensor DenseImpl::forward(const torch::Tensor& x) const {
  auto z = torch::matmul(x, weight.mT());
  if (bias.defined()) {
    z = z + bias.unsqueeze(-2);
  }
  const auto a = activate(z, options.activation());
  return options.residual() ? x + a : a;
}

}  // namespace pcxx::nn
