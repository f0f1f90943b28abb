#include <pcxx/core/residency.h>
#include <pcxx/nn/network.h>
#include <torch/serialize/archive.h>

#include "nn/strict_load.h"

namespace pcxx::nn {

NetworkOptions NetworkOptions::ensemble(std::int64_t members) const {
  auto result = *this;
  for (auto& layer : result.layers()) layer.members(members);
  return result;
}

NetworkOptions NetworkOptions::with_bias() const {
  auto result = *this;
  for (auto& layer : result.layers()) layer.bias(true);
  return result;
}

NetworkOptions NetworkOptions::with_layer(std::size_t l, LayerMaker maker) const {
  TORCH_CHECK(l >= 1 && l <= layers_.size(), "a network of ", layers_.size(),
              " layers has no layer ", l);
  auto result = *this;
  result.custom_layers()[l] = std::move(maker);
  return result;
}

NetworkOptions mlp(const std::vector<std::int64_t>& widths, Activation hidden, Activation output) {
  TORCH_CHECK(widths.size() >= 2, "a network needs at least two widths, not ", widths.size());
  std::vector<DenseOptions> layers;
  for (std::size_t l = 1; l < widths.size(); ++l) {
    const bool last = l + 1 == widths.size();
    layers.push_back(DenseOptions(widths[l - 1], widths[l]).activation(last ? output : hidden));
  }
  return NetworkOptions(std::move(layers));
}

NetworkOptions linear_residual(std::int64_t width, std::int64_t layers) {
  TORCH_CHECK(layers >= 1, "a network needs at least one layer, not ", layers);
  return NetworkOptions(std::vector<DenseOptions>(static_cast<std::size_t>(layers),
                                                  DenseOptions(width, width).residual(true)));
}

NetworkImpl::NetworkImpl(NetworkOptions given) : options(std::move(given)) {
  const auto& layers = options.layers();
  TORCH_CHECK(!layers.empty(), "a network needs at least one layer");
  for (std::size_t l = 1; l < layers.size(); ++l) {
    TORCH_CHECK(layers[l].in_features() == layers[l - 1].out_features(), "layer ", l + 1, " takes ",
                layers[l].in_features(), " features, but layer ", l, " gives ",
                layers[l - 1].out_features());
    TORCH_CHECK(layers[l].members() == layers[l - 1].members(), "layers ", l, " and ", l + 1,
                " are ensembles of different sizes");
  }
  TORCH_CHECK(options.custom_layers().empty() || members().value_or(1) == 1,
              "a network with layers that are not Dense is no ensemble of ", *members());
  NetworkImpl::reset();
}

// Children are made anew: re-registering the old ones would share parameters with a clone.
void NetworkImpl::reset() {
  layers_.clear();
  for (auto dense : options.layers()) {
    const auto name = "layer" + std::to_string(layers_.size() + 1);
    const auto maker = options.custom_layers().find(layers_.size() + 1);
    if (maker == options.custom_layers().end()) {
      dense.draw(dense.draw() && options.draw());
      layers_.push_back(register_module(name, std::make_shared<DenseImpl>(dense)));
      continue;
    }
    auto made = maker->second(dense.in_features(), dense.out_features());
    TORCH_CHECK(made && made->in_features() == dense.in_features() &&
                    made->out_features() == dense.out_features(),
                name, " is to map ", dense.in_features(), " to ", dense.out_features(),
                " features, and its maker gave none that does");
    if (options.draw()) {
      const at::NoGradGuard no_grad;
      made->draw_(at::globalContext().defaultGenerator(at::kCPU));
    }
    layers_.push_back(register_module(name, std::move(made)));
  }
}

const DenseImpl& NetworkImpl::dense(std::size_t l) const {
  const auto* found = dynamic_cast<const DenseImpl*>(&layer(l));
  TORCH_CHECK(found != nullptr, "layer ", l, " is not Dense");
  return *found;
}

DenseImpl& NetworkImpl::dense(std::size_t l) {
  return const_cast<DenseImpl&>(std::as_const(*this).dense(l));
}

void NetworkImpl::pretty_print(std::ostream& stream) const {
  stream << "pcxx::nn::Network";
}

torch::Tensor NetworkImpl::forward(const torch::Tensor& x) const {
  const auto dtype = tensor_options().dtype().toScalarType();
  TORCH_CHECK(x.scalar_type() == dtype, "the input is ", x.scalar_type(), ", but the weights are ",
              dtype);
  check_residency(x, device(), "the input");
  const bool one_batch = members() || x.dim() == 2;
  TORCH_CHECK(one_batch || (x.dim() > 0 && x.size(-1) == in_features()), "expected an input [.., ",
              in_features(), "], not one of shape ", x.sizes());
  auto activity = enter(one_batch ? x : x.reshape({-1, in_features()}), in_features());
  for (std::size_t l = 1; l <= size(); ++l) {
    activity = layer(l).prediction(activity);
  }
  if (one_batch) return activity;
  auto shape = x.sizes().vec();
  shape.back() = out_features();
  return activity.reshape(shape);
}

void NetworkImpl::load(torch::serialize::InputArchive& archive) {
  load_strictly(*this, archive);
}

bool NetworkOptions::is_linear() const {
  return custom_layers_.empty() && std::all_of(layers_.begin(), layers_.end(), [](const auto& l) {
           return l.activation() == Activation::kIdentity;
         });
}

bool NetworkOptions::has_bias() const {
  return std::any_of(layers_.begin(), layers_.end(), [](const auto& l) { return l.bias(); });
}

bool NetworkImpl::is_linear() const {
  return std::all_of(layers_.begin(), layers_.end(), [](const auto& l) { return l->is_linear(); });
}

bool NetworkImpl::is_piecewise_linear() const {
  return std::all_of(layers_.begin(), layers_.end(),
                     [](const auto& l) { return l->is_piecewise_linear(); });
}

torch::TensorOptions NetworkImpl::tensor_options() const {
  for (const auto& layer : layers_) {
    if (const auto weight = layer->affine().weight; weight.defined()) return weight.options();
  }
  for (const auto& parameter : parameters()) return parameter.options();
  return {};
}

torch::Device NetworkImpl::device() const {
  const auto device = tensor_options().device();
  for (std::size_t l = 1; l <= size(); ++l) layer(l).check_device(device, l);
  return device;
}

torch::Tensor NetworkImpl::enter(const torch::Tensor& x, std::int64_t features) const {
  const bool ensemble = members().has_value();
  TORCH_CHECK((x.dim() == 2 || (ensemble && x.dim() == 3)) && x.size(-1) == features,
              "expected a batch [B, ", features, "]", ensemble ? " or [R, B, n]" : "",
              ", not one of shape ", x.sizes());
  auto entered = x.to(device(), tensor_options().dtype().toScalarType());
  if (!ensemble) return entered;
  TORCH_CHECK(x.dim() == 2 || x.size(0) == *members(), "expected ", *members(),
              " members, not a batch of shape ", x.sizes());
  return entered.expand({*members(), x.size(-2), features});
}

}  // namespace pcxx::nn
