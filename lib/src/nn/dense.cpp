#include <pcxx/core/error.h>
#include <pcxx/core/residency.h>
#include <pcxx/linalg/products.h>
#include <pcxx/nn/dense.h>
#include <pcxx/nn/feedforward.h>
#include <pcxx/nn/fused.h>
#include <torch/serialize/archive.h>

#include <cmath>

#include "nn/layer_parts.h"
#include "nn/strict_load.h"

namespace pcxx::nn {

DenseImpl::DenseImpl(DenseOptions given)
    : Layer(given.in_features(), given.out_features()), options(given) {
  TORCH_CHECK(options.in_features() > 0 && options.out_features() > 0,
              "a dense layer needs positive widths, not ", options.in_features(), " -> ",
              options.out_features());
  TORCH_CHECK(!options.residual() || options.in_features() == options.out_features(),
              "a residual layer needs equal widths, not ", options.in_features(), " -> ",
              options.out_features());
  TORCH_CHECK(options.members().value_or(1) > 0, "an ensemble needs at least one member, not ",
              *options.members());
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

std::shared_ptr<torch::nn::Module> DenseImpl::clone(
    const std::optional<torch::Device>& device) const {
  const at::NoGradGuard no_grad;
  auto undrawn = options;
  auto copy = std::make_shared<DenseImpl>(undrawn.draw(false));
  copy->options = options;
  copy->copy_numbers_(*this, device);
  copy->train(is_training());
  return copy;
}

void DenseImpl::pretty_print(std::ostream& stream) const {
  stream << "pcxx::nn::Dense(" << options.in_features() << " -> " << options.out_features() << ", "
         << nn::name(options.activation());
  if (options.bias()) stream << ", bias";
  if (options.residual()) stream << ", residual";
  if (options.members()) stream << ", members=" << *options.members();
  stream << ")";
}

std::string DenseImpl::description() const {
  return c10::str("dense(width=", options.out_features(),
                  ", activation=", nn::name(options.activation()),
                  ", bias=", options.bias() ? "true" : "false",
                  ", residual=", options.residual() ? "true" : "false", ")");
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

void DenseImpl::draw_(at::Generator generator) {
  const at::NoGradGuard no_grad;
  const double bound = 1 / std::sqrt(static_cast<double>(in_features()));
  weight.uniform_(-bound, bound, std::move(generator));
  if (bias.defined()) bias.zero_();
}

void DenseImpl::draw_member_(std::int64_t member, const DrawWeight& draw, at::Generator generator) {
  const at::NoGradGuard no_grad;
  const bool ensemble = options.members().has_value();
  (ensemble ? weight[member] : weight).copy_(draw(out_features(), in_features(), generator));
  if (bias.defined()) (ensemble ? bias[member] : bias).zero_();
}

LayerOutput DenseImpl::run(const at::Tensor& x) const {
  const at::NoGradGuard no_grad;
  auto z = preactivation(*this, x);
  if (!keeps_output()) {
    const auto a = activate(z, options.activation());
    return {z, options.residual() ? x + a : a};
  }
  activate_(z, options.activation());
  return {z, options.residual() ? x + z : z};
}

Pulled DenseImpl::pull_back(const at::Tensor&, const Kept& kept, const at::Tensor& signal,
                            Wanted wanted) const {
  const at::NoGradGuard no_grad;
  Pulled pulled{.error = fused::times_slope(signal, kept, options.activation())};
  if (!wanted.input) return pulled;
  pulled.input = linalg::backward_product(pulled.error, weight);
  if (options.residual()) pulled.input.add_(signal);
  return pulled;
}

at::Tensor DenseImpl::push_forward(const at::Tensor& x, const Kept& kept, const at::Tensor& tangent,
                                   const std::vector<at::Tensor>& directions) const {
  const at::NoGradGuard no_grad;
  at::Tensor change;
  const auto add = [&](at::Tensor term) {
    change = change.defined() ? change.add_(term) : std::move(term);
  };
  if (!directions.empty() && directions[0].defined()) add(at::matmul(x, directions[0].mT()));
  if (directions.size() > 1 && directions[1].defined()) {
    change = change.defined() ? change.add_(directions[1].unsqueeze(-2))
                              : directions[1].unsqueeze(-2).expand_as(kept.output).clone();
  }
  if (tangent.defined()) add(at::matmul(tangent, weight.mT()));
  if (!change.defined()) return at::zeros_like(kept.output);
  multiply_slope_(change, kept, options.activation());
  if (options.residual() && tangent.defined()) change.add_(tangent);
  return change;
}

// x (W + rate D)^T + b + rate db, without a change of the parameters.
at::Tensor DenseImpl::moved(const at::Tensor& x, const std::vector<at::Tensor>& directions,
                            double rate) const {
  const at::NoGradGuard no_grad;
  const auto at_rate = [&](const at::Tensor& parameter, std::size_t i) {
    const bool moves = i < directions.size() && directions[i].defined();
    return moves ? at::add(parameter, directions[i], rate) : parameter;
  };
  auto a = at::matmul(x, at_rate(weight, 0).mT());
  if (bias.defined()) a.add_(at_rate(bias, 1).unsqueeze(-2));
  activate_(a, options.activation());
  return options.residual() ? a.add_(x) : a;
}

bool DenseImpl::keeps_output() const {
  return options.activation().function().slope_of_output;
}

bool DenseImpl::is_piecewise_linear() const {
  return nn::is_piecewise_linear(options.activation());
}

void DenseImpl::copy_members_(const Layer& from, const at::Tensor& index) {
  const at::NoGradGuard no_grad;
  const auto theirs = from.affine();
  weight.copy_(theirs.weight.index_select(0, index));
  if (bias.defined()) bias.copy_(theirs.bias.index_select(0, index));
}

void DenseImpl::check_device(c10::Device device, std::size_t l) const {
  check_residency(weight, device, "the weight of layer ", l);
  check_residency(bias, device, "the bias of layer ", l);
}

namespace {

struct DenseKeys {
  std::int64_t width = 0;
  Activation activation = Activation::kIdentity;
  bool bias = false;
  bool residual = false;
};

StackedLayer make_dense(const DenseKeys& keys, const LayerPlace& at) {
  const auto width = width_of(keys.width, at);
  if (keys.residual && width != at.below) {
    user_error("{} is residual, and cannot make {} units of {}", at.place, width, at.below);
  }
  return {.dense = DenseOptions(at.below, width)
                       .activation(keys.activation)
                       .bias(keys.bias)
                       .residual(keys.residual),
          .weights = static_cast<double>(at.below) * static_cast<double>(width)};
}

}  // namespace

LayerKind dense_kind(const NamedActivations& activations) {
  const auto keys = config::OptionKeys<DenseKeys>()
                        .add(&DenseKeys::width, width_key())
                        .add(&DenseKeys::activation, {.name = "activation"}, activations)
                        .add(&DenseKeys::bias, {.name = "bias"})
                        .add(&DenseKeys::residual, {.name = "residual"});
  LayerKind kind;
  kind.name = "dense";
  kind.doc = "f(W x + b), or x + f(W x + b) when residual";
  kind.options = keys.keys();
  kind.make = [keys](const config::Config& own, const LayerPlace& at) {
    return make_dense(keys.read(own), at);
  };
  return kind;
}

}  // namespace pcxx::nn
